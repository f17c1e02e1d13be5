"""What tests of pages and commands share: a run of a benchmark."""

from pathlib import Path

import pytest
import toy

from realgrain.faces.cli import main

SETS = {"glide": "imagenet_glide", "wukong": "imagenet_ai_0424_wukong"}
EACH = 4


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """Two of GenImage's sets, as published, of toy pictures."""
    root = tmp_path_factory.mktemp("genimage")
    for place, (name, unzipped) in enumerate(SETS.items()):
        for label, folder in ((False, "nature"), (True, "ai")):
            for index in range(EACH):
                file = root / name / unzipped / "val" / folder / f"{index}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(toy.saved(toy.picture(1000 * place + index, fake=label, size=(170, 200))))
    return root


@pytest.fixture(scope="session")
def done(tree, tiny_bundle, tmp_path_factory) -> Path:
    """The folder of a run on them in six conditions."""
    folder = tmp_path_factory.mktemp("runs") / "genimage"
    conditions = ["clean", "web", "hard", "jpeg-60", "jpeg-30", "jpeg96-aligned"]
    arguments = ["--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "20", "--conditions", *conditions]
    assert main(["bench", "run", "genimage", str(tree), "-o", str(folder), *arguments]) == 0
    return folder
