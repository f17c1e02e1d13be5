"""A short video over HTTP: the report that the command line gives, its limits, and decoders that are replaced."""

import asyncio
import base64

import pytest
from filming import filmed, heard, take
from serving import file_of, guarded
from starlette.testclient import TestClient

from realgrain.detector.clips import ClipReport, detect_clip
from realgrain.faces.server.guard import Broken, memory_for
from realgrain.faces.server.problems import Problem
from realgrain.faces.server.worker import Task
from realgrain.picture.clip import ClipLimits
from realgrain.picture.image import Limits
from realgrain.picture.views import View, ViewSpec

pytest.importorskip("av", reason="no clips without the extra video")
VIEWS = ViewSpec((View("crop"), View("resize")))


@pytest.fixture(scope="module")
def clip() -> bytes:
    return filmed((take(1, fake=False), 15), (take(2, fake=True), 10))


class TestReports:
    def test_report_is_the_command_lines_byte_for_byte(self, client, tiny_detector, clip, tmp_path):
        answer = client.post("/v1/detect", files=file_of(clip, "a.mp4"))
        assert answer.status_code == 200, answer.text
        (tmp_path / "a.mp4").write_bytes(clip)
        report = detect_clip(tiny_detector, tmp_path / "a.mp4", ClipLimits(max_seconds=60))
        named = report.model_copy(update={"clip": report.clip.model_copy(update={"name": "a.mp4"})})
        found = ClipReport.model_validate_json(answer.text)
        # policies of the two differ in what is not asked of clips
        assert found.model_dump_json() == named.model_dump_json()
        assert answer.json()["kind"] == "clip" and answer.json()["verdict"]["reasons"] == ["uncalibrated"]

    def test_base64_gives_the_same(self, client, clip):
        body = {"image": base64.b64encode(clip).decode(), "name": "a.mp4"}
        assert client.post("/v1/detect", json=body).text == client.post("/v1/detect", files=file_of(clip, "a.mp4")).text

    @pytest.mark.parametrize(
        ("data", "status", "code"),
        [
            (lambda clip: clip[: len(clip) // 2], 422, "corrupt"),
            (lambda _: heard(), 422, "no_video"),
            (lambda _: b"\x1a\x45\xdf\xa3 and nothing", 422, "corrupt"),
        ],
        ids=["cut", "sound", "none"],
    )
    def test_what_is_no_clip(self, client, clip, data, status, code):
        answer = client.post("/v1/detect", files=file_of(data(clip), "a.mp4"))
        assert (answer.status_code, answer.json()["code"]) == (status, code) and "a.mp4: " in answer.json()["detail"]

    @pytest.mark.parametrize("route", ["regions", "report"])
    def test_what_is_for_pictures_alone_says_so(self, client, clip, route):
        answer = client.post(f"/v1/{route}", files=file_of(clip, "a.mp4"))
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_format")


def test_limits(open_app, clip):
    with TestClient(open_app(clip_bytes=len(clip) - 1, max_bytes=1000, clip_seconds=2), base_url="http://localhost") as client:
        answer = client.post("/v1/detect", files=file_of(clip))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_many_bytes")
        picture = client.post("/v1/detect", files=file_of(b"\x89PNG\r\n\x1a\n" + bytes(2000)))  # which may not be as large as a clip
        assert (picture.status_code, picture.json()["detail"]) == (413, "the file has more than 1,000 bytes")
        long = client.post("/v1/detect", files=file_of(filmed((take(1, fake=False, size=(64, 64)), 25))))
        assert (long.status_code, long.json()["code"]) == (422, "too_long")
        assert client.post("/v1/detect", json={"image": base64.b64encode(clip).decode()}).status_code == 413


class TestGuard:
    def guarded(self, talk, **options):
        task = Task(views=VIEWS, smallest_side=64, limits=Limits(), clips=ClipLimits(), trust_list=None, memory=memory_for(9_500_000, 2**25))
        return guarded(task, talk, **options)

    def test_decoder_that_hangs_is_replaced(self, clip, monkeypatch):
        monkeypatch.setattr("realgrain.faces.server.guard.CLIP_GRACE", 0)

        async def talk(guard):
            with pytest.raises(Broken) as error:
                await guard.see_clip(clip, "a.mp4")
            monkeypatch.setattr("realgrain.faces.server.guard.CLIP_GRACE", 60)
            return error.value.code, await guard.see_clip(clip, "b.mp4")

        (code, seen), lost = self.guarded(talk, clip_seconds=0.01)
        assert code == "decoder_hung" and lost == ["decoder_hung"] and seen.clip.name == "b.mp4" and len(seen.views) == len(seen.clip.shots)

    def test_clips_have_a_short_line_of_their_own(self, clip):
        async def talk(guard):
            first = asyncio.create_task(guard.see_clip(clip, "a.mp4"))
            await asyncio.sleep(0)
            with pytest.raises(Problem) as error:
                await guard.see_clip(clip, "b.mp4")
            await first
            await guard.see_clip(clip, "c.mp4")
            return error.value

        problem, _ = self.guarded(talk, clips=1)
        assert (problem.status, problem.code) == (503, "busy")
