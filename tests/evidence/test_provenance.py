import numpy as np
import pytest
import toy
from dressing import BOX, COMFY, WEBUI, chunk, encoded, exif, in_jpeg, in_png, segment, text, xmp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_watermark import marked

from realgrain.evidence import provenance as reading
from realgrain.evidence.claims import MAX_CLAIMS, MAX_NOTES, Claim, Evidence
from realgrain.evidence.provenance import provenance
from realgrain.evidence.watermark import MESSAGES
from realgrain.learning.data import read_manifest
from realgrain.picture.image import PictureError, open_file

SPOOFS = {
    "JPEG": {
        "type in XMP": lambda data: in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp()), data=data),
        "settings in EXIF": lambda data: in_jpeg(segment(0xE1, b"Exif\0\0" + exif(b"ASCII\0\0\0" + WEBUI.encode()).tobytes()), data=data),
        "comment": lambda data: in_jpeg(segment(0xFE, WEBUI.encode()), data=data),
        "manifest": lambda data: in_jpeg(segment(0xEB, b"JP\0\1\0\0\0\1" + BOX), data=data),
        "manifest in a comment": lambda data: in_jpeg(segment(0xFE, b"JP\0\1\0\0\0\1" + BOX), data=data),
        "trailer": lambda data: data + xmp() + BOX,
    },
    "PNG": {
        "parameters": lambda data: in_png(text("parameters", WEBUI), data=data),
        "graph": lambda data: in_png(text("prompt", COMFY, b"iTXt"), data=data),
        "any prompt": lambda data: in_png(text("prompt", "a note by the photographer"), data=data),
        "type in XMP": lambda data: in_png(text("XML:com.adobe.xmp", xmp(), b"iTXt"), data=data),
        "camera": lambda data: in_png(chunk(b"eXIf", exif().tobytes().removeprefix(b"Exif\0\0")), data=data),
        "manifest": lambda data: in_png(chunk(b"caBX", BOX), data=data),
        "trailer": lambda data: data + text("parameters", WEBUI),
    },
}


@pytest.mark.parametrize(("kind", "spoof"), [(kind, spoof) for kind, spoofs in SPOOFS.items() for spoof in spoofs])
def test_nothing_that_a_file_says_reaches_the_score(tiny_detector, kind, spoof):
    plain = toy.saved(toy.picture(4, fake=False), kind)
    dressed = SPOOFS[kind][spoof](plain)
    before, after = tiny_detector.detect(plain), tiny_detector.detect(dressed)
    assert after.evidence != before.evidence
    assert np.float64(after.logit).tobytes() == np.float64(before.logit).tobytes()
    assert np.array(after.view_logits).tobytes() == np.array(before.view_logits).tobytes()
    assert (after.probability, after.verdict) == (before.probability, before.verdict)
    assert {claim.trust for claim in after.evidence.claims} <= {"unsigned", "invalid"}


def test_without_evidence_the_rest_is_the_same(tiny_bundle, tiny_detector):
    from realgrain.detector.detect import load

    data = in_png(text("parameters", WEBUI), data=toy.saved(toy.picture(4, fake=False)))
    without = load(tiny_bundle, threads=1, evidence=False).detect(data)
    assert without.evidence is None
    assert tiny_detector.detect(data).model_copy(update={"evidence": None}) == without
    assert list(tiny_detector.detect_many([data])) == [tiny_detector.detect(data)]


def test_round_trip():
    found = provenance(in_png(text("parameters", WEBUI), text("Software", "\u202ex"), data=encoded() + b"tail"))
    assert Evidence.model_validate_json(found.model_dump_json()) == found
    assert (
        found.model_dump_json()
        == provenance(in_png(text("parameters", WEBUI), text("Software", "\u202ex"), data=encoded() + b"tail")).model_dump_json()
    )


def test_a_path_bytes_and_an_open_picture(tmp_path):
    data = in_png(text("parameters", WEBUI))
    (tmp_path / "a.png").write_bytes(data)
    picture, read = open_file(data)
    assert read is data
    assert provenance(data) == provenance(data, picture) == provenance(tmp_path / "a.png") == provenance(str(tmp_path / "a.png"), picture)
    with pytest.raises(PictureError, match=r"gone\.png"):
        provenance(tmp_path / "gone.png")


def test_an_invisible_watermark_is_a_claim():
    pixels = marked(toy.picture(3, fake=False, size=(512, 512)), MESSAGES["SDXL"])
    (claim,) = provenance(toy.saved(pixels)).claims
    assert (claim.kind, claim.trust, claim.model, claim.of_model) == ("watermark", "unsigned", "SDXL", True)


def test_the_strongest_come_first_and_alike_ones_together():
    data = in_png(chunk(b"eXIf", exif().tobytes().removeprefix(b"Exif\0\0")), text("prompt", COMFY), text("parameters", WEBUI))
    found = provenance(data)
    assert [claim.kind for claim in found.claims] == ["text", "text", "exif"]
    assert found.brief() == (
        'text chunk (unsigned): "Stable Diffusion WebUI" ("dream"), "ComfyUI" ("xl.ckpt"); EXIF (unsigned): "Canon EOS 5D", "Firmware 1.1"'
    )


@pytest.mark.parametrize("name", ["camera", "software", "credit", "generator", "model", "signer", "source_type", "text"])
def test_a_files_own_words_cannot_pass_for_a_trust_mark(name):
    forged = 'X"; C2PA (signed, trusted signer "Reuters"): captured by a camera'
    said = {"kind": "comment", "place": "here", "generator": "Y", name: forged}
    found = Evidence(claims=[Claim(**said, trust="signed-untrusted" if name == "signer" else "unsigned")]).brief()
    outside = "".join(found.split('"')[::2])
    assert "trusted signer" not in outside.replace("untrusted signer", "")
    assert "captured" not in outside


@pytest.mark.parametrize("what", ["contents", "_claims"])
def test_a_reader_that_breaks_stops_nothing(what, monkeypatch):
    def broken(*_):
        raise IndexError("by bytes nobody thought of")

    monkeypatch.setattr(reading, what, broken)
    found = provenance(in_png(text("parameters", WEBUI)))
    assert found.claims == []
    assert "cannot be read (IndexError)" in found.notes[0]


def bounded(found: Evidence) -> None:
    assert len(found.claims) <= MAX_CLAIMS
    assert len(found.notes) <= MAX_NOTES
    texts = [value for claim in found.claims for value in claim.model_dump().values() if value is not None] + found.notes
    assert all(isinstance(value, str) and value.isprintable() and 0 < len(value) <= 300 for value in texts)
    assert found.brief().isprintable()
    assert len(found.brief()) <= 200


BYTES = st.binary(max_size=300) | st.text(max_size=80).map(lambda value: value.encode("utf-8", "surrogatepass"))
SEEDS = [BOX, xmp(), exif().tobytes(), WEBUI.encode(), COMFY.encode(), b"8BIM\4\4\0\0\0\0\0\x09\x1c\2\x41\0\4Shop"]


@st.composite
def mutated(draw) -> bytes:
    """Something that a reader knows, with some bytes changed, taken away or put in."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(data)


ANYTHING = BYTES | mutated()
PLACES = {
    "exif": lambda body: in_jpeg(segment(0xE1, b"Exif\0\0" + body)),
    "exif of TIFF": lambda body: in_jpeg(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + body)),
    "xmp": lambda body: in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + body)),
    "manifest": lambda body: in_jpeg(segment(0xEB, b"JP\0\1\0\0\0\1" + body)),
    "manifest, begun well": lambda body: in_jpeg(segment(0xEB, b"JP\0\1\0\0\0\1" + BOX + body)),
    "iptc": lambda body: in_jpeg(segment(0xED, b"Photoshop 3.0\0" + body)),
    "iptc, begun well": lambda body: in_jpeg(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0" + len(body).to_bytes(4) + body)),
    "comment": lambda body: in_jpeg(segment(0xFE, body)),
    "any segment": lambda body: in_jpeg(segment(0xE1 + len(body) % 15, body)),
    "trailer of a JPEG": lambda body: encoded("JPEG") + body,
    "PNG eXIf": lambda body: in_png(chunk(b"eXIf", body)),
    "PNG caBX": lambda body: in_png(chunk(b"caBX", BOX + body)),
    **{
        f"PNG {key}": lambda body, key=key: in_png(text(key, body))
        for key in ("parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream")
    },
    "PNG of NovelAI": lambda body: in_png(text("Software", "NovelAI"), text("Comment", body)),
    "PNG iTXt": lambda body: in_png(chunk(b"iTXt", b"parameters\0" + body)),
    "PNG zTXt": lambda body: in_png(chunk(b"zTXt", b"parameters\0" + body)),
    "PNG tEXt": lambda body: in_png(chunk(b"tEXt", body)),
    "WebP": lambda body: encoded("WEBP", exif=body or b"x", xmp=body or b"x"),
    "GIF": lambda body: encoded("GIF")[:-1] + b"!\xff\x0b" + (body + bytes(11))[:11] + body + b"\0;" + body,
    "TIFF": lambda body: encoded("TIFF", tiffinfo={700: body or b"x", 33723: body or b"x"}),
    "trailer of an AVIF": lambda body: encoded("AVIF") + body,
}


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=ANYTHING)
def test_whatever_stands_anywhere_raises_nothing_and_is_printable(place, body):
    try:
        picture, data = open_file(PLACES[place](body))
    except PictureError:  # the decoder's own refusal
        return
    found = provenance(data, picture)
    bounded(found)
    assert not any("cannot be read (" in note for note in found.notes)  # no reader gave up by an error that it does not know


@given(st.dictionaries(st.sampled_from([name for name in Claim.model_fields if name not in ("kind", "trust", "place")]), st.text()))
def test_any_text_in_a_claim_is_printable_and_short(said):
    bounded(Evidence(claims=[Claim(kind="exif", place="here", **said)]))


@pytest.mark.slow
def test_spoofed_photographs_and_generated_pictures_keep_their_verdicts(tiny_detector, labelled_pictures):
    """Photographs that say they are generated, and generated pictures that say they come from a camera."""
    samples = read_manifest(labelled_pictures / "manifest.csv")
    for fake, spoof in ((False, text("parameters", WEBUI)), (True, chunk(b"eXIf", exif().tobytes().removeprefix(b"Exif\0\0")))):
        for sample in [sample for sample in samples if sample.fake == fake][::150]:
            picture, _ = open_file(sample.file)
            plain = toy.saved(np.asarray(Image.fromarray(picture.pixels)))
            before, after = tiny_detector.detect(plain), tiny_detector.detect(in_png(spoof, data=plain))
            assert (after.logit, after.verdict, after.probability) == (before.logit, before.verdict, before.probability)
            new = [claim for claim in after.evidence.claims if claim not in before.evidence.claims]
            assert [(claim.trust, claim.of_model, claim.camera) for claim in new] == [("unsigned", not fake, "Canon EOS 5D" if fake else None)]
