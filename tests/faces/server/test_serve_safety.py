"""What hostile clients send: each is refused with a problem, and the next picture is judged as ever."""

import base64
import json
import socket
import struct
import time
import zlib

import httpx2
import pytest
from hostile import build_hostile_with_codes, chunk, encoded, png
from serving import file_of, listening, zipped

from realgrain.faces.server.problems import MEDIA
from realgrain.faces.server.protocol import LINGER
from realgrain.faces.server.shield import CSP, SECURITY


def problem(answer, status: int, code: str) -> None:
    """RFC 9457: the media type, and a status that is the answer's own."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA
    found = answer.json()
    assert found["status"] == status and found["code"] == code and found["title"] and found["detail"]
    assert found["type"] == f"urn:realgrain:problem:{code.replace('_', '-')}"


def alive(client) -> None:
    assert client.post("/v1/detect?stability=false", files=file_of(encoded("PNG"))).status_code == 200


class TestPictures:
    def test_every_hostile_file_is_the_clients_error(self, client, tmp_path):
        for name, (path, codes) in build_hostile_with_codes(tmp_path).items():
            if len(path.name) < 200 and path.is_file() and path.stat().st_size < 30_000_000:
                answer = client.post("/v1/detect?stability=false", files=file_of(path.read_bytes(), name))
                assert answer.status_code in (413, 415, 422), (name, answer.text)
                told = codes | {"corrupt"} if name == "video" else codes  # here clips are taken, and this one is none
                assert answer.json()["code"] in told, name
        alive(client)

    def test_decompression_bomb(self, client):
        rows = zlib.compress(bytes(9_001) * 9_000, 1)
        problem(client.post("/v1/detect", files=file_of(png(9_000, 9_000, chunk(b"IDAT", rows)))), 422, "too_many_pixels")
        alive(client)

    def test_polyglot_is_judged_as_the_picture_it_begins_as(self, client):
        """A picture that is a zip too, and one that is a page too: one decoder is chosen, by content, and nothing else ever looks."""
        picture = encoded("JPEG", (260, 260))
        both = picture + zipped(("../../evil.sh", b"echo"))
        answer = client.post("/v1/detect", files=file_of(both, "a.zip"))
        assert answer.status_code == 200 and answer.json()["picture"]["format"] == "JPEG"
        assert answer.json()["logit"] == client.post("/v1/detect", files=file_of(picture, "a.jpg")).json()["logit"]
        page = client.post("/v1/detect", files=file_of(b"<svg><script>alert(1)</script></svg>" + picture, "a.html"))
        problem(page, 415, "unsupported_format")
        assert page.headers["x-content-type-options"] == "nosniff"

    def test_too_many_bytes_announced_and_not(self, live):
        large = b"\x89PNG\r\n\x1a\n" + bytes(6 * 2**20)
        problem(live.http.post("/v1/detect", files=file_of(large)), 413, "too_many_bytes")
        body = json.dumps({"image": base64.b64encode(large).decode()}).encode()
        problem(live.http.post("/v1/detect", content=iter([body]), headers={"Content-Type": "application/json"}), 413, "too_many_bytes")
        alive(live.http)

    def test_refused_before_it_is_all_there(self, live):
        """An announced size is enough: no byte of the body need be sent."""
        with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


class TestForms:
    @pytest.mark.parametrize(
        ("kind", "body", "status", "code"),
        [
            ("text/plain", b"x", 415, "unknown_body"),
            ("multipart/form-data", b"x", 400, "bad_form"),
            ("multipart/form-data; boundary=a", b"x", 400, "bad_form"),
            ("multipart/form-data; boundary=a", b"", 400, "cut_short"),
            ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\nabc", 400, "cut_short"),
            ("multipart/form-data; boundary=a", b'--a\r\nContent-Disposition: form-data; name="f"\r\n\r\nabc\r\n--a--\r\n', 400, "no_file"),
            ("multipart/form-data; boundary=a", b"--a\r\nX: y\r\n\r\nabc\r\n--a--\r\n", 400, "bad_form"),
            ("multipart/form-data; boundary=a", b"--a\r\n" + b"X: y\r\n" * 100 + b"\r\nabc\r\n--a--\r\n", 400, "bad_form"),
            ("multipart/form-data; boundary=" + "a" * 300, b"x", 400, "bad_form"),
            ("application/json", b"{", 422, "bad_body"),
            ("application/json", b"[" * 100_000, 422, "bad_body"),
            ("application/json", b"{}", 422, "bad_body"),
            ("application/json", b'{"image": "%%%"}', 422, "bad_body"),
            ("application/json", b'{"image": ""}', 422, "empty"),
            ("application/json", b'{"image": "AA==", "url": "http://example.org"}', 422, "bad_body"),
            ("application/json", b'{"image": "AA==", "more": 1}', 422, "bad_body"),
            ("application/json", b'{"url": "http://example.org/a.png"}', 403, "urls_not_allowed"),
        ],
    )
    def test_broken(self, client, kind, body, status, code):
        problem(client.post("/v1/detect", content=body, headers={"Content-Type": kind}), status, code)

    def test_two_files_are_one_too_many(self, client):
        files = [("file", ("a", encoded("PNG"))), ("file", ("b", encoded("PNG")))]
        problem(client.post("/v1/detect", files=files), 413, "too_many_files")

    @pytest.mark.parametrize(
        ("fields", "bytes_", "headers", "header_bytes", "status", "code"),
        [
            (20, 64 * 1024, 8, 4 * 1024, 200, None),
            (21, 1, 2, 100, 413, "too_many_fields"),
            (1, 64 * 1024 + 1, 2, 100, 413, "too_many_bytes"),
            (1, 1, 9, 100, 400, "bad_form"),
            (1, 1, 8, 4 * 1024 + 1, 400, "bad_form"),
        ],
    )
    def test_its_fields_and_headers_have_limits(self, client, fields, bytes_, headers, header_bytes, status, code):
        """All of them at once are no more than a form may have; one more of any is."""
        first = b'Content-Disposition: form-data; name="a"'
        more = [f"X-{n}: ".encode().ljust(header_bytes, b"y") for n in range(headers - 1)]
        field = b"\r\n".join([b"--a", first, *more, b"", b"z" * bytes_, b""])
        file = b'--a\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + encoded("PNG") + b"\r\n--a--\r\n"
        body = field * fields + file
        answer = client.post("/v1/detect?stability=false", content=body, headers={"Content-Type": "multipart/form-data; boundary=a"})
        if code is None:
            assert answer.status_code == status, answer.text
        else:
            problem(answer, status, code)
        alive(client)

    def test_a_form_of_one_picture_may_be_so_much_larger_than_the_picture(self, base_settings):
        settings = base_settings()
        fields = 20 * (64 * 1024 + 8 * 4 * 1024)
        assert settings.form_bytes(1, settings.max_bytes) == settings.max_bytes + 8 * 4 * 1024 + fields

    @pytest.mark.parametrize(("length", "status"), [(4 * 1024 - 60, 200), (4 * 1024, 400)])
    def test_a_files_name(self, client, length, status):
        answer = client.post("/v1/detect?stability=false", files={"f": ("n" * length, encoded("PNG"))})
        assert answer.status_code == status, answer.text

    @pytest.mark.parametrize("path", ["/v1/detect", "/v1/regions", "/v1/report", "/v1/batch"])
    def test_options_in_it_would_do_nothing(self, client, path):
        answer = client.post(path, files=file_of(encoded("PNG")), data={"stability": "false"})
        problem(answer, 422, "bad_option")
        assert "?stability=" in answer.json()["detail"]

    def test_options_are_those_of_the_routes(self, client):
        from realgrain.faces.server.uploads import OPTIONS

        paths = client.get("/openapi.json").json()["paths"]
        forms = [paths[path]["post"] for path in ("/v1/detect", "/v1/regions", "/v1/report", "/v1/batch")]
        assert {one["name"] for form in forms for one in form["parameters"] if one["in"] == "query"} == OPTIONS

    @pytest.mark.parametrize("path", ["/v1/detect", "/v1/regions", "/v1/report", "/v1/batch"])
    @pytest.mark.parametrize("query", ["none=1", "profile=web&profile=art", "tiles=4&tiles=5"])
    def test_options_in_the_address_that_do_nothing(self, client, path, query):
        problem(client.post(f"{path}?{query}", files=file_of(encoded("PNG"))), 422, "bad_option")

    def test_an_input_is_never_quoted(self, client):
        answer = client.post("/v1/detect", json={"image": "c2VjcmV0IHBpY3R1cmU=", "surprise": "secret words"})
        assert "secret" not in answer.text and "c2Vj" not in answer.text


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v1/none", 404),
            ("GET", "/v1/detect", 405),
            ("DELETE", "/health", 405),
            ("GET", "/../../../../etc/passwd", 404),
            ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
            ("GET", "/v1/jobs/" + "0" * 32, 404),
            ("GET", "/v1/jobs/..%2f..%2fetc", 404),
            ("POST", "/", 405),
        ],
    )
    def test_errors_are_problems(self, client, method, path, status):
        answer = client.request(method, path)
        assert answer.status_code == status and answer.headers["content-type"] == MEDIA, answer.text

    def test_security_headers_are_on_everything(self, client):
        for path in ("/", "/health", "/v1/none", "/v1/model", "/openapi.json"):
            headers = client.get(path).headers
            assert headers["content-security-policy"] == CSP and "unsafe" not in CSP
            assert headers["x-frame-options"] == "DENY" and headers["referrer-policy"] == "no-referrer"
            assert "server" not in headers

    def test_page_is_served(self, client):
        answer = client.get("/")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")

    @pytest.mark.parametrize("path", ["/health", "/ready"])
    def test_balancers_may_ask_for_the_head_alone(self, client, path):
        answer = client.head(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")

    def test_health_ready_and_metrics(self, client):
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/ready").json()["parts"] == {"detector": True, "decoders": True, "store": True, "staying": True}
        client.post("/v1/detect", files=file_of(b"none", "secret-name.png"))
        text = client.get("/metrics").text
        assert 'realgrain_requests_total{method="POST",route="/v1/detect",status="415"}' in text
        assert "secret-name" not in text


class TestBrowsers:
    def test_cors_is_closed(self, client):
        answer = client.get("/v1/model", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers
        asked = client.post("/v1/detect", files=file_of(encoded("PNG")), headers={"Origin": "https://evil.example"})
        problem(asked, 403, "wrong_origin")
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        assert client.options("/v1/detect", headers=preflight).status_code == 403

    def test_its_own_page_may_ask(self, client):
        assert client.post("/v1/detect", files=file_of(encoded("PNG")), headers={"Origin": "http://localhost"}).status_code == 200

    def test_cors_for_those_that_are_named(self, open_app):
        from starlette.testclient import TestClient

        client = TestClient(open_app(cors=("https://desk.example",)), base_url="http://localhost")
        preflight = {"Origin": "https://desk.example", "Access-Control-Request-Method": "POST"}
        assert client.options("/v1/detect", headers=preflight).headers["access-control-allow-origin"] == "https://desk.example"
        problem(client.options("/v1/detect", headers={**preflight, "Origin": "https://evil.example"}), 403, "wrong_origin")
        problem(client.options("/v1/detect", headers={**preflight, "Access-Control-Request-Method": "PUT"}), 403, "wrong_origin")
        assert client.get("/health", headers={"Origin": "https://desk.example"}).headers["access-control-allow-origin"] == "https://desk.example"
        other = client.get("/health", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers

    def test_those_that_are_named_can_read_all_that_an_answer_says(self, open_app, monkeypatch):
        """Retry-After above all, also of what is answered before any route, and errors of ours."""
        from starlette.testclient import TestClient

        app, origin = open_app(cors=("https://desk.example",), auth=True), {"Origin": "https://desk.example"}
        full = TestClient(app.full, base_url="http://localhost").get("/health", headers=origin)
        problem(full, 503, "busy")
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        refused = client.get("/v1/model", headers=origin)
        problem(refused, 401, "unauthorized")
        large = client.get("/health", headers={**origin, "X": "y" * 17_000})
        problem(large, 431, "headers_too_large")
        monkeypatch.setattr("realgrain.faces.server.callers.key_in", lambda *_: 1 / 0)
        broken = client.get("/v1/model", headers=origin)
        problem(broken, 500, "internal")
        for answer in (full, refused, large, broken):
            assert answer.headers["access-control-allow-origin"] == "https://desk.example"
            exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
            assert {"retry-after", "location", "content-disposition"} <= exposed
            always = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"}
            ours = {name.lower() for name in SECURITY} | {"vary", "access-control-allow-origin", "access-control-expose-headers"}
            assert set(answer.headers) - always - ours <= exposed

    def test_names_are_looked_at_on_any_address(self, start):
        """Also where others can reach it, and behind a proxy that passes on what it was called by."""
        http = start("--host", "0.0.0.0", "--no-auth", "--allow-host", "Desk.example").http
        problem(http.get("/v1/model", headers={"Host": "evil.example"}), 421, "wrong_host")
        for name in ("desk.example", "desk.example:8443", "localhost", "127.0.0.1"):
            assert http.get("/health", headers={"Host": name}).status_code == 200

    def test_another_name_for_this_machine_is_not_answered(self, live):
        """DNS rebinding: a page elsewhere whose name now leads here."""
        problem(live.http.get("/v1/model", headers={"Host": "evil.example"}), 421, "wrong_host")
        assert live.http.get("/v1/model", headers={"Host": "localhost:1234"}).status_code == 200


class TestConnections:
    def test_one_too_many(self, open_app):
        """Two at most: the third is told so, in the form of all errors, and the first two are still served, also while another waits idle."""
        with listening(open_app(), connections=2) as address:
            held = [httpx2.Client(base_url=address, timeout=30) for _ in range(2)]
            assert [one.get("/health").status_code for one in held] == [200, 200]
            answer = httpx2.get(f"{address}/health", timeout=30)
            problem(answer, 503, "busy")
            assert answer.headers["retry-after"] and answer.headers["x-content-type-options"] == "nosniff"
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10):
                assert [one.get("/health").status_code for one in held] == [200, 200]
            held.pop().close()
            end = time.monotonic() + 30
            while (status := httpx2.get(f"{address}/health", timeout=30).status_code) == 503 and time.monotonic() < end:
                time.sleep(0.05)  # the server hears a little later that it has gone
            assert status == 200
            held.pop().close()

    def test_oversized_headers(self, live):
        with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
            answer = b""
            while b"}" not in answer and (piece := connection.recv(8192)):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 431 ") and b"headers_too_large" in answer
        alive(live.http)

    @pytest.mark.slow
    def test_a_connection_serves_on_after_a_body_that_was_refused(self, live):
        """The clock that runs for what is left of a refused body stops when that has come, and does not cut the next request short."""
        head = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        with socket.create_connection(("127.0.0.1", live.port), timeout=30) as connection:
            connection.sendall(head % 7_000_000)
            assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
            connection.sendall(b" " * 7_000_000 + head % 2 + b"{")
            time.sleep(LINGER + 1)
            connection.sendall(b"}")
            said = b""  # the rest of the first answer may come apart from its head
            while b"HTTP/1.1 422 " not in said and (more := connection.recv(65536)):
                said += more
        assert b"HTTP/1.1 422 " in said

    @pytest.mark.slow
    def test_a_refused_body_without_end_is_cut_off(self, live):
        head = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n"
        with socket.create_connection(("127.0.0.1", live.port), timeout=30) as connection:
            connection.sendall(head)
            begun = time.monotonic()
            with pytest.raises(OSError):
                while time.monotonic() < begun + 3 * LINGER:
                    connection.sendall(b" " * 1000)
                    time.sleep(0.2)

    @pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 100 + b"\0\0"])
    def test_not_http(self, live, junk):
        with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(8192)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        alive(live.http)

    @pytest.mark.slow
    def test_slow_clients_are_cut_off_and_keep_nobody_waiting(self, start, bundle_folder, tmp_path):
        server = start(env={"REALGRAIN_TEST": "1"})
        heads = [
            b"GET /health HTTP/1.1\r\nHost: loc",
            b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        ]
        slow = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(20)]
        begun = time.monotonic()
        for n, connection in enumerate(slow):
            connection.sendall(heads[n % 2])
        alive(server.http)
        assert time.monotonic() - begun < 9
        for n, connection in enumerate(slow):
            answer = b""
            try:
                while piece := connection.recv(4096):
                    answer += piece
            except ConnectionResetError:
                pass
            assert answer == b"" if n % 2 == 0 else answer.startswith(b"HTTP/1.1 408 ")
            connection.close()
        assert 8 < time.monotonic() - begun < 25

    def test_a_reader_that_does_not_read_holds_nobody_up(self, live):
        stuck = []
        for _ in range(5):
            connection = socket.create_connection(("127.0.0.1", live.port), timeout=10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
            stuck.append(connection)
        alive(live.http)
        for connection in stuck:
            connection.close()
        alive(live.http)
