from pathlib import Path

import pytest

from realgrain.measuring.batch import pins, run


@pytest.fixture
def judge(tiny_bundle):
    """Run a batch in this process with the tiny detector."""

    def call(folder: Path, *sources: object, known: Path | None = None, threads: int = 1, watch=run.unwatched, **settings) -> run.Done:
        asked = pins.Asked(stability=settings.pop("stability", False))
        wanted = pins.Settings(sources=tuple(map(str, sources)), **settings)
        means = run.Means(str(tiny_bundle.folder), threads=threads, offline=True, known=None if known is None else str(known))
        return run.run(folder, wanted, pins.scoring(tiny_bundle, "onnxruntime", asked), means, watch=watch)

    return call
