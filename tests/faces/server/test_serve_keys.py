"""API keys and rate limits; and what the command line makes of them."""

import asyncio
import contextlib
import socket
import sqlite3
import time

import pytest
from hostile import encoded
from serving import file_of
from starlette.testclient import TestClient

from realgrain.faces import serve_cli
from realgrain.faces.cli import main
from realgrain.faces.server import auth
from realgrain.faces.server.problems import Problem
from realgrain.faces.server.ratelimit import RateLimits, parsed


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keyed(open_app, tmp_path, monkeypatch):
    """A server that asks for keys, and a maker of keys."""
    monkeypatch.setattr(auth, "FRESH", 0.2)
    with TestClient(open_app(data=tmp_path, auth=True), base_url="http://localhost") as client:
        store = client.app._app.state.service.store
        yield client, store, lambda *scopes, **options: auth.make_key(store, "test", scopes, **options)


class TestKeys:
    def test_what_needs_one(self, keyed):
        client, _, make = keyed
        for method, path in (
            ("POST", "/v1/detect"),
            ("POST", "/v1/batch"),
            ("GET", "/v1/model"),
            ("GET", "/metrics"),
            ("GET", "/v1/jobs/" + "0" * 32),
        ):
            for headers in ({}, bearer("rg_x_y"), bearer(make("detect") + "x"), {"X-API-Key": "none"}, {"Authorization": "Basic eDp5"}):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401 and answer.json()["code"] == "unauthorized" and answer.headers["www-authenticate"] == "Bearer"
        for path in ("/health", "/ready", "/openapi.json", "/"):
            assert client.get(path).status_code == 200

    def test_scopes(self, keyed):
        client, _, make = keyed
        detect, metrics = make("detect"), make("metrics")
        assert client.post("/v1/detect?stability=false", files=file_of(encoded("PNG")), headers=bearer(detect)).status_code == 200
        assert client.post("/v1/detect?stability=false", files=file_of(encoded("PNG")), headers={"X-API-Key": detect}).status_code == 200
        assert client.get("/metrics", headers=bearer(metrics)).status_code == 200
        for method, path, key in (("POST", "/v1/batch", detect), ("GET", "/metrics", detect), ("POST", "/v1/detect", metrics)):
            answer = client.request(method, path, headers=bearer(key))
            assert answer.status_code == 403 and answer.json()["code"] == "forbidden"

    def test_rotation(self, keyed):
        client, store, make = keyed
        old, new = make("detect"), make("detect")
        assert client.get("/v1/model", headers=bearer(old)).status_code == 200
        assert store.revoke(old.split("_")[1], time.time())
        time.sleep(0.3)
        assert client.get("/v1/model", headers=bearer(old)).status_code == 401
        assert client.get("/v1/model", headers=bearer(new)).status_code == 200

    def test_end(self, keyed):
        client, _, make = keyed
        key = make("detect", days=0.3 / 86_400)
        assert client.get("/v1/model", headers=bearer(key)).status_code == 200
        time.sleep(0.6)
        assert client.get("/v1/model", headers=bearer(key)).status_code == 401

    def test_jobs_are_their_keys_own(self, keyed):
        client, _, make = keyed
        mine, other = make("batch"), make("batch")
        job = client.post("/v1/batch?stability=false", files=file_of(encoded("PNG"), field="files"), headers=bearer(mine)).json()["id"]
        assert client.get(f"/v1/jobs/{job}", headers=bearer(mine)).status_code == 200
        for method, path in (("GET", ""), ("GET", "/results"), ("DELETE", "")):
            assert client.request(method, f"/v1/jobs/{job}{path}", headers=bearer(other)).status_code == 404

    def test_only_a_hash_is_kept(self, keyed, tmp_path):
        _, store, make = keyed
        key = make("detect")
        id_, secret = key.split("_", 2)[1:]
        assert store.key(id_).hash not in key
        assert not any(secret.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())

    def test_compared_in_constant_time_also_where_there_is_none(self, keyed, monkeypatch):
        _, store, make = keyed
        compared = []
        monkeypatch.setattr(auth.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
        assert auth.check(store, make("detect")) is not None
        assert auth.check(store, "rg_000000000000_x") is None and auth.check(store, "nonsense") is None and auth.check(store, "") is None
        assert compared == [(64, 64)] * 4


class TestRates:
    def test_of_a_key_and_of_a_server(self, open_app, tmp_path):
        with TestClient(open_app(data=tmp_path, auth=True, rate="3/minute"), base_url="http://localhost") as client:
            store = client.app._app.state.service.store
            plain, fast = auth.make_key(store, "a", ("detect",)), auth.make_key(store, "b", ("detect",), "6/minute")
            for key, most in ((plain, 3), (fast, 6)):
                found = [client.get("/v1/model", headers=bearer(key)) for _ in range(most + 2)]
                assert [answer.status_code for answer in found] == [200] * most + [429] * 2
                assert found[-1].json()["code"] == "too_many_requests" and 0 < int(found[-1].headers["retry-after"]) <= 120

    def test_of_wrong_keys(self, open_app, tmp_path):
        with TestClient(open_app(data=tmp_path, auth=True), base_url="http://localhost") as client:
            found = [client.get("/v1/model", headers=bearer(f"rg_{n}_x")).status_code for n in range(35)]
        assert found == [401] * 30 + [429] * 5

    def test_of_networks(self):
        from realgrain.faces.server.callers import _network

        assert _network("2001:db8:1:2:3::4") == _network("2001:db8:1:2::") == "2001:db8:1:2::/64" != _network("2001:db8:1:3::")
        assert _network("::ffff:192.0.2.1") == _network("192.0.2.1") == "192.0.2.1"
        assert _network("nowhere") == "nowhere"

    def test_no_key_is_no_wrong_key(self, open_app, tmp_path):
        with TestClient(open_app(data=tmp_path, auth=True), base_url="http://localhost") as client:
            found = [client.get("/v1/model", headers=headers).status_code for headers in [{}, {"X-API-Key": ""}] * 20 + [bearer("rg_0_x")]]
        assert found == [401] * 41

    @pytest.mark.parametrize("cost", [1, 10, 120, 500])
    @pytest.mark.parametrize("before", [0, 40, 120])
    def test_whoever_waits_as_told_is_let_in_and_not_a_second_before(self, monkeypatch, before, cost):
        now = 60 * 10**7 + 59.5
        monkeypatch.setattr(time, "time", lambda: now)

        async def told():
            with pytest.raises(Problem) as refused:
                await rates.count("me", cost=cost)
            return int(refused.value.headers["Retry-After"])

        async def run():
            nonlocal now
            for _ in range(before):
                await rates.count("me")
            now += 25.3
            with contextlib.suppress(Problem):
                while True:
                    await rates.count("me")
            now += await told() - 1
            assert await told() == 1
            now += 1
            await rates.count("me", cost=cost)

        rates = RateLimits("120/minute")
        asyncio.run(run())

    @pytest.mark.parametrize("rate", ["", "many", "5", "5/fortnight"])
    def test_no_rate(self, rate):
        with pytest.raises(ValueError, match="is no rate"):
            parsed(rate)

    @pytest.mark.parametrize("rate", ["0/minute", "0 per day"])
    def test_a_rate_that_lets_nobody_in(self, rate):
        with pytest.raises(ValueError, match="would let nobody in"):
            parsed(rate)


class TestCommands:
    def test_add_list_revoke(self, tmp_path, capsys):
        assert main(["keys", "add", "news desk", "--scope", "detect", "--rate", "9/second", "--data", str(tmp_path)]) == 0
        key = capsys.readouterr().out.strip()
        id_ = key.split("_")[1]
        assert main(["keys", "list", "--data", str(tmp_path)]) == 0
        shown = capsys.readouterr().out
        assert id_ in shown and "news desk" in shown and "9/second" in shown and key not in shown
        assert main(["keys", "revoke", id_, "--data", str(tmp_path)]) == 0
        assert main(["keys", "revoke", id_, "--data", str(tmp_path)]) == 2
        capsys.readouterr()
        assert main(["keys", "list", "--data", str(tmp_path)]) == 0
        assert "revoked" in capsys.readouterr().out

    @pytest.mark.parametrize("flags", [["--rate", "x"], ["--days", "0"], ["--scope", "root"]])
    def test_add_what_makes_no_sense(self, tmp_path, flags):
        assert main(["keys", "add", "a", *flags, "--data", str(tmp_path)]) == 2

    @pytest.mark.parametrize(
        ("flag", "value", "words"),
        [
            *((f"--{name}", value, "Must be") for name in ("max-mib", "max-megapixels", "max-clip-mib") for value in ("0", "inf", "nan")),
            *((f"--{name}", value, "Must be") for name in ("seconds", "max-clip-seconds", "keep-days") for value in ("0", "inf", "nan")),
            *((f"--{name}", "-5", "Must be") for name in ("drain", "workers", "jobs-waiting", "port")),
            *(("--cors", value, "SCHEME://HOST") for value in ("*", "evil", "null", "https://a.example/", "https://A.example", "https://a b")),
            *(("--private-host", value, "NAME:PORT") for value in ("foo", "http://foo:80", "Foo:80", "foo:")),
        ],
    )
    def test_serve_what_makes_no_sense(self, tmp_path, capsys, flag, value, words):
        assert main(["serve", f"{flag}={value}", "--data", str(tmp_path / "data")]) == 2
        said = capsys.readouterr().err
        assert flag in said and words in said and not (tmp_path / "data").exists()

    def test_what_is_kept_is_for_its_user_alone(self, tmp_path, run):
        """Also in a folder that was there before, and that others may look into."""
        tmp_path.chmod(0o755)
        assert run("-m", "realgrain", "keys", "add", "a", "--data", tmp_path).returncode == 0
        assert {path.name: oct(path.stat().st_mode & 0o077) for path in tmp_path.iterdir()} == dict.fromkeys(
            ("realgrain.db", "name", "store", "webhook.secret"), "0o0"
        )

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
    def test_no_keys_no_public_address(self, tmp_path, capsys, host):
        assert main(["serve", "--host", host, "--data", str(tmp_path)]) == 2
        assert "no API keys" in capsys.readouterr().err

    def test_whether_keys_are_asked_for(self, tmp_path):
        assert serve_cli._auth(None, True, tmp_path, None) is False
        assert serve_cli._auth(False, False, tmp_path, None) is False
        with pytest.raises(ValueError, match="no API keys"):
            serve_cli._auth(True, True, tmp_path, None)
        main(["keys", "add", "a", "--data", str(tmp_path)])
        assert serve_cli._auth(None, True, tmp_path, None) is True
        assert serve_cli._auth(None, False, tmp_path, None) is True
        assert serve_cli._auth(False, True, tmp_path, None) is False

    def test_a_server_whose_last_key_is_revoked_does_not_open(self, tmp_path, capsys):
        main(["keys", "add", "a", "--data", str(tmp_path)])
        main(["keys", "revoke", capsys.readouterr().out.split("_")[1], "--data", str(tmp_path)])
        for local in (True, False):
            with pytest.raises(ValueError, match="every API key is revoked"):
                serve_cli._auth(None, local, tmp_path, None)
        assert serve_cli._auth(False, True, tmp_path, None) is False

    def test_local(self):
        assert all(map(serve_cli.is_local, ("127.0.0.1", "::1", "localhost", "127.3.3.3")))
        assert not any(map(serve_cli.is_local, ("0.0.0.0", "::", "10.0.0.1", "localhost.example.org")))

    def test_a_database_of_another_version(self, tmp_path, capsys):
        main(["keys", "list", "--data", str(tmp_path)])
        with sqlite3.connect(tmp_path / "realgrain.db") as connection:
            connection.execute("UPDATE realgrain SET version = 99")
        assert main(["keys", "list", "--data", str(tmp_path)]) == 2
        assert "version 99" in capsys.readouterr().err

    def test_a_database_that_is_none(self, tmp_path):
        assert main(["keys", "list", "--data", str(tmp_path), "--database", "nonsense"]) == 2

    def test_serve_listens_on_this_machine_only(self, live):
        with pytest.raises(OSError), socket.create_connection((socket.gethostbyname(socket.gethostname()), live.port), timeout=2):
            if socket.gethostbyname(socket.gethostname()).startswith("127."):
                raise OSError("this machine has no other address")

    def test_serving_needs_no_torch(self, run):
        code = "import sys, realgrain.faces.server.app, realgrain.faces.server.worker; print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
        found = run("-c", code)
        assert found.stdout.strip() == "set()", found.stderr
