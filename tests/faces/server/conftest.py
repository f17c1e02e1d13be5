"""Servers for tests: one in this process, and real ones in processes of their own."""

import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[2] / "picture"))
sys.path.insert(0, str(Path(__file__).parent))
from serving import Server


@pytest.fixture(scope="session")
def base_settings(tmp_path_factory):
    """Settings that are quick and small; a test changes what it is about."""
    from realgrain.faces.server.settings import Settings

    def make(**changes):
        quick = {"data": tmp_path_factory.mktemp("serve"), "auth": False, "workers": 1, "rate": "100000/minute", "seconds": 30}
        return Settings(**{**quick, **changes})

    return make


@pytest.fixture(scope="session")
def open_app(base_settings, tiny_detector):
    """Make an application in this process."""
    from realgrain.faces.server.app import create

    def make(**changes):
        return create(base_settings(**changes), tiny_detector)

    return make


@pytest.fixture(scope="session")
def client(open_app):
    """A server without keys, shared by tests that only ask."""
    with TestClient(open_app(), base_url="http://localhost") as found:
        yield found


@pytest.fixture(scope="session")
def bundle_folder(tiny_bundle, session_home) -> Path:
    return tiny_bundle.folder


@pytest.fixture
def start(bundle_folder, tmp_path):
    """Start real servers, which are gone when the test is; the folder of their data is the same unless a test names another."""
    made = []

    def begin(*flags: str, data: Path | None = None, **options) -> Server:
        server = Server(bundle_folder, data or tmp_path / "data", *flags, **options)
        made.append(server)
        return server

    yield begin
    for server in made:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def live(bundle_folder, tmp_path_factory):
    """A real server without keys, shared by tests that only ask."""
    server = Server(
        bundle_folder, tmp_path_factory.mktemp("live") / "data", "--rate", "100000/minute", "--seconds", "20", "--max-mib", "4", "--max-clip-mib", "4"
    )
    yield server
    server.stop()
