import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from dressing import BOX, PIXELS, SOURCE_TYPE, WEBUI, chunk, encoded, exif, in_jpeg, in_png, segment, text, xmp, xmp_in
from PIL import Image

from realgrain.evidence.containers import MAX_BYTES, MAX_INFLATED, contents
from realgrain.evidence.provenance import provenance
from realgrain.picture import ifd
from realgrain.picture.image import PictureError, open_file

KINDS = ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP"]


def nothing_believed(data):
    found = provenance(data)
    assert not any(claim.of_model or claim.camera or claim.kind in ("c2pa", "xmp", "exif") for claim in found.claims)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_file_says_nothing_which_says_nothing(kind):
    found = provenance(encoded(kind))
    assert (found.claims, found.carries, found.notes, found.brief()) == ([], [], [], "")
    assert "no evidence" in found.caution


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF"])
def test_xmp_at_its_place(kind):
    (claim,) = provenance(xmp_in(kind, xmp())).claims
    assert (claim.kind, claim.trust, claim.source_type) == ("xmp", "unsigned", "trainedAlgorithmicMedia")
    assert claim.place.startswith(kind if kind != "WEBP" else "WebP")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_exif_at_its_place(kind):
    (claim,) = provenance(encoded(kind, exif=exif())).claims
    assert (claim.kind, claim.trust, claim.camera, claim.software) == ("exif", "unsigned", "Canon EOS 5D", "Firmware 1.1")
    assert claim.time == "2020:02:03 04:05:06"
    if kind != "TIFF":  # where the writer leaves EXIF's own directory out
        assert (claim.lens, claim.serial) == ("EF 50mm", "0123456")
    assert provenance(encoded(kind, exif=exif())).brief() == 'EXIF (unsigned): "Canon EOS 5D", "Firmware 1.1"'


def test_heic():
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(PIXELS)).save(file, exif=exif().tobytes(), xmp=xmp())
    found = provenance(file.getvalue() + b"PK\3\4 and more")
    assert [(claim.source_type, claim.camera) for claim in found.claims] == [("trainedAlgorithmicMedia", None), (None, "Canon EOS 5D")]
    assert found.notes[0].startswith("13 bytes follow the end")


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_comments_are_only_comments(kind):
    (claim,) = provenance(encoded(kind, comment=f"{WEBUI} {SOURCE_TYPE} jumdc2pa".encode())).claims
    assert (claim.kind, claim.generator, claim.source_type) == ("comment", None, None)
    assert claim.text.startswith("a cat on a mat")


def test_iptc_at_its_place():
    sets = b"".join(b"\x1c\2" + bytes([number]) + len(value).to_bytes(2) + value for number, value in ((65, b"Toy Shop"), (110, b"A. Person")))
    resources = b"8BIM\4\4\0\0" + len(sets).to_bytes(4) + sets
    (claim,) = provenance(in_jpeg(segment(0xED, b"Photoshop 3.0\0" + resources))).claims
    assert (claim.kind, claim.software, claim.credit) == ("iptc", "Toy Shop", "A. Person")


APPENDED = [
    BOX,
    xmp(),
    chunk(b"tEXt", b"parameters\0" + WEBUI.encode()),
    b"PK\3\4" + xmp() * 9,
    segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp()),
]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "TIFF"])
@pytest.mark.parametrize("tail", APPENDED)
def test_what_is_appended_is_named_and_not_believed(kind, tail):
    found = nothing_believed(encoded(kind) + tail)
    assert found.carries == []
    assert any(note.startswith(f"{len(tail):,} bytes follow the end") for note in found.notes)


@pytest.mark.parametrize(("kind", "cut"), [("JPEG", 2), ("PNG", 12), ("GIF", 1), ("WEBP", 0), ("BMP", 5)])
def test_without_its_end_a_file_has_no_trailer(kind, cut):
    data = encoded(kind)
    assert contents(kind, data[: len(data) - cut]).trailer == 0


def test_a_picture_in_a_trailer_is_not_read():
    nothing_believed(encoded("JPEG") + encoded("JPEG", exif=exif(), xmp=xmp()))


WRONG = {
    "manifest in a JPEG comment": in_jpeg(segment(0xFE, b"JP\0\1\0\0\0\1" + BOX)),
    "manifest in another APP": in_jpeg(segment(0xE5, b"JP\0\1\0\0\0\1" + BOX)),
    "manifest without its head": in_jpeg(segment(0xEB, BOX)),
    "manifest in a text chunk": in_png(text("c2pa", BOX)),
    "manifest in EXIF": encoded("JPEG", exif=exif(b"ASCII\0\0\0" + BOX, make="", model="")),
    "XMP in a JPEG comment": in_jpeg(segment(0xFE, b"http://ns.adobe.com/xap/1.0/\0" + xmp())),
    "XMP in APP2": in_jpeg(segment(0xE2, b"http://ns.adobe.com/xap/1.0/\0" + xmp())),
    "XMP in tEXt": in_png(text("XML:com.adobe.xmp", xmp())),
    "XMP under another key": in_png(text("xmp", xmp(), b"iTXt")),
    "XMP in a chunk of its own": in_png(chunk(b"xmPp", xmp())),
    "EXIF in APP2": in_jpeg(segment(0xE2, b"Exif\0\0" + exif().tobytes()[6:])),
    "type in a text chunk": in_png(text("DigitalSourceType", SOURCE_TYPE)),
    "parameters in a comment": in_jpeg(segment(0xFE, WEBUI.encode())),
    "parameters under another key": in_png(text("Comment", WEBUI)),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_wrong_container_is_not_believed(case):
    found = provenance(WRONG[case])
    assert not any(claim.of_model or claim.camera or claim.kind in ("c2pa", "xmp") for claim in found.claims)
    assert "c2pa" not in found.carries
    if "manifest" in case:
        assert any("not believed" in note for note in found.notes)


def test_a_chunk_with_a_wrong_checksum_is_not_read():
    assert contents("PNG", in_png(text("parameters", WEBUI)[:-1] + b"!")).blocks == []


def test_xmp_in_pixels_is_not_read():
    pixels = np.zeros((48, 64, 3), np.uint8)
    packet = np.frombuffer(xmp(), np.uint8)[:9000]
    pixels.reshape(-1)[: len(packet)] = packet
    for kind in ("BMP", "TIFF"):
        data = encoded(kind, pixels)
        assert kind == "BMP" or b"xmpmeta" in data
        nothing_believed(data)


def test_the_first_of_two_counts():
    found = provenance(in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp('xmp:CreatorTool="A"')), data=encoded("JPEG", xmp=xmp())))
    assert sum(claim.kind == "xmp" for claim in found.claims) == 1
    assert any("a further block" in note for note in found.notes)


def packed(value, name):
    return chunk(name, b"parameters\0" + (b"\0" if name == b"zTXt" else b"\1\0\0\0") + zlib.compress(value))


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt"])
def test_text_that_unpacks_without_end_is_cut(name):
    """Not through `open_picture`, which refuses such files at all."""
    data = in_png(*[packed(bytes(64 * 2**20), name)] * 12)
    sizes = [len(block.data) for block in contents("PNG", data).blocks]
    assert max(sizes) == MAX_BYTES
    assert sum(sizes) <= MAX_INFLATED
    with pytest.raises(PictureError, match="compressed text of more than the limit of 16,777,216 bytes"):
        provenance(data)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt"])
def test_much_text_costs_no_verdict(name):
    picture, data = open_file(in_png(packed(WEBUI.encode() + b"x" * 2**21, name)))
    assert np.array_equal(picture.pixels, PIXELS)
    assert [claim.generator for claim in provenance(data, picture).claims] == ["Stable Diffusion WebUI"]


@pytest.mark.parametrize("key", ["transparency", "interlace", "bbox", "exif"])
def test_text_is_not_taken_for_what_the_picture_says(key):
    """These are Pillow's own keys. The EXIF would turn the picture."""
    turn = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0" + bytes(4)
    picture, plain = open_file(in_png(text(key, turn)))[0], open_file(encoded())[0]
    assert np.array_equal(picture.pixels, PIXELS)
    assert replace(picture, sha256=plain.sha256, bytes=plain.bytes) == plain


def tiff_of(*entries):
    """A directory alone, of (tag, type, count, offset)."""
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", *entry) for entry in entries)


def test_many_entries_of_a_tiff_hold_one_region_once():
    found = contents("TIFF", tiff_of(*[(700, 1, 5000, 100), (33723, 7, 6000, 100)] * 100) + bytes(6000))
    assert [len(block.data) for block in found.blocks] == [5000, 6000, *[0] * 198]


def test_many_entries_of_exif_copy_one_region_once(monkeypatch):
    asked = []
    monkeypatch.setattr(ifd, "content", lambda data, entry, limit: asked.append(entry.tag) or b"first" + str(len(asked)).encode())
    (claim,) = provenance(in_jpeg(segment(0xE1, b"Exif\0\0" + tiff_of(*[(0x0110, 2, 500, 100), (0x0131, 2, 500, 100)] * 900)))).claims
    assert (claim.camera, claim.software, asked) == ("first1", "first2", [0x0110, 0x0131])


def test_more_blocks_than_are_read():
    found = provenance(in_png(*[text("Title", "x")] * 1000))
    assert any("more metadata than is shown" in note for note in found.notes)
    comments = provenance(in_jpeg(*[segment(0xFE, b"x%d" % n) for n in range(300)]))
    assert len(comments.claims) == 50
    assert len(comments.notes) <= 20


def test_no_number_of_texts_or_comments_hides_a_generator_or_a_manifest():
    junk = [text(f"Title{number}", "x") for number in range(300)]
    found = provenance(in_png(*junk, text("parameters", WEBUI)))
    assert [claim.generator for claim in found.claims] == ["Stable Diffusion WebUI"]
    assert any("more metadata than is shown" in note for note in found.notes)
    hidden = in_jpeg(*[segment(0xFE, b"x%d" % number) for number in range(300)], segment(0xEB, b"JP\0\1\0\0\0\1" + BOX))
    assert "c2pa" in provenance(hidden).carries


def test_many_blocks_do_not_crowd_out_what_is_said_of_the_file():
    found = provenance(in_jpeg(segment(0xFE, BOX), *[segment(0xE1, b"Exif\0\0x")] * 60) + b"tail")
    assert len(found.notes) == 20
    assert found.notes[0].startswith("4 bytes follow the end")
    assert found.notes[1].endswith("not believed")
