"""Addresses that strangers name: what is asked, and what never is."""

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from realgrain.faces.server import fetch
from realgrain.faces.server.fetch import Client, FetchError, checked, is_public

PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1"),
    *("192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "fec0::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::", "64:ff9b:1::7f00:1"),
    *(
        "192.0.0.192",
        "64:ff9b:1:a00:0:100:808:808",
        "64:ff9b:1:7f00:0:100:808:808",
        "3fff::1",
        "5f00::1",
        "2001:2::1",
        "192.88.99.1",
        "168.63.129.16",
    ),
]


class TestAddresses:
    @pytest.mark.parametrize("address", PRIVATE)
    def test_not_public(self, address):
        assert not is_public(ipaddress.ip_address(address))

    @pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
    def test_public(self, address):
        assert is_public(ipaddress.ip_address(address))

    @given(st.ip_addresses(v=4))
    def test_a_mapped_address_is_what_it_maps(self, address):
        assert is_public(ipaddress.IPv6Address(f"::ffff:{address}")) == is_public(address)
        assert is_public(address) <= address.is_global

    @pytest.mark.parametrize(
        "address",
        [
            *(
                "file:///etc/passwd",
                "ftp://example.org/a",
                "gopher://example.org",
                "http://",
                "//example.org/a",
                "example.org",
                "javascript:alert(1)",
            ),
            *("http://user@example.org/", "http://user:pass@example.org/", "http://example.org\\@127.0.0.1/", "http://exa mple.org/"),
            *(
                "http://example.org/\r\nHost: x",
                "http://example.org:99999/",
                "http://[::1",
                "http://ex\u0430mple.org/",
                "http://example.org/" + "a" * 3000,
            ),
        ],
    )
    def test_not_addresses(self, address):
        with pytest.raises(FetchError) as caught:
            checked(address)
        assert caught.value.code == "bad_address"


class Page(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
            return
        self.send_response(200)
        if self.path == "/packed":
            self.send_header("Content-Encoding", "gzip")
        if self.path == "/announced":
            self.send_header("Content-Length", "10000000")
        self.end_headers()
        with contextlib.suppress(OSError):
            if self.path == "/slow":
                threading.Event().wait(5)
            self.wfile.write(b"x" * (100_000 if self.path == "/large" else 100))

    def log_message(self, *_):
        pass


@pytest.fixture
def page():
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.daemon_threads = True
        Page.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Slow:
    """A system's resolver that answers at once for some names, and for others when it is let."""

    def __init__(self) -> None:
        self.most, self.release, self.asked = fetch._RESOLVERS._max_workers, threading.Event(), list[str]()

    def __call__(self, host, *_, **__):
        self.asked.append(host)
        if "slow" in host:
            self.release.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))]

    def wait(self) -> None:
        while len(self.asked) < self.most:
            time.sleep(0.01)


@pytest.fixture
def slow(monkeypatch):
    resolver = Slow()
    monkeypatch.setattr(fetch, "RESOLVING", 0.5)
    monkeypatch.setattr(fetch.socket, "getaddrinfo", resolver)
    yield resolver
    resolver.release.set()


def get(address: str, private=(), seconds: float = 5, most: int = 1000):
    return asyncio.run(Client(private=private, seconds=seconds).get(address, most, lambda _: None))


def refused(*arguments, **options) -> str:
    with pytest.raises(FetchError) as caught:
        get(*arguments, **options)
    return caught.value.code


class TestFetching:
    def test_what_is_allowed(self, page):
        assert get(f"http://{page}/a.png?b#c", [page]) == (f"http://{page}/a.png?b#c", b"x" * 100)
        assert Page.asked == ["/a.png?b"]

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
    def test_this_machine_however_it_is_written(self, page, host):
        port = page.partition(":")[2]
        assert refused(f"http://{host}:{port}/") in ("forbidden_address", "fetch_failed")
        assert refused(f"http://{host}/") in ("forbidden_address", "fetch_failed")
        assert Page.asked == []

    def test_an_address_holds_memory_for_what_it_gives_and_not_for_what_it_might(self, page, open_app):
        """Otherwise a few that give nothing would keep all pictures out for as long as they are waited for."""
        app = open_app(allow_urls=True, private_hosts=(page,), memory=150_000)
        with TestClient(app, base_url="http://localhost") as client:
            small = client.post("/v1/detect", json={"url": f"http://{page}/a.png"})
            assert (small.status_code, small.json()["code"]) == (415, "unknown_format")
            large = client.post("/v1/detect", json={"url": f"http://{page}/large"})  # 100,000 bytes, in pieces and in one
            assert (large.status_code, large.json()["code"]) == (503, "busy")

    def test_redirects_are_looked_at(self, page):
        port = page.partition(":")[2]
        assert refused(f"http://{page}/to?http://localhost:{port}/secret", [page]) == "forbidden_address"
        assert refused(f"http://{page}/to?http://169.254.169.254/latest", [page]) == "forbidden_address"
        assert refused(f"http://{page}/to?file:///etc/passwd", [page]) == "bad_address"
        assert refused(f"http://{page}/to?http://[", [page]) == "bad_address"
        assert refused(f"http://{page}/to?//[x]/", [page]) == "bad_address"
        assert "/secret" not in Page.asked

    def test_redirects_have_an_end(self, page):
        assert refused(f"http://{page}/to?/to?/to?/to?/to?/to?/a", [page]) == "fetch_failed"
        assert get(f"http://{page}/to?/a", [page])[1] == b"x" * 100

    @pytest.mark.parametrize(("path", "code"), [("/large", "too_many_bytes"), ("/announced", "too_many_bytes"), ("/packed", "fetch_failed")])
    def test_bounds(self, page, path, code):
        assert refused(f"http://{page}{path}", [page]) == code

    def test_time(self, page):
        assert refused(f"http://{page}/slow", [page], seconds=0.5) == "fetch_failed"

    def test_the_address_that_was_checked_is_the_one_that_is_asked(self, monkeypatch, page):
        """A name that turns to this machine after it was checked: it is resolved once for each connection, and never again."""
        answers = iter([["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]])
        connected = []

        async def resolve(host, port):
            return next(answers)

        async def connect(self, host, port, *rest):
            connected.append(host)
            raise OSError("no network in tests")

        monkeypatch.setattr(fetch, "resolve", resolve)
        monkeypatch.setattr(fetch.httpcore2.AnyIOBackend, "connect_tcp", connect)
        assert refused("http://rebinding.example/") == "fetch_failed"
        assert connected == ["8.8.8.8"]
        assert refused("http://rebinding.example/") == "forbidden_address"
        assert connected == ["8.8.8.8"]

    def test_a_name_with_one_private_address_among_public_ones(self, monkeypatch):
        async def resolve(host, port):
            return ["8.8.8.8", "10.0.0.1"]

        monkeypatch.setattr(fetch, "resolve", resolve)
        assert refused("http://example.org/") == "forbidden_address"

    def test_names_that_nobody_answers_for_are_given_up_and_keep_out_nobody_for_long(self, slow, open_app):
        """As many as may be looked up at a time, and one more that would be answered at once."""
        with TestClient(open_app(allow_urls=True), base_url="http://localhost") as client, ThreadPoolExecutor(slow.most + 1) as clients:

            def ask(host: str):
                return client.post("/v1/detect", json={"url": f"http://{host}/a.png"})

            stuck = [clients.submit(ask, f"{n}.slow.example") for n in range(slow.most)]
            slow.wait()
            one_more = ask("quick.example")
            assert (one_more.status_code, one_more.json()["code"]) == (503, "busy") and one_more.headers["retry-after"]
            hook = client.post("/v1/batch", files={"files": b"x"}, headers={"Webhook-URL": "http://quick.example/"})
            assert (hook.status_code, hook.json()["code"]) == (503, "busy")
            assert client.get("/v1/jobs/" + "0" * 32).status_code == 404  # the store has threads of its own
            for answer in [one.result() for one in stuck]:
                assert (answer.status_code, answer.json()["code"]) == (502, "fetch_failed") and "looking up" in answer.json()["detail"]
            slow.release.set()
            assert ask("quick.example").json()["code"] == "forbidden_address"
        assert "quick.example" in slow.asked and len(slow.asked) == slow.most + 1  # who gave up in line was not looked up later

    def test_proxies_of_the_environment_are_not_used(self, monkeypatch, page):
        monkeypatch.setenv("HTTP_PROXY", f"http://{page}")
        monkeypatch.setenv("ALL_PROXY", f"http://{page}")
        assert refused("http://127.0.0.1/") == "forbidden_address"
        assert Page.asked == []
