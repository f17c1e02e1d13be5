"""What any client may send: schemathesis over the OpenAPI document, hypothesis over uploads. No answer is 5xx but 503, and none hangs."""

import io

import pytest
import schemathesis
from hostile import encoded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, Response
from serving import file_of

from realgrain.detector.verdict import Report
from realgrain.faces.server.problems import MEDIA

QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck))


@schemathesis.check
def problems_are_problems(ctx: CheckContext, response: Response, case: Case) -> None:
    if response.status_code >= 400 and case.operation.path not in ("/health", "/ready"):
        assert response.headers["content-type"][0] == MEDIA, response.status_code


# Random bytes are no picture, so data that fits the schema may be refused; which methods h11 knows is its own affair.
EXCLUDED = [schemathesis.checks.positive_data_acceptance, schemathesis.checks.unsupported_method]
OPERATIONS = [
    *(("POST", "/v1/detect"), ("POST", "/v1/batch"), ("GET", "/v1/jobs/{job}"), ("GET", "/v1/jobs/{job}/results"), ("DELETE", "/v1/jobs/{job}")),
    *(("POST", "/v1/regions"), ("POST", "/v1/report")),
    *(("GET", "/v1/model"), ("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_openapi(live, method, path):
    operation = schemathesis.openapi.from_url(f"{live.url}/openapi.json")[path][method]

    @given(case=operation.as_strategy())
    @settings(QUICK, max_examples=30)
    def ask(case):
        case.call_and_validate(excluded_checks=EXCLUDED, timeout=60)

    ask()


class TestDocument:
    def test_it_has_examples_and_every_route(self, client):
        found = client.get("/openapi.json").json()
        assert {(method.upper(), path) for path, methods in found["paths"].items() for method in methods} == set(OPERATIONS)
        assert found["paths"]["/v1/detect"]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert "securitySchemes" not in found["components"]  # this server asks for no keys

    def test_its_examples_are_true(self, client):
        """What it shows of a body is taken, or refused as it says, and what it shows of an answer is one, with all that answers have."""
        paths = client.get("/openapi.json").json()["paths"]
        for path in ("/v1/detect", "/v1/regions", "/v1/report"):
            examples = paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"]
            assert set(examples) == {"inline", "address"}
            answer = client.post(path, json=examples["inline"]["value"])
            assert answer.status_code == 200, answer.text
            refused = client.post(path, json=examples["address"]["value"])
            assert (refused.status_code, refused.json()["code"]) == (403, "urls_not_allowed")
        detect = paths["/v1/detect"]["post"]
        shown = detect["responses"]["200"]["content"]["application/json"]["example"]
        found = client.post("/v1/detect", json=detect["requestBody"]["content"]["application/json"]["examples"]["inline"]["value"])
        assert Report.model_validate(shown).model_dump(mode="json") == shown
        assert set(shown) == set(found.json()) and set(shown["verdict"]) == set(found.json()["verdict"])
        assert shown["picture"] == found.json()["picture"] | {"sha256": shown["picture"]["sha256"], "bytes": shown["picture"]["bytes"]}

    def test_it_says_what_any_route_may_answer(self, client):
        for methods in client.get("/openapi.json").json()["paths"].values():
            for operation in methods.values():
                assert {"421", "431", "500"} <= set(operation["responses"])

    def test_it_says_where_keys_are_asked_for(self, open_app):
        from starlette.testclient import TestClient

        found = TestClient(open_app(auth=True)).get("/openapi.json").json()
        assert set(found["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}
        secured = {path for path, methods in found["paths"].items() for operation in methods.values() if "security" in operation}
        assert secured == {path for _, path in OPERATIONS} - {"/health", "/ready"}


BASES = {kind: encoded(kind, (80, 70)) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")}


@st.composite
def spoiled(draw) -> bytes:
    """A picture with some of its bytes changed, cut out, doubled or put elsewhere."""
    data = bytearray(BASES[draw(st.sampled_from(sorted(BASES)))])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1)) if data else 0
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case 1:
                del data[at : at + draw(st.integers(1, 200))]
            case 2:
                data[at:at] = data[at : at + draw(st.integers(1, 200))]
            case _:
                data = data[:at]
    return bytes(data)


class TestUploads:
    @given(data=st.one_of(spoiled(), st.binary(max_size=200)), name=st.text(max_size=50))
    @settings(QUICK, max_examples=60)
    def test_pictures(self, client, data, name):
        answer = client.post("/v1/detect?stability=false", files=file_of(data, name or "a"))
        assert answer.status_code in (200, 400, 413, 415, 422), answer.text
        assert answer.status_code == 200 or answer.headers["content-type"] == MEDIA

    @given(body=st.binary(max_size=400), kind=st.sampled_from(["multipart/form-data; boundary=b", "application/json", "", "a/b; c=\xff"]))
    @settings(QUICK, max_examples=60)
    def test_bodies(self, client, body, kind):
        body = body.replace(b"b", b"--b\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n")
        answer = client.post("/v1/detect", content=body, headers={"Content-Type": kind.encode("latin-1")})
        assert 400 <= answer.status_code < 500 and answer.headers["content-type"] == MEDIA

    @given(cut=st.integers(0, 400), change=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5))
    @settings(QUICK, max_examples=30)
    def test_zips(self, client, cut, change):
        import zipfile

        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", b"no picture")
            archive.writestr("b/c.png", b"x" * 300)
        data = bytearray(file.getvalue())
        for at, value in change:
            data[at % len(data)] = value
        answer = client.post("/v1/batch", content=bytes(data[: len(data) - cut % 40]), headers={"Content-Type": "application/zip"})
        assert answer.status_code in (202, 413, 422), answer.text
        if answer.status_code == 202:
            client.delete(answer.headers["location"])
