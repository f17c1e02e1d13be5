"""The same run on a Ray cluster of this machine, loopback interface only: slow to start, and a world of its own, so in processes of their own."""

import subprocess
import sys
import time
from pathlib import Path

import crowd
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import ray_here

import realgrain

pytestmark = [
    pytest.mark.slow,
    # Ray leaves files and sockets to the end of the process, and warns of its own settings.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    crowd.crowd(folder / "p", 400, broken=50)
    return folder / "p"


@pytest.fixture(scope="module")
def start(tiny_bundle, pictures):
    """Begin a run in a process of its own."""
    begun = []

    def call(output: Path, *options: str) -> subprocess.Popen[str]:
        what = [sys.executable, "-m", "realgrain", "batch", str(pictures), "-o", str(output), "--bundle", str(tiny_bundle.folder), "--offline"]
        what += ["--shard", "20", "--no-stability", "--no-cache", "--threads", "1", *options]
        begun.append(subprocess.Popen(what, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(realgrain.__file__).parents[1]))
        yield call
    for process in begun:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a run in which some pictures failed, and nothing else."""
    said = process.communicate(timeout=280)[1]
    assert process.returncode == 1, said


def test_two_workers_give_the_rows_of_one_machine(start, tmp_path):
    finish(start(tmp_path / "here"))
    with ray_here.cluster(2) as there:
        finish(start(tmp_path / "there", "--engine", "ray", "--address", there.address))
        process = start(tmp_path / "killed", "--engine", "ray", "--address", there.address)
        while process.poll() is None and not list((tmp_path / "killed").glob("shard-*")):
            time.sleep(0.01)
        there.kill_one()
        done = len(list((tmp_path / "killed").glob("shard-*")))
        finish(process)
    assert done < 20
    assert crowd.shards(tmp_path / "there") == crowd.shards(tmp_path / "here")
    assert crowd.shards(tmp_path / "killed") == crowd.shards(tmp_path / "here")


def test_without_an_address_it_is_this_machine_alone(start, tmp_path, monkeypatch):
    """Also where the environment names a cluster, which Ray would go to of itself."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    process = start(tmp_path / "o", "--engine", "ray", "--limit", "100")
    said = process.communicate(timeout=280)[1]
    assert process.returncode in (0, 1), said  # whether a broken picture is in the sample hangs on where the folder is
    assert "100 of them judged now" in said


def test_a_cluster_that_is_not_there(start, tmp_path):
    process = start(tmp_path / "o", "--engine", "ray", "--address", "127.0.0.1:1")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert "Ray at 127.0.0.1:1: " in said
