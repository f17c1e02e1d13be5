import hashlib
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save

from realgrain.detector.bundle import CARD, HEAD, STATISTICS, BundleError, Card, array_bytes, read_bundle, write_bundle


@pytest.fixture
def folder(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle.folder, tmp_path / "copy")


def change_card(folder, change):
    card = json.loads((folder / CARD).read_text())
    change(card)
    (folder / CARD).write_text(json.dumps(card))


def test_round_trip(tiny_bundle, tmp_path):
    again = write_bundle(tmp_path / "again", tiny_bundle.card, tiny_bundle.head, {}, tiny_bundle.statistics)
    assert again.card == tiny_bundle.card
    assert again.hash == tiny_bundle.hash == hashlib.sha256((again.folder / CARD).read_bytes()).hexdigest()
    assert again.head.keys() == tiny_bundle.head.keys() == {"weight", "bias"}
    for name, array in again.head.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, tiny_bundle.head[name])
    assert Card.model_validate_json(tiny_bundle.card.model_dump_json()) == tiny_bundle.card


def test_a_bundle_is_three_small_files(tiny_bundle):
    files = list(tiny_bundle.folder.rglob("*"))
    assert {file.name for file in files} == {CARD, HEAD, STATISTICS}
    assert sum(file.stat().st_size for file in files) < 50_000


def test_same_head_same_bytes(tiny_bundle):
    backwards = dict(reversed(tiny_bundle.head.items()))
    doubled = {name: array.astype(np.float64)[::1] for name, array in tiny_bundle.head.items()}
    assert array_bytes(tiny_bundle.head) == array_bytes(backwards) == array_bytes(doubled)
    assert array_bytes({**tiny_bundle.head, "bias": tiny_bundle.head["bias"] + 1}) != array_bytes(tiny_bundle.head)


def test_hash_changes_with_the_card(folder, tiny_bundle):
    change_card(folder, lambda card: card.update(name="another"))
    assert read_bundle(folder).hash != tiny_bundle.hash


class TestRefused:
    @pytest.mark.parametrize("name", [CARD, HEAD, STATISTICS])
    def test_missing_file(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(BundleError, match=rf"not a bundle.*{name}"):
            read_bundle(folder)

    def test_no_folder(self, tmp_path):
        with pytest.raises(BundleError, match="not a bundle: No such file"):
            read_bundle(tmp_path / "nowhere")

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00\xff"])
    def test_card_is_garbage(self, folder, text):
        (folder / CARD).write_bytes(text.encode("latin-1"))
        with pytest.raises(BundleError, match=CARD):
            read_bundle(folder)

    @pytest.mark.parametrize(
        ("change", "key"),
        [
            (lambda card: card.update(extra=1), "extra"),
            (lambda card: card["base"].update(url="x"), r"base\.url"),
            (lambda card: card["base"].update(sha256="abc"), r"base\.sha256"),
            (lambda card: card["calibration"].update(slope=-1), r"calibration\.slope"),
            (lambda card: card["views"].update(sizes=3), r"views\.sizes"),
            (lambda card: card["views"]["views"][0].update(kind="whole"), r"views\.views\.0"),
            (lambda card: card.pop("training"), "training"),
            (lambda card: card.update(block=0), "block"),
            (lambda card: card.update(smallest_side=0), "smallest_side"),
        ],
    )
    def test_card_does_not_fit_its_schema(self, folder, change, key):
        change_card(folder, change)
        with pytest.raises(BundleError, match=rf"(?s){CARD}.*{key}"):
            read_bundle(folder)

    def test_weights_are_not_the_cards(self, folder, tiny_bundle):
        (folder / HEAD).write_bytes(array_bytes({**tiny_bundle.head, "bias": tiny_bundle.head["bias"] + 1}))
        with pytest.raises(BundleError, match=r"sha256 is not the card's"):
            read_bundle(folder)

    @pytest.mark.parametrize(
        "data", [b"", b"not safetensors" * 20, save({"weight": np.zeros(32, np.float32)}), save({"other": np.zeros(3, np.float32)})]
    )
    def test_weights_are_not_a_head(self, folder, data):
        (folder / HEAD).write_bytes(data)
        change_card(folder, lambda card: card.update(head_sha256=hashlib.sha256(data).hexdigest()))
        with pytest.raises(BundleError, match=HEAD):
            read_bundle(folder)
