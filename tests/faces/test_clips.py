"""Clips on the command line: alone, among pictures, with a profile of their own, drawn."""

import os
import signal
import sys

import numpy as np
import pytest
import toy
from filming import filmed, heard, take
from PIL import Image
from pydantic import TypeAdapter

from realgrain.detector import apart
from realgrain.detector.bundle import read_bundle
from realgrain.detector.calibration import probability
from realgrain.detector.clips import ClipReport, detect_clip, look_through, packed, unpacked
from realgrain.detector.decision import Policy
from realgrain.detector.detect import load
from realgrain.detector.verdict import Report
from realgrain.faces.cli import main
from realgrain.picture.clip import ClipLimits, open_clip
from realgrain.picture.errors import PictureError

pytest.importorskip("av", reason="no clips without the extra video")
REPORTS = TypeAdapter(Report | ClipReport)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A recording of two scenes, one of two generated pictures, and what is none."""
    folder = tmp_path_factory.mktemp("clips")
    found = {
        "real": filmed((take(1, fake=False), 20), (take(2, fake=False), 10)),
        "fake": filmed((take(3, fake=True), 10), (take(4, fake=True), 10)),
        "cut": filmed((take(1, fake=False), 20))[:9000],
        "sound": heard(),
    }
    for name, data in found.items():
        (folder / f"{name}.mp4").write_bytes(data)
    return folder


@pytest.fixture
def judge(tiny_bundle, capsys):
    def call(*arguments, bundle=None, json=True):
        code = main(["detect", *map(str, arguments), "--bundle", str(bundle or tiny_bundle.folder), *(["--json"] if json else [])])
        out, err = capsys.readouterr()
        return code, [REPORTS.validate_json(line) for line in out.splitlines()] if json else out, err

    return call


class TestReport:
    def test_each_frame_is_judged_as_a_picture_is(self, judge, clips, tiny_detector):
        code, (report,), err = judge(clips / "real.mp4")
        assert (code, err) == (0, "")
        clip, frames = open_clip(clips / "real.mp4", np.copy)
        wanted = [tiny_detector.judge(_picture(tiny_detector, pixels)) for pixels in frames]
        assert [frame.logit for frame in report.frames] == [one.logit for one in wanted]
        assert [frame.probability for frame in report.frames] == [one.probability for one in wanted]
        assert [frame.domain for frame in report.frames] == [one.domain for one in wanted]
        assert [(frame.time, frame.scene - 1) for frame in report.frames] == [(shot.time, shot.scene) for shot in clip.shots]
        assert report.clip.sha256 == clip.sha256 and report.clip.name == str(clips / "real.mp4")

    def test_clip_is_its_median_frame_and_has_no_verdict(self, judge, clips):
        _, (report,), _ = judge(clips / "real.mp4")
        assert report.logit == np.median([frame.logit for frame in report.frames])
        assert (report.verdict.label, report.verdict.reasons, report.probability) == ("unsure", ["uncalibrated"], None)
        assert report.verdict.false_positive is None and report.decision.profile == "video"
        assert "not what the detector was validated on" in report.sentence and "calibrate --profile video" in report.sentence
        assert [side for scene in report.scenes for side in (scene.start, scene.end)] == pytest.approx([0, 2, 2, 3])
        for scene in report.scenes:
            mine = [frame.logit for frame in report.frames if frame.scene == scene.scene]
            assert (scene.frames, scene.logit) == (len(mine), np.median(mine))

    def test_same_clip_same_report(self, clips, tiny_detector):
        one, other = (detect_clip(tiny_detector, clips / "fake.mp4") for _ in range(2))
        assert one.model_dump_json() == other.model_dump_json()
        of_bytes = detect_clip(tiny_detector, (clips / "fake.mp4").read_bytes())
        assert of_bytes.clip.name == "<bytes>" and of_bytes.frames == one.frames

    def test_profile_of_pictures_is_for_frames_alone(self, judge, clips):
        _, (report,), err = judge(clips / "real.mp4", "--profile", "art", "--max-fpr", "0.01")
        assert report.pictures.profile == "art" and report.decision.profile == "video" and report.decision.asked_fpr == 0.01
        assert report.verdict.reasons == ["uncalibrated"] and "profile art" in err

    def test_number_of_frames(self, judge, clips):
        _, (report,), _ = judge(clips / "real.mp4", "--frames", "3")
        assert len(report.frames) == 3 and "known for 16 frames a clip, not for 3" in report.sentence


def _picture(detector, pixels):
    from realgrain.picture.image import open_picture

    return open_picture(toy.saved(pixels))  # PNG keeps every bit


class TestCommand:
    def test_mixed_list_in_its_order(self, judge, clips, toy_pictures):
        given = [toy_pictures[0], clips / "real.mp4", clips / "cut.mp4", toy_pictures[1], toy_pictures[2], clips / "sound.mp4", clips / "fake.mp4"]
        code, reports, err = judge(*given)
        assert code == 1
        names = [report.clip.name if isinstance(report, ClipReport) else report.picture.name for report in reports]
        assert names == [str(given[index]) for index in (0, 1, 3, 4, 6)]
        cut, sound = err.splitlines()
        assert cut == f"realgrain: {clips / 'cut.mp4'}: cannot be read as MP4: it is damaged, or its end is missing"
        assert sound == f"realgrain: {clips / 'sound.mp4'}: has no video, only sound"
        assert [report for report in reports if isinstance(report, Report)] == judge(*toy_pictures[:3])[1]

    def test_table_for_people(self, judge, clips, toy_pictures, monkeypatch):
        monkeypatch.setenv("COLUMNS", "300")
        code, out, _ = judge(toy_pictures[0], clips / "real.mp4", json=False)
        assert code == 0 and str(toy_pictures[0]) in out
        assert f"{clips / 'real.mp4'} (3.0 s, 2 scenes, mpeg4 256 x 240): unsure: no calibration" in out
        (row,) = (line.split() for line in out.splitlines() if line.startswith("2.2"))
        assert row[:3] == ["2.20", "s", "2"] and 0 <= float(row[3]) <= 1
        assert "Unsure: no calibration; median logit" in out

    def test_folder_has_its_clips_too(self, judge, clips, tmp_path, monkeypatch):
        for name in ("a.MP4", "b.mp4"):
            (tmp_path / name).write_bytes((clips / "fake.mp4").read_bytes())
        (tmp_path / "c.txt").write_bytes((clips / "fake.mp4").read_bytes())
        assert [report.clip.name for report in judge(tmp_path)[1]] == [str(tmp_path / "a.MP4"), str(tmp_path / "b.mp4")]
        monkeypatch.setattr("realgrain.picture.clip.readable", lambda: False)
        assert judge(tmp_path)[0] == 2  # without the extra there is nothing in it to judge

    def test_what_is_too_long_or_too_large(self, judge, clips):
        for option, words in (("--max-seconds=1", "3.0 s is more than the limit of 1 s"), ("--max-clip-mib=0.01", "more than the limit of 10,485")):
            code, reports, err = judge(clips / "real.mp4", option)
            assert (code, reports) == (2, []) and words in err
        code, _, err = judge(clips / "real.mp4", "--decode-seconds=1e-9")
        assert code == 2 and "takes more than 1e-09 seconds to decode" in err
        assert judge(clips / "real.mp4", "--frames=0") == (2, [], "realgrain: frames must be above 0, got 0\n")

    @pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux alone")
    def test_name_that_is_no_text(self, judge, clips, tmp_path):
        (tmp_path / os.fsdecode(b"latin-\xe9.mp4")).write_bytes((clips / "fake.mp4").read_bytes())
        code, (report,), err = judge(tmp_path)
        assert (code, err) == (0, "") and report.clip.name.isprintable()

    def test_timeline(self, judge, clips, tmp_path, toy_pictures):
        file = tmp_path / "t.png"
        code, _, err = judge(clips / "real.mp4", toy_pictures[0], "--timeline", file)
        assert (code, err) == (0, f"realgrain: {file}: timeline\n")
        with Image.open(file) as image:
            assert image.format == "PNG" and image.width >= 1000
        assert list(tmp_path.iterdir()) == [file]

    @pytest.mark.parametrize(("names", "file", "words"), [(["real", "fake"], "t.png", "there are 2"), (["real"], "t.svg", "is a .png file")])
    def test_timelines_that_cannot_be(self, judge, clips, tmp_path, names, file, words):
        code, _, err = judge(*(clips / f"{name}.mp4" for name in names), "--timeline", tmp_path / file)
        assert code == 2 and words in err and not list(tmp_path.iterdir())

    def test_a_timeline_is_not_drawn_over_a_picture(self, judge, clips, tmp_path, toy_pictures):
        content = toy_pictures[0].read_bytes()
        (tmp_path / "a.png").write_bytes(content)
        code, _, err = judge(clips / "real.mp4", tmp_path / "a.png", "--timeline", tmp_path / "a.png")
        assert code == 2 and "is what this is made from" in err
        assert (tmp_path / "a.png").read_bytes() == content

    def test_figure_shows_what_the_report_says(self, clips, tiny_detector):
        from realgrain.faces.timeline import figure_of

        report = detect_clip(tiny_detector, clips / "real.mp4")
        (panel,) = figure_of(report).axes
        line = panel.lines[0]
        assert list(line.get_xdata()) == [frame.time for frame in report.frames]
        assert list(line.get_ydata()) == [frame.probability for frame in report.frames]
        point = report.pictures
        heights = {round(float(one.get_ydata()[0]), 6) for one in panel.lines[1:] if one.get_linestyle() == "--"}
        assert heights == {round(float(probability(point.calibration, at)), 6) for at in (point.camera, point.ai)}
        assert [one.get_xdata()[0] for one in panel.lines if one.get_linestyle() == ":"] == [report.scenes[1].start]
        assert [text.get_text() for text in panel.texts] == ["1", "2"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory, tiny_detector):
    """Labels go by what the toy detector, which has never seen a video, says of the clips, but for one pair: what is tested is what follows."""
    folder = tmp_path_factory.mktemp("labelled")
    logits = {}
    for seed in range(12):
        file = folder / f"{seed:02}.mp4"
        file.write_bytes(filmed((take(50 + seed, fake=seed % 2 == 1), 6)))
        logits[file.name] = detect_clip(tiny_detector, file).logit
    ranked = sorted(logits, key=logits.__getitem__)
    ranked[5:7] = ranked[6:4:-1]
    rows = []
    for rank, name in enumerate(ranked):
        fake = rank >= 6
        rows.append({"path": name, "label": "fake" if fake else "real", "source": f"{'gan' if fake else 'phone'}-{rank % 2}"})
    (folder / "99.mp4").write_bytes(b"broken")
    rows.append({"path": "99.mp4", "label": "real", "source": "phone-0"})
    return toy.write_manifest(folder / "clips.csv", rows)


@pytest.fixture(scope="module")
def calibrated(manifest, tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("video") / "bundle"
    assert main(["calibrate", str(tiny_bundle.folder), "--data", str(manifest), "-o", str(folder), "--profile", "video"]) == 0
    return read_bundle(folder)


class TestProfile:
    def test_clips_get_verdicts_and_a_rate_of_clips(self, calibrated, tiny_bundle, judge, clips):
        profile = calibrated.card.profiles["video"]
        assert profile.counts == {"fake": {"gan-0": 3, "gan-1": 3}, "real": {"phone-0": 3, "phone-1": 3}}
        found = {name: judge(clips / f"{name}.mp4", bundle=calibrated.folder)[1][0] for name in ("real", "fake")}
        for report in found.values():
            assert "uncalibrated" not in report.verdict.reasons and report.verdict.false_positive.n == 6
            assert report.probability == pytest.approx(float(probability(profile.calibration, report.logit)))
            assert "of real clips from sources like yours are flagged, n = 6" in report.sentence
            assert "the rate is that of the clips that profile video was made of" in report.sentence
        assert [frame.logit for frame in found["real"].frames] == [frame.logit for frame in judge(clips / "real.mp4")[1][0].frames]

    def test_rate_is_for_the_sampling_that_it_was_measured_with(self, calibrated, judge, clips):
        _, (report,), _ = judge(clips / "fake.mp4", "--frames=4", bundle=calibrated.folder)
        assert report.verdict.reasons == ["uncalibrated"] and report.probability is None

    def test_real_clips_alone_give_a_rate_and_no_probability(self, manifest, tiny_bundle, tmp_path, judge, clips):
        text = manifest.read_text().splitlines()
        alone = manifest.with_name("real.csv")
        alone.write_text("\n".join([text[0], *(line for line in text[1:] if ",real," in line)]) + "\n")
        assert main(["calibrate", str(tiny_bundle.folder), "--data", str(alone), "-o", str(tmp_path / "b"), "--profile", "video"]) == 0
        _, (report,), _ = judge(clips / "fake.mp4", bundle=tmp_path / "b")
        assert report.probability is None and report.verdict.false_positive.n == 6

    def test_deliveries_of_pictures_are_not_for_clips(self, manifest, tiny_bundle, tmp_path, capsys):
        arguments = ["calibrate", str(tiny_bundle.folder), "--data", str(manifest), "-o", str(tmp_path / "b"), "--profile", "video"]
        assert main([*arguments, "--conditions", "web"]) == 2
        assert "takes no --conditions" in capsys.readouterr().err


class TestApart:
    def test_what_comes_over_is_what_was_seen(self, clips, tiny_detector):
        views = tiny_detector.bundle.card.views
        here = look_through(clips / "real.mp4", views, name=None, limits=ClipLimits())
        there = apart.look_apart(clips / "real.mp4", views)
        assert there.clip == here.clip and np.array_equal(there.views, here.views)
        said, arrays = packed(here)
        with pytest.raises(ValueError, match="not those of the clip"):
            unpacked({**said, "shots": said["shots"][1:]}, arrays)
        with pytest.raises(ValueError, match="scenes that there are not"):
            unpacked({**said, "scenes": said["scenes"][:1]}, arrays)

    def test_decoder_that_hangs_or_dies_is_one_files_trouble(self, clips, tiny_detector, monkeypatch):
        views = tiny_detector.bundle.card.views
        with monkeypatch.context() as patch:
            patch.setattr(apart, "GRACE", 0.05)  # no process is up by then
            with pytest.raises(PictureError, match=r"takes more than 0\.05 seconds") as error:
                apart.look_apart(clips / "real.mp4", views, limits=ClipLimits(decode_seconds=0.05))
            assert error.value.code == "decoder_hung"
        real = apart.subprocess.Popen

        def dying(command, **options):
            return real([sys.executable, "-c", f"import os; os.kill(os.getpid(), {signal.SIGSEGV.value})"], **options)

        monkeypatch.setattr(apart.subprocess, "Popen", dying)
        with pytest.raises(PictureError, match="its decoder stopped") as error:
            apart.look_apart(clips / "real.mp4", views)
        assert error.value.code == "decoder_crashed"

    def test_without_the_extra_it_says_what_to_install(self, clips, monkeypatch):
        monkeypatch.setattr("realgrain.picture.clip.readable", lambda: False)
        with pytest.raises(PictureError, match=r"pip install 'realgrain\[video\]'"):
            open_clip(clips / "real.mp4", np.copy)


def test_video_is_a_profile_that_abstains_without_data(tiny_bundle, toy_pictures):
    report = load(tiny_bundle, threads=1, policy=Policy("video")).detect(toy_pictures[0])
    assert report.verdict.reasons == ["uncalibrated"]
