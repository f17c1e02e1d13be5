import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from realgrain.detector.weights import TENSORS, WeightsError
from realgrain.learning import autoencoding, remaking
from realgrain.learning.aligned import Aligned
from realgrain.learning.autoencoder import DESIGNS
from realgrain.learning.data import Fold, left_in
from realgrain.learning.remaking import folder_of, remakes, with_remakes
from realgrain.picture.image import open_picture

TWO = Aligned("autoencoder", names=("transposed-plain", "shuffle-vq"), steps=1, precision="f32")


@pytest.fixture(autouse=True)
def small(monkeypatch, home):
    monkeypatch.setattr(autoencoding, "CROP", 32)
    monkeypatch.setattr(autoencoding, "CROPS", 16)
    monkeypatch.setattr(autoencoding, "BATCH", 2)


@pytest.fixture
def few(problem):
    """Three photographs, two of them twins, among two fakes."""
    rows = [*np.flatnonzero(problem.fake)[:1], *np.flatnonzero(~problem.fake)[[0, 9, 10]], *np.flatnonzero(problem.fake)[1:2]]
    kept = np.isin(np.arange(len(problem.samples)), rows)
    part = problem.keep(kept)
    return replace(part, twins=np.array([7, 7, 3, 5, 4]))


def photographs(problem):
    return [(sample, sha256) for sample, sha256 in zip(problem.samples, problem.sha256, strict=True) if sample.label == "real"]


def forbid_training(monkeypatch):
    monkeypatch.setattr(autoencoding, "fit", lambda *a, **o: pytest.fail("an autoencoder was trained"))
    monkeypatch.setattr(autoencoding, "crops", lambda *a, **o: pytest.fail("crops were cut"))


def folder(problem, name, settings=TWO):
    return folder_of(name, [sha256 for _, sha256 in photographs(problem)], settings)


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"kind": "some"}, "unknown kind"),
            ({"names": ("transposed-plain", "x")}, "no autoencoder is called x"),
            ({"names": ("nearest-kl", "nearest-kl")}, "named twice"),
            ({"names": ()}, "1 to 0"),
            ({"steps": 0}, "at least 1 step"),
            ({"per_photograph": 0}, "1 to 4"),
            ({"per_photograph": 5}, "1 to 4"),
            ({"precision": "f16"}, "f32 or bf16"),
        ],
    )
    def test_refused(self, changes, match):
        with pytest.raises(ValueError, match=match):
            Aligned(**changes)

    def test_choice_is_even_and_one_name_less_moves_only_its_share(self):
        names = [f"{number:064x}" for number in range(400)]
        before, after = Aligned(), Aligned(names=tuple(DESIGNS)[1:])
        for sha256 in names:
            if before.chosen(sha256)[0] in after.names:
                assert after.chosen(sha256) == before.chosen(sha256)
        counts = [sum(before.chosen(sha256) == (name,) for sha256 in names) for name in DESIGNS]
        assert min(counts) > 60

    def test_several_for_each(self):
        assert len(set(Aligned(per_photograph=3).chosen("a" * 64))) == 3


class TestRemakes:
    def test_none(self, few, monkeypatch):
        forbid_training(monkeypatch)
        made = remakes(few, Aligned())
        assert made.samples == [] and made.sha256 == [] and made.twins.shape == (0,)

    def test_every_photograph_once_and_no_fake(self, few):
        made = remakes(few, TWO)
        assert sorted(sample.original for sample in made.samples) == sorted(sample.path for sample, _ in photographs(few))

    def test_every_photograph_by_several(self, few):
        made = remakes(few, replace(TWO, per_photograph=2))
        assert sorted((sample.source, sample.original) for sample in made.samples) == sorted(
            (f"aligned-{name}", sample.path) for name in TWO.names for sample, _ in photographs(few)
        )

    def test_samples(self, few):
        known = {sample.path: (sample, sha256, twin) for sample, sha256, twin in zip(few.samples, few.sha256, few.twins, strict=True)}
        made = remakes(few, TWO)
        for sample, sha256, twin in zip(made.samples, made.sha256, made.twins, strict=True):
            photograph, original_sha256, group = known[sample.original]
            (name,) = TWO.chosen(original_sha256)
            assert sample.fake and sample.generator == sample.source == f"aligned-{name}"
            assert (sample.split, sample.license) == (photograph.split, photograph.license)
            assert twin == group
            picture = open_picture(sample.file)
            assert picture.sha256 == sha256 and picture.format == "PNG"
            assert picture.pixels.shape == open_picture(photograph.file).pixels.shape

    def test_pixels_are_the_autoencoders(self, few):
        made = remakes(few, TWO)
        sample = made.samples[0]
        name = sample.source.removeprefix("aligned-")
        model = remaking.trained(name, folder(few, name), lambda: pytest.fail("trained again"), TWO)
        original = next(photograph for photograph, _ in photographs(few) if photograph.path == sample.original)
        assert np.array_equal(open_picture(sample.file).pixels, model.reconstruct(open_picture(original.file).pixels))

    def test_a_left_out_photograph_leaves_its_remakes_out(self, few):
        whole = with_remakes(few, remakes(few, TWO))
        assert whole.samples[:5] == few.samples and len(whole.samples) == len(whole.sha256) == len(whole.twins) == 8
        first, twin, other = (sample for sample, _ in photographs(few))
        assert first.source != twin.source == other.source
        fold = Fold(fake=(), real=(first.source,))
        kept = whole.keep(left_in(whole.samples, fold, whole.twins))
        assert [sample.original for sample in kept.samples if sample.source.startswith("aligned-")] == [other.path]

    def test_fakes_have_no_part_in_it(self, few, monkeypatch):
        """Without them it is the same autoencoders, from the cache, and the same files."""
        made = remakes(few, TWO)
        forbid_training(monkeypatch)
        again = remakes(few.keep(~few.fake), TWO)
        assert again.sha256 == made.sha256


class TestCache:
    def test_second_run_trains_and_writes_nothing(self, few, monkeypatch):
        made = remakes(few, TWO)
        before = {file: file.stat().st_mtime_ns for file in folder(few, "shuffle-vq").parent.rglob("*") if file.is_file()}
        forbid_training(monkeypatch)
        again = remakes(few, TWO)
        assert (again.samples, again.sha256) == (made.samples, made.sha256)
        assert {file: file.stat().st_mtime_ns for file in before} == before

    def test_settings_and_photographs_make_the_name(self, few):
        sha256 = [sha256 for _, sha256 in photographs(few)]
        found = {
            folder_of(name, of, settings)
            for name in TWO.names
            for of in (sha256, sha256[1:])
            for settings in (TWO, replace(TWO, steps=2), replace(TWO, seed=1), replace(TWO, precision="bf16"))
        }
        assert len(found) == 16
        assert folder_of("shuffle-vq", sha256[::-1], TWO) == folder_of("shuffle-vq", sha256, replace(TWO, names=("shuffle-vq",)))

    def test_interrupted_run_keeps_what_was_finished(self, few, monkeypatch):
        both, fit, calls = replace(TWO, per_photograph=2), autoencoding.fit, []

        def dies(*arguments, **options):
            calls.append(options["about"])
            if len(calls) == 2:
                raise KeyboardInterrupt
            return fit(*arguments, **options)

        monkeypatch.setattr(autoencoding, "fit", dies)
        with pytest.raises(KeyboardInterrupt):
            remakes(few, both)
        assert [path.name for path in folder(few, "shuffle-vq").parent.iterdir()] == [folder(few, "transposed-plain").name]
        remakes(few, both)
        assert calls == ["transposed-plain", "shuffle-vq", "shuffle-vq"]

    @pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "card"])
    def test_damaged_weights_are_refused(self, few, damage):
        remakes(few, replace(TWO, per_photograph=2))
        found = folder(few, "shuffle-vq")
        file = found / (remaking.CARD if damage == "card" else TENSORS)
        data = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(data[: len(data) // 2] if damage != "flipped" else data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(WeightsError, match=f"shuffle-vq: {found} is damaged .*delete it"):
            remakes(few, replace(TWO, per_photograph=2))

    def test_damaged_picture_is_made_again(self, few, monkeypatch, caplog):
        made = remakes(few, TWO)
        whole = made.samples[0].file.read_bytes()
        made.samples[0].file.write_bytes(whole[: len(whole) // 2])
        forbid_training(monkeypatch)
        assert remakes(few, TWO).sha256 == made.sha256
        assert made.samples[0].file.read_bytes() == whole and "made again" in caplog.text

    def test_picture_is_whole_or_absent(self, few, monkeypatch):
        def fails(*arguments, **options):
            raise OSError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "save", fails)
            with pytest.raises(OSError, match="no space left"):
                remakes(few, TWO)
        assert not list(folder(few, "shuffle-vq").parent.rglob("*.png"))
        assert len(remakes(few, TWO).samples) == 3

    def test_card_tells_how_training_went(self, few):
        remakes(few, replace(TWO, names=("transposed-plain",), steps=4))
        card = json.loads((folder(few, "transposed-plain", replace(TWO, steps=4)) / remaking.CARD).read_text())
        assert card["name"] == "transposed-plain" and len(card["losses"]) == 4 and all(value > 0 for value in card["losses"])
