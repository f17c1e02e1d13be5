"""One picture over HTTP: the report, its options, and that it is what the command line would say."""

import base64
import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hostile import encoded
from PIL import Image
from serving import file_of
from starlette.testclient import TestClient

from realgrain.detector.decision import Policy
from realgrain.detector.verdict import Report
from realgrain.faces.server.batching import Batcher, Proof


def own(detector, data: bytes, name: str, **policy) -> Report:
    """What the library says, the picture decoded in this process."""
    from realgrain.picture.image import open_file

    picture, _ = open_file(data, name=name)
    from realgrain.evidence.provenance import provenance

    return replace(detector, policy=Policy(**policy)).judge(picture, provenance(data, picture))


class TestReports:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
    def test_report_is_the_librarys_byte_for_byte(self, client, tiny_detector, kind):
        data = encoded(kind, (300, 260))
        answer = client.post("/v1/detect", files=file_of(data, "one.img"))
        assert answer.status_code == 200, answer.text
        assert answer.text == own(tiny_detector, data, "one.img").model_dump_json()

    def test_base64_gives_the_same(self, client):
        data = encoded("JPEG")
        body = {"image": base64.b64encode(data).decode(), "name": "one.img"}
        assert client.post("/v1/detect", json=body).text == client.post("/v1/detect", files=file_of(data, "one.img")).text

    def test_options_are_the_command_lines(self, client, tiny_detector):
        data = encoded("PNG", (260, 260))
        answer = client.post("/v1/detect?profile=photo&max_fpr=0.2&prior=0.01&stability=false&evidence=false", files=file_of(data, "x"))
        expected = own(tiny_detector, data, "x", profile="photo", max_fpr=0.2, prior=0.01, stability=False)
        assert answer.text == expected.model_copy(update={"evidence": None}).model_dump_json()
        assert answer.json()["posterior"]["prior"] == 0.01 and answer.json()["stability"] is None

    @pytest.mark.parametrize("query", ["profile=none-such", "max_fpr=0", "max_fpr=2", "max_fpr=nan", "prior=1", "unknown=1", "stability=perhaps"])
    def test_options_that_are_wrong(self, client, query):
        answer = client.post(f"/v1/detect?{query}", files=file_of(encoded("PNG")))
        assert answer.status_code == 422 and answer.json()["code"] == "bad_option"

    def test_name_is_shown_escaped(self, client):
        answer = client.post("/v1/detect", files=file_of(encoded("PNG"), "a\x1b[31mb.png"))
        assert answer.json()["picture"]["name"].isprintable()

    def test_model_is_the_card(self, client, tiny_bundle):
        found = client.get("/v1/model").json()
        assert found["bundle"] == tiny_bundle.hash and found["card"] == tiny_bundle.card.model_dump(mode="json")


class TestBatching:
    def test_pictures_that_share_a_run_keep_their_scores_to_the_bit(self, open_app, tiny_detector):
        from starlette.testclient import TestClient

        rng = np.random.default_rng(3)
        pictures = []
        for size in range(240, 256):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (size, 250, 3), dtype=np.uint8)).save(file, "PNG")
            pictures.append(file.getvalue())
        alone = [own(tiny_detector, data, str(n)).model_dump_json() for n, data in enumerate(pictures)]
        app = open_app(window=0.5, most=4, workers=4)
        with TestClient(app, base_url="http://localhost") as client, ThreadPoolExecutor(16) as pool:
            for _ in range(600):
                if client.get("/v1/model").json()["pictures_in_a_run"] == 4:
                    break
                time.sleep(0.05)
            answers = list(pool.map(lambda n: client.post("/v1/detect", files=file_of(pictures[n], str(n))).text, range(16)))
            shared = client.get("/metrics").text
        assert answers == alone
        runs = float(shared.split("realgrain_run_pictures_count ")[1].split()[0])
        assert runs < 16  # some did share one: else this shows nothing

    def test_a_runtime_whose_bits_change_shares_no_run(self, tiny_detector):
        class Fickle:
            def look(self, views):
                return (views.mean((1, 2, 3)) + len(views) * 1e-7).astype(np.float32), None

        class Steady:
            def look(self, views):
                return views.reshape(len(views), -1)[:, 5].astype(np.float32), None

        views = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
        assert [Proof(Fickle(), views).holds(count) for count in (2, 3, 4)] == [False] * 3
        assert [Proof(Steady(), views).holds(count) for count in (2, 3, 4)] == [True] * 3


def test_more_than_can_be_judged_is_refused(open_app, tmp_path, monkeypatch):
    """Decoders are quick and the runtime is not: who waits behind the decoders counts."""
    judged = Batcher._judged
    monkeypatch.setattr(Batcher, "_judged", lambda self, batch: time.sleep(0.5) or judged(self, batch))
    picture = encoded("PNG", (128, 128))
    with TestClient(open_app(data=tmp_path, waiting=1, workers=1), base_url="http://localhost") as client, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.post, "/v1/detect?stability=false", files={"file": ("a.png", picture)}) for _ in range(8)]
        answers = [one.result() for one in asked]
        assert {answer.status_code for answer in answers} == {200, 503}
        assert {answer.json()["code"] for answer in answers if answer.status_code == 503} == {"busy"}
        assert "realgrain_judging_pictures 0.0" in client.get("/metrics").text
