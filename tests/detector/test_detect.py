import io
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import toy
from PIL import Image, ImageCms, PngImagePlugin

from realgrain.detector.ahead import AHEAD
from realgrain.detector.bundle import read_bundle
from realgrain.detector.decision import Policy, decision_of
from realgrain.detector.detect import load
from realgrain.detector.runtime import cores
from realgrain.detector.stability import VIEWS
from realgrain.detector.verdict import Report, decide
from realgrain.learning.data import Sample
from realgrain.measuring.survey import survey
from realgrain.picture.image import Limits, PictureError, open_picture
from realgrain.picture.views import make_views


@pytest.fixture(scope="module")
def some(toy_pictures):
    return toy_pictures[::8]


class TestOnePicture:
    def test_path_text_and_bytes(self, tiny_detector, some):
        by_path, by_text, by_bytes = (tiny_detector.detect(source) for source in (some[0], str(some[0]), some[0].read_bytes()))
        assert by_path == by_text
        assert by_bytes == by_path.model_copy(update={"picture": by_path.picture.model_copy(update={"name": "<bytes>"})})

    def test_report_says_what_happened(self, tiny_detector, some):
        found, picture = tiny_detector.detect(some[0]), open_picture(some[0])
        expected = tiny_detector.runtime.logits(make_views(picture.pixels, tiny_detector.bundle.card.views))
        assert found.view_logits == expected.tolist()
        assert found.logit == pytest.approx(expected.mean(dtype=np.float64), abs=0)
        smallest, card = min(picture.width, picture.height), tiny_detector.bundle.card
        assert (found.verdict, found.probability) == decide(found.logit, smallest, card, found.decision, found.stability, found.domain)
        assert found.decision == decision_of(tiny_detector.bundle, Policy(), found.domain.group)
        assert (found.picture.name, found.picture.sha256) == (str(some[0]), picture.sha256)
        assert (found.picture.width, found.picture.height, found.picture.bytes) == (picture.width, picture.height, some[0].stat().st_size)
        detector = found.detector
        assert (detector.bundle, detector.name, detector.base) == (tiny_detector.bundle.hash, "tiny", tiny_detector.bundle.card.base.id)
        assert (detector.runtime, detector.precision) == ("onnxruntime", "f32")

    def test_tells_the_toy_pictures_apart(self, tiny_detector, toy_pictures):
        logits = {path: tiny_detector.detect(path).logit for path in toy_pictures}
        real, fake = ([logits[path] for path in toy_pictures if kind in path.parts] for kind in ("real", "fake"))
        assert np.mean(np.array(fake)[:, None] > np.array(real)) > 0.8

    def test_too_small_for_a_verdict(self, tiny_detector):
        side = tiny_detector.bundle.card.smallest_side - 1
        found = tiny_detector.detect(toy.saved(toy.picture(1, fake=True, size=(300, side))))
        assert found.verdict.label == "unsure"
        assert "too_small" in found.verdict.reasons
        assert found.probability is not None

    def test_uncalibrated(self, tiny_bundle, some):
        card = tiny_bundle.card.model_copy(update={"calibration": None, "operating_point": None, "profiles": {}})
        found = load(replace(tiny_bundle, card=card), threads=1).detect(some[0])
        assert (found.verdict.label, found.verdict.reasons, found.probability) == ("unsure", ["uncalibrated"], None)

    @pytest.mark.parametrize("source", [b"", b"no picture", "nowhere.jpg"])
    def test_bad_file(self, tiny_detector, source):
        with pytest.raises(PictureError):
            tiny_detector.detect(source)

    def test_limits(self, tiny_bundle, some):
        detector = load(tiny_bundle, threads=1, limits=Limits(max_pixels=1000))
        with pytest.raises(PictureError, match="limit of 1,000 pixels"):
            detector.detect(some[0])


class TestReport:
    def test_round_trip(self, tiny_detector, some):
        found = tiny_detector.detect(some[0])
        assert Report.model_validate_json(found.model_dump_json()) == found
        assert json.loads(found.model_dump_json())["version"] == 2

    def test_byte_identical(self, tiny_detector, tiny_bundle, some):
        again = load(read_bundle(tiny_bundle.folder), threads=1)
        for path in some:
            texts = {detector.detect(path).model_dump_json() for detector in (tiny_detector, tiny_detector, again)}
            assert len(texts) == 1

    @pytest.mark.parametrize("metadata", ["text", "exif", "icc", "compression"])
    def test_metadata_does_not_change_the_score(self, tiny_detector, metadata):
        image, file = Image.fromarray(toy.picture(3, fake=True)), io.BytesIO()
        info, exif = PngImagePlugin.PngInfo(), Image.Exif()
        info.add_text("parameters", "Steps: 20, Sampler: Euler a, Model: sdxl")
        exif[0x010F], exif[0x0110], exif[0x0131] = "Canon", "EOS R5", "Midjourney"
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        options = {"text": {"pnginfo": info}, "exif": {"exif": exif}, "icc": {"icc_profile": profile}, "compression": {"compress_level": 0}}
        image.save(file, "PNG", **options[metadata])
        plain, dressed = tiny_detector.detect(toy.saved(np.asarray(image))), tiny_detector.detect(file.getvalue())
        assert plain.picture.sha256 != dressed.picture.sha256
        assert plain.model_copy(update={"picture": dressed.picture, "evidence": dressed.evidence}) == dressed

    def test_name_does_not_change_the_score(self, tiny_detector, some, tmp_path):
        renamed = tmp_path / "midjourney-deepfake.dat"
        renamed.write_bytes(some[0].read_bytes())
        assert tiny_detector.detect(renamed).logit == tiny_detector.detect(some[0]).logit


class TestMany:
    def test_order_and_batch_mates(self, tiny_detector, some):
        alone = {path: tiny_detector.detect(path) for path in some}
        for order in (some, some[::-1], [*some, *some]):
            assert list(tiny_detector.detect_many(order)) == [alone[path] for path in order]

    def test_a_bad_file_stops_nothing(self, tiny_detector, some, tmp_path):
        (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
        found = list(tiny_detector.detect_many([some[0], tmp_path / "bad.jpg", tmp_path / "gone.png", b"", some[1]]))
        assert [type(one) for one in found] == [Report, PictureError, PictureError, PictureError, Report]
        assert found[1].name == str(tmp_path / "bad.jpg")
        assert found[4] == tiny_detector.detect(some[1])

    def test_a_picture_longer_than_jpeg_can_be(self, tiny_detector, tmp_path):
        """A scroll of screenshots: its re-saves are looked at like those of any other."""
        path = tmp_path / "scroll.png"
        Image.new("RGB", (160, 66_000), "grey").save(path)
        assert {*VIEWS} - {"half"} == {*tiny_detector.seen(tiny_detector.open(path)).again}
        (seen,) = survey([Sample(path=str(path), file=str(path), label="real", source="s")]).seen
        assert seen.plain_bytes > 0

    def test_nothing(self, tiny_detector):
        assert list(tiny_detector.detect_many([])) == []

    def test_reads_no_further_ahead_than_it_says(self, tiny_detector, some):
        taken = []

        def endless():
            while True:
                taken.append(1)
                yield some[0]

        outcomes = tiny_detector.detect_many(endless())
        for _ in range(3):
            assert isinstance(next(outcomes), Report)
        outcomes.close()
        assert len(taken) <= AHEAD * cores() + 3

    def test_eight_threads(self, tiny_detector, some):
        expected = [tiny_detector.detect(path).model_dump_json() for path in some]
        found: list[list[str]] = []
        threads = [
            threading.Thread(target=lambda: found.append([one.model_dump_json() for one in tiny_detector.detect_many(some)])) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected] * 8


def test_load_takes_a_path_or_a_bundle(tiny_bundle, some):
    reports = [load(source, threads=1).detect(some[0]) for source in (tiny_bundle, tiny_bundle.folder, str(tiny_bundle.folder))]
    assert reports[0] == reports[1] == reports[2]
