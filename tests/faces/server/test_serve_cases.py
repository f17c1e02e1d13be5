"""The map of a picture and its case report over HTTP: what the command line would make, and their bounds."""

import base64
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest
import toy
from PIL import Image
from serving import file_of, listening

from realgrain.detector.detect import Detector
from realgrain.evidence.regions import regions
from realgrain.faces.case import Case, look, read_case
from realgrain.faces.case_check import check
from realgrain.picture.image import open_file

PICTURE = toy.saved(toy.picture(5, fake=True, size=(300, 260)))


def mixed() -> bytes:
    """Half grain, half squares: with the toy detector its parts differ."""
    left, right = toy.picture(1, fake=False, size=(300, 300)), toy.picture(2, fake=True, size=(300, 300))
    return toy.saved(np.concatenate([left, right], axis=1))


class TestMap:
    def test_is_the_librarys_to_the_bit(self, client, tiny_detector):
        answer = client.post("/v1/regions?tiles=12", files=file_of(mixed()))
        assert answer.status_code == 200, answer.text
        opened, _ = open_file(mixed(), name="a.png")
        own = regions(opened.pixels, tiny_detector.bundle.card.views, tiny_detector.runtime.logits, most=12)
        assert answer.json()["regions"] == own.model_dump(mode="json")

    def test_overlay_is_there_just_where_the_map_is_localised(self, client):
        found = {}
        for data in (mixed(), toy.saved(np.full((300, 300, 3), 128, np.uint8))):
            said = client.post("/v1/regions?tiles=12", files=file_of(data)).json()
            found[said["regions"]["localised"]] = said
        assert set(found) == {True, False}
        assert found[False]["overlay"] is None and "Not localised" in found[False]["words"]
        drawn = Image.open(io.BytesIO(base64.b64decode(found[True]["overlay"])))
        assert drawn.format == "PNG" and drawn.width / drawn.height == pytest.approx(2, rel=0.01)

    def test_png(self, client):
        answer = client.post("/v1/regions?tiles=4&format=png", files=file_of(PICTURE))
        assert answer.headers["content-type"] == "image/png" and Image.open(io.BytesIO(answer.content)).format == "PNG"

    @pytest.mark.parametrize("query", ["tiles=0", "tiles=65", "format=svg"])
    def test_options_that_are_wrong(self, client, query):
        assert client.post(f"/v1/regions?{query}", files=file_of(PICTURE)).status_code == 422


class TestCase:
    def test_both_forms_are_of_one_case_that_verifies(self, client, tiny_detector, tmp_path):
        answer = client.post("/v1/report?format=both", files=file_of(PICTURE, "holiday/a.png"))
        assert answer.status_code == 200, answer.text
        case = Case.model_validate_json(answer.json()["json"])
        assert answer.json()["json"].encode() == case.content()
        assert case.report.picture.name == "a.png" and case.regions is not None and case.settings.tiles == 64
        assert case.report.picture.sha256 in answer.json()["html"] and "<script" not in answer.json()["html"]
        picture, file = tmp_path / "a.png", tmp_path / "case.json"
        picture.write_bytes(PICTURE)
        file.write_bytes(case.content())
        now, _ = look(tiny_detector, picture)
        assert check(*read_case(file), now, tiny_detector).outcome == "same"

    def test_report_is_what_detect_says(self, client):
        judged = client.post("/v1/detect?prior=0.1", files=file_of(PICTURE)).json()
        case = client.post("/v1/report?prior=0.1&regions=false", files=file_of(PICTURE)).json()
        assert case["report"] == judged and case["regions"] is None and case["settings"]["prior"] == 0.1

    def test_html_is_a_file_to_save(self, client):
        answer = client.post("/v1/report?format=html&regions=false", files=file_of(PICTURE))
        assert answer.headers["content-type"].startswith("text/html") and answer.headers["content-disposition"].startswith("attachment")

    def test_bad_picture_is_a_problem(self, client):
        for path in ("/v1/report", "/v1/regions"):
            answer = client.post(path, files=file_of(b"no picture", "a.txt"))
            assert answer.status_code == 415 and answer.json()["code"] == "unknown_format"


def test_they_count_as_ten_requests(open_app):
    from starlette.testclient import TestClient

    with TestClient(open_app(rate="15/minute"), base_url="http://localhost") as client:
        assert client.post("/v1/report?regions=false", files=file_of(PICTURE)).status_code == 200
        assert client.post("/v1/report?regions=false", files=file_of(PICTURE)).status_code == 429


def test_a_line_that_is_full_refuses(open_app, monkeypatch):
    from starlette.testclient import TestClient

    from realgrain.faces.server import cases

    monkeypatch.setattr(cases, "LINE", 0)
    with TestClient(open_app(), base_url="http://localhost") as client:
        answer = client.post("/v1/regions?tiles=1", files=file_of(PICTURE))
        assert answer.status_code == 503 and answer.headers["retry-after"] == "10"


class TestGone:
    """Who is no longer there keeps nobody waiting."""

    def leave(self, address: str, path: str, count: int) -> None:
        def ask(_: int) -> None:
            with pytest.raises(httpx2.TimeoutException):
                httpx2.post(address + path, files=file_of(PICTURE), timeout=1.5, trust_env=False)

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(ask, range(count)))

    @pytest.mark.parametrize("path", ["/v1/regions", "/v1/report?stability=false"])
    def test_maps_and_cases(self, open_app, monkeypatch, path):
        from realgrain.faces.server import cases
        from realgrain.faces.server.batching import Batcher

        logits, runs = Batcher.logits, []
        monkeypatch.setattr(Batcher, "logits", lambda self, views: time.sleep(1) or runs.append(1) or logits(self, views))
        with listening(open_app()) as address:
            self.leave(address, path, cases.LINE)
            time.sleep(2.5)  # for the run that goes on
            before = len(runs)
            answer = httpx2.post(f"{address}/v1/regions?tiles=1", files=file_of(PICTURE), timeout=120, trust_env=False)
            assert answer.status_code == 200, answer.text
            assert len(runs) == before + 2

    def test_verdicts(self, open_app, monkeypatch):
        from realgrain.faces.server.batching import Batcher

        judged, batches, looked = Batcher._judged, [], []
        monkeypatch.setattr(Detector, "judged", lambda *_: looked.append(1))
        monkeypatch.setattr(Batcher, "_judged", lambda self, batch: batches.append(len(batch)) or time.sleep(4) or judged(self, batch))
        with listening(open_app(most=1)) as address:
            self.leave(address, "/v1/detect?stability=false", 6)
            for _ in range(100):
                metrics = httpx2.get(f"{address}/metrics", timeout=60, trust_env=False).text
                if "realgrain_judging_pictures 0.0" in metrics:
                    break
                time.sleep(0.05)
            time.sleep(4)
            assert "realgrain_judging_pictures 0.0" in metrics and "realgrain_decoding_pictures 0.0" in metrics
            assert len(batches) <= 1 and looked == []  # at most one was at work, and that is not looked at for longer


def test_a_key_has_half_of_the_line(open_app, monkeypatch):
    from starlette.testclient import TestClient

    from realgrain.faces.server import auth, cases

    monkeypatch.setattr(cases, "EACH", 0)
    with TestClient(open_app(auth=True), base_url="http://localhost") as client:
        key = auth.make_key(client.app._app.state.service.store, "a", ("detect",))
        answer = client.post("/v1/regions?tiles=1", files=file_of(PICTURE), headers={"X-API-Key": key})
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")


def test_openapi_says_what_they_cost(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/v1/regions", "/v1/report"):
        assert "10 requests" in paths[path]["post"]["description"]
        assert "requestBody" in paths[path]["post"]
    json.dumps(paths)
