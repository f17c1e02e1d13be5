"""The benchmark of spoofs leaves pixels alone, finds what it looks for, and would say so if a verdict moved."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image

from realgrain.detector.decision import Policy
from realgrain.detector.detect import load
from realgrain.evidence.claims import Claim, Evidence
from realgrain.picture.image import open_picture

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import spoofing as benchmark

SHOWN = {"WebUI text in EXIF", "trained model in XMP", "WebUI text chunk", "camera in EXIF"}


def pictures() -> list[tuple[str, bytes, bool]]:
    """Of both labels and three formats, some turned by their own EXIF, one with alpha; and one BMP, which is passed over."""
    turned = Image.Exif()
    turned[0x0112] = 6
    found = [(f"{kind} {fake}", toy.saved(toy.picture(2, fake=fake), kind), fake) for kind in ("JPEG", "PNG", "WEBP") for fake in (False, True)]
    found += [(f"turned {kind}", toy.saved(toy.picture(3, fake=False), kind, exif=turned), False) for kind in ("JPEG", "PNG", "WEBP")]
    seen = toy.picture(5, fake=False)
    found.append(("alpha", toy.saved(np.dstack([seen, seen[..., 0]]), "WEBP", lossless=True), False))
    return [*found, ("bmp", toy.saved(toy.picture(4, fake=False), "BMP"), False)]


@pytest.mark.parametrize(("name", "data", "fake"), pictures()[:-1])
def test_pixels_are_left_alone(name, data, fake):
    before = open_picture(data)
    made = benchmark.spoofs(data, before, fake=fake)
    assert len(made) == (1 if fake else {"JPEG": 6, "PNG": 8, "WEBP": 7}[before.format])
    for kind, spoofed in made.items():
        after = open_picture(spoofed)
        assert np.array_equal(before.pixels, after.pixels), kind
        assert after.sha256 != before.sha256


@pytest.fixture(scope="module")
def found(tiny_bundle):
    return benchmark.measure(load(tiny_bundle, threads=1, policy=Policy(stability=False)), pictures())


def test_no_verdict_moves_and_no_word_is_believed(found):
    assert found.faults == []
    assert found.pictures == {"real": 7, "fake": 3} and found.passed_over == {"BMP": 1}
    for kinds in found.spoofs.values():
        for kind, count in kinds.items():
            assert count.files == count.same_logits == count.same_verdict > 0, kind
            assert count.believed == 0
            if kind in SHOWN:
                assert count.unsigned == count.files, kind
            elif kind == "broken C2PA chunk":
                assert count.invalid + count.not_believed == count.files
            else:
                assert count.not_believed == count.files, kind


def test_a_detector_that_reads_metadata_would_be_caught(tiny_detector, monkeypatch):
    plain = benchmark.judge

    def gullible(detector, data):
        report = plain(detector, data)
        moved = report.logit + any(claim.of_model for claim in report.evidence.claims)
        return report.model_copy(update={"view_logits": [moved], "logit": moved})

    monkeypatch.setattr(benchmark, "judge", gullible)
    found = benchmark.measure(tiny_detector, pictures()[:1])
    assert found.spoofs["real"]["trained model in XMP"].same_logits == found.spoofs["real"]["trained model in XMP"].same_verdict == 0
    assert found.spoofs["real"]["appended trailer"].same_logits == 1
    assert any("not the same" in fault for fault in found.faults)


@pytest.mark.parametrize(
    ("claim", "fate"),
    [
        (Claim(kind="c2pa", place="p", trust="signed-untrusted"), "believed"),
        (Claim(kind="c2pa", place="p", trust="signed-trusted"), "believed"),
        (Claim(kind="c2pa", place="p", trust="invalid"), "invalid"),
        (Claim(kind="xmp", place="p", source_type="trainedAlgorithmicMedia"), "unsigned"),
        (Claim(kind="comment", place="p", text="parameters"), "not_believed"),
    ],
)
def test_fate(claim, fate):
    assert benchmark.fate(Evidence(claims=[claim]), Evidence()) == fate
    assert benchmark.fate(Evidence(claims=[claim]), Evidence(claims=[claim])) == "not_believed"


def test_command(toy_manifest, tiny_bundle, tmp_path, monkeypatch, capsys):
    output = tmp_path / "spoofing.json"
    arguments = ["--split", "train", "--each", "1", "--bundle", str(tiny_bundle.folder), "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["benchmarks/spoofing.py", str(toy_manifest), *arguments])
    benchmark.main()
    written = json.loads(output.read_text())
    assert written["result"]["pictures"] == {"real": 4, "fake": 4} and written["result"]["faults"] == []
    assert written["run"]["inputs"] and capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["benchmarks/spoofing.py", str(toy_manifest), "--split", "gone", "-o", str(output)])
    with pytest.raises(SystemExit, match="no pictures in split 'gone'"):
        benchmark.main()
