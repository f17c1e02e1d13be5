import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from realgrain.picture.image import open_picture
from realgrain.picture.metadata import generator_notes, kinds

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/%s"/></x:xmpmeta>'


def opened(kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)
    return open_picture(file.getvalue())


def png(**texts):
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    return opened(pnginfo=info)


def with_xmp(kind, packet):
    if kind != "PNG":
        return opened(kind, xmp=packet)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    return opened(pnginfo=info)


def exif(text=b""):
    block = Image.Exif()
    block[0x010F] = "a camera"
    if text:
        block.get_ifd(0x8769)[0x9286] = text
    return block


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_a_bare_file_carries_nothing(kind):
    picture = opened(kind)
    assert (picture.metadata, picture.generator_notes) == ((), ())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_exif_and_xmp(kind):
    assert opened(kind, exif=exif()).metadata == ("exif",)
    picture = with_xmp(kind, XMP % b"digitalCapture")
    assert picture.metadata == ("xmp",)
    assert picture.generator_notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("claim", [b"trainedAlgorithmicMedia", b"compositeWithTrainedAlgorithmicMedia"])
def test_digital_source_type(kind, claim):
    assert with_xmp(kind, XMP % claim).generator_notes == (f"xmp:{claim.decode()}",)


@pytest.mark.parametrize("key", ["parameters", "workflow", "invokeai_metadata"])
def test_text_of_generators(key):
    picture = png(**{key: "a cat, Steps: 20"})
    assert (picture.metadata, picture.generator_notes) == (("text",), (f"text:{key}",))


def test_other_text_is_no_note():
    picture = png(Software="a scanner", Comment="parameters")
    assert (picture.metadata, picture.generator_notes) == (("text",), ())


@pytest.mark.parametrize("encoding", ["ascii", "utf-16-be"])
def test_settings_in_exif(encoding):
    picture = opened("JPEG", exif=exif("a cat\nSteps: 20, Sampler: Euler".encode(encoding)))
    assert picture.generator_notes == ("exif:parameters",)
    assert opened("JPEG", exif=exif("Steps: up to the house".encode(encoding))).generator_notes == ()


def test_c2pa_and_comment():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", comment=b"made by hand")
    data = file.getvalue()
    box = b"JP\0\1\0\0\0\1" + (60).to_bytes(4) + b"jumb" + (38).to_bytes(4) + b"jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\3c2pa\0"
    with_box = data[:2] + b"\xff\xeb" + (len(box) + 2).to_bytes(2) + box + data[2:]
    assert open_picture(data).metadata == ("comment",)
    assert open_picture(with_box).metadata == ("c2pa", "comment")


@pytest.mark.parametrize(("number", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_subsampling(number, name):
    assert opened("JPEG", subsampling=number).subsampling == name
    assert opened("JPEG", subsampling=number).progressive is False


def test_grey_and_progressive_jpeg():
    file = io.BytesIO()
    Image.fromarray(PIXELS[..., 0]).save(file, "JPEG", progressive=True)
    picture = open_picture(file.getvalue())
    assert (picture.subsampling, picture.progressive) == ("grey", True)
    assert opened("PNG").subsampling is None


VALUES = st.none() | st.text() | st.binary() | st.tuples(st.binary()) | st.integers() | st.tuples()


@given(
    st.dictionaries(st.sampled_from(["exif", "xmp", "XML:com.adobe.xmp", "photoshop", "comment", "parameters", "icc_profile"]) | st.text(), VALUES)
)
def test_whatever_a_file_carries_is_no_error(info):
    assert set(kinds(info, b"")) <= {"exif", "xmp", "iptc", "comment", "text", "c2pa"}
    assert all(isinstance(note, str) for note in generator_notes(info))
