import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import toy
from PIL import Image
from sklearn.metrics import roc_auc_score

from realgrain.detector.bundle import CARD, HEAD, INT8, STATISTICS, Eight, read_bundle, statistics_sha256, write_bundle
from realgrain.detector.decision import Policy, decision_of
from realgrain.detector.detect import load
from realgrain.detector.rounding import Rounding, as_arrays
from realgrain.detector.runtime import RUNTIMES
from realgrain.faces.cli import main
from realgrain.learning import adapt as adapting
from realgrain.learning import backbone, replay
from realgrain.learning.data import ManifestError, Sample
from realgrain.learning.learned import LEARNED, among
from realgrain.learning.methods import probe
from realgrain.learning.pool import Pool
from realgrain.learning.problem import Problem
from realgrain.learning.train import train
from realgrain.measuring.gate import judge

FILES = (CARD, HEAD, STATISTICS)


def striped(seed):
    """By a generator that the toy detectors know little of."""
    pixels = photograph(seed).astype(float)
    return np.clip(pixels + 30 * np.sign(np.sin(np.arange(pixels.shape[1]) * 2 * np.pi / 32))[:, None], 0, 255).astype(np.uint8)


def blue(seed):
    """What a tiny tower can only learn at the cost of all else: a tint that lies opposite to what it tells the others by."""
    return np.clip(photograph(seed) + np.array([-40.0, -10, 60]), 0, 255).astype(np.uint8)


def photograph(seed):
    return toy.picture(seed, fake=False)


@pytest.fixture
def folder(tmp_path):
    """``folder(name, make, count)`` writes pictures ``make(seed)``."""

    def write(name, make, count, first=5000):
        (tmp_path / name).mkdir()
        for index in range(count):
            (tmp_path / name / f"{index:02}.png").write_bytes(toy.saved(make(first + index)))
        return tmp_path / name

    return write


@pytest.fixture
def sides(folder):
    return folder("striped", striped, 24), folder("mine", photograph, 24, 6000)


def adapt(bundle, sides, output, *options):
    fake, real = sides
    return main(["adapt", "--bundle", str(bundle.folder), "--fake", str(fake), "--real", str(real), "-o", str(output), *map(str, options)])


def new_row(shown):
    return next(row for row in json.loads(shown)["rows"] if row["group"] == "new")


class TestLearns:
    @pytest.mark.parametrize("with_manifest", [False, True], ids=["replay of the bundle", "replay of a manifest"])
    def test_a_new_generator(self, tiny_bundle, sides, tmp_path, capsys, toy_manifest, with_manifest):
        options = ("--replay", toy_manifest) if with_manifest else ()
        before = [(tiny_bundle.folder / name).read_bytes() for name in FILES]
        assert adapt(tiny_bundle, sides, tmp_path / "out", "--json", *options) == 0
        assert [(tiny_bundle.folder / name).read_bytes() for name in FILES] == before
        row = new_row(capsys.readouterr().out)
        assert row["auc_after"] > row["auc_before"]
        assert (row["n_fake"], row["n_real"]) == (24, 24 + sum(toy.REAL.values()))
        found = decision_of(read_bundle(tmp_path / "out"), Policy(max_fpr=0.1))
        assert found.false_positive.n == 24 + sum(toy.REAL.values())

    def test_the_card_says_what_was_done(self, tiny_bundle, sides, tmp_path):
        assert adapt(tiny_bundle, sides, tmp_path / "out", "--licence", "CC-BY-4.0", "--generator", "washer") == 0
        card, old = read_bundle(tmp_path / "out").card, tiny_bundle.card
        (parent,) = card.parents
        assert parent.bundle == tiny_bundle.hash
        assert all(text in parent.change for text in ("24 fake pictures of washer", "24 real pictures of mine", "what the bundle keeps"))
        assert card.training.counts == {"real": {**toy.REAL, "mine": 24}, "fake": {**toy.FAKE, "washer": 24}}
        assert card.training.licences == {**old.training.licences, "CC-BY-4.0": 48}
        assert (card.recipe, card.base, card.views, card.block) == (old.recipe, old.base, old.views, old.block)
        assert card.profiles.keys() == old.profiles.keys()
        assert card.profiles["photo"].counts["fake"]["washer"] == 24
        assert card.domain.false_alarm_per_source.keys() == {*toy.REAL, "mine"}
        assert card.head_sha256 != old.head_sha256

    def test_a_bundle_that_was_prepared_for_eight_bits(self, tiny_bundle, sides, tmp_path):
        """As the one that is shipped: how to round was measured for the old head, and is dropped."""
        rounding = as_arrays(Rounding({"0.fc1": (-1.0, 2.0)}, {}), 3)
        card = tiny_bundle.card.model_copy(update={"int8": Eight(sha256=statistics_sha256(rounding), pictures=1)})
        rounded = write_bundle(tmp_path / "rounded", card, tiny_bundle.head, tiny_bundle.adapter, tiny_bundle.statistics, rounding)
        assert adapt(rounded, sides, tmp_path / "out") == 0
        assert read_bundle(tmp_path / "out").card.int8 is None
        assert not (tmp_path / "out" / INT8).exists()

    def test_same_twice(self, tiny_bundle, sides, tmp_path):
        for name in ("one", "two"):
            assert adapt(tiny_bundle, sides, tmp_path / name) == 0
        assert [(tmp_path / "one" / name).read_bytes() for name in FILES] == [(tmp_path / "two" / name).read_bytes() for name in FILES]

    def test_the_same_wherever_the_pictures_lie(self, tiny_bundle, sides, tmp_path):
        assert adapt(tiny_bundle, sides, tmp_path / "one") == 0
        moved = [shutil.copytree(side, tmp_path / "elsewhere" / side.name) for side in sides]
        assert adapt(tiny_bundle, moved, tmp_path / "two") == 0
        assert read_bundle(tmp_path / "one").hash == read_bundle(tmp_path / "two").hash

    def test_runs_in_every_runtime_that_needs_no_graph_of_its_own(self, tiny_bundle, sides, tmp_path):
        assert adapt(tiny_bundle, sides, tmp_path / "out") == 0
        pixels = striped(1)
        logits = [load(tmp_path / "out", runtime=name, threads=1).view_logits(pixels) for name in RUNTIMES if "int8" not in name]
        assert len(logits) == 3
        for other in logits[1:]:
            np.testing.assert_allclose(other, logits[0], atol=1e-3)

    @pytest.mark.parametrize("has", [False, True], ids=["without bfloat16", "with it"])
    def test_computes_in_the_recipes_precision_where_the_processor_can(self, tiny_bundle, sides, tmp_path, monkeypatch, has):
        monkeypatch.setattr(backbone, "has_bf16", lambda: has)
        card = tiny_bundle.card.model_copy(update={"recipe": {**tiny_bundle.card.recipe, "precision": "bf16"}})
        bundle = write_bundle(tmp_path / "asks", card, tiny_bundle.head, tiny_bundle.adapter, tiny_bundle.statistics)
        assert adapt(tiny_bundle, sides, tmp_path / "f32") == adapt(bundle, sides, tmp_path / "out") == 0
        heads = [read_bundle(tmp_path / name).head["weight"] for name in ("f32", "out")]
        assert np.array_equal(*heads) is not has

    def test_can_be_adapted_again(self, tiny_bundle, sides, tmp_path, folder):
        assert adapt(tiny_bundle, sides, tmp_path / "out") == 0
        first = read_bundle(tmp_path / "out")
        assert ("fake", "striped") in replay.read(first.statistics)["clean"]
        more = folder("coarse", lambda seed: toy.picture(seed, fake=True), 8), folder("more", photograph, 8, 7000)
        given = adapting.gather(first, *more)
        assert set(given.pool.problem.source) == {*toy.REAL, *toy.FAKE, "striped", "mine", "coarse", "more"}

    def test_a_broken_picture_is_listed_and_left_out(self, tiny_bundle, sides, tmp_path, caplog):
        (sides[0] / "00.png").write_bytes(b"no picture")
        assert adapt(tiny_bundle, sides, tmp_path / "out") == 1
        assert "00.png" in caplog.text
        assert read_bundle(tmp_path / "out").card.training.counts["fake"]["striped"] == 23

    def test_says_which_profiles_are_lost(self, tiny_bundle, sides, tmp_path, capsys):
        own = tmp_path / "own"
        shutil.copytree(tiny_bundle.folder, own)
        card = tiny_bundle.card.model_copy(update={"profiles": {**tiny_bundle.card.profiles, "newsroom": tiny_bundle.card.profiles["photo"]}})
        (own / CARD).write_text(card.model_dump_json())
        assert adapt(read_bundle(own), sides, tmp_path / "out") == 0
        assert "newsroom" in capsys.readouterr().err
        assert "newsroom" not in read_bundle(tmp_path / "out").card.profiles


class TestRefusesToForget:
    """Exit code 3, figures on stdout, nothing written."""

    def refused(self, bundle, sides, tmp_path, capsys, *options):
        assert adapt(bundle, sides, tmp_path / "out", "--json", *options) == 3
        assert not (tmp_path / "out").exists()
        found = json.loads(capsys.readouterr().out)
        assert not found["passed"]
        return {(row["group"], row["name"]): row for row in found["rows"]}

    def test_labels_swapped(self, tiny_bundle, folder, tmp_path, capsys, toy_manifest):
        swapped = folder("swapped", photograph, 24), folder("squares", lambda seed: toy.picture(seed, fake=True), 24, 6000)
        rows = self.refused(tiny_bundle, swapped, tmp_path, capsys, "--replay", toy_manifest, "--share", 0.65)
        assert rows["left out", "mean"]["after"] < rows["left out", "mean"]["before"]
        assert rows["left out", "mean"]["refused"]

    def test_known_photographs_saved_again_as_generated(self, tiny_bundle, folder, tmp_path, capsys, toy_manifest, toy_pictures):
        known = [np.asarray(Image.open(path).convert("RGB")) for path in toy_pictures if "real" in path.parts]
        copies = folder("copies", lambda index: known[index][:, ::-1], 24, 0), folder("mine", photograph, 24, 6000)
        rows = self.refused(tiny_bundle, copies, tmp_path, capsys, "--replay", toy_manifest)
        assert rows["new", "copies"]["auc_after"] < 0.6

    def test_a_generator_that_can_only_be_learned_at_the_cost_of_others(self, tiny_bundle, folder, tmp_path, capsys):
        rows = self.refused(tiny_bundle, (folder("blue", blue, 16), folder("mine", photograph, 16, 6000)), tmp_path, capsys)
        assert rows["new", "blue"]["auc_after"] > rows["new", "blue"]["auc_before"]
        assert rows["known", "mean"]["refused"]

    def test_says_so(self, tiny_bundle, folder, tmp_path, capsys):
        swapped = folder("swapped", photograph, 8), folder("squares", lambda seed: toy.picture(seed, fake=True), 8, 6000)
        assert adapt(tiny_bundle, swapped, tmp_path / "out", "--report", tmp_path / "gate.json") == 3
        assert "refused" in capsys.readouterr().out
        assert json.loads((tmp_path / "gate.json").read_text())["result"]["passed"] is False


class TestWrongUsage:
    def says(self, bundle, sides, tmp_path, capsys, *options):
        assert adapt(bundle, sides, tmp_path / "out", *options) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    def test_too_few(self, tiny_bundle, folder, tmp_path, capsys):
        assert "7 different pictures" in self.says(tiny_bundle, (folder("few", striped, 7), folder("mine", photograph, 8)), tmp_path, capsys)

    def test_copies_count_once(self, tiny_bundle, folder, tmp_path, capsys):
        few = folder("few", striped, 7)
        shutil.copyfile(few / "00.png", few / "copy.png")
        assert "7 different pictures" in self.says(tiny_bundle, (few, folder("mine", photograph, 8)), tmp_path, capsys)

    def test_a_picture_in_both_folders(self, tiny_bundle, sides, tmp_path, capsys):
        shutil.copyfile(sides[0] / "03.png", sides[1] / "other.png")
        said = self.says(tiny_bundle, sides, tmp_path, capsys)
        assert all(text in said for text in ("03.png", "other.png", "same bytes with different labels"))

    def test_a_known_photograph_called_generated(self, tiny_bundle, sides, tmp_path, capsys, toy_manifest, toy_pictures):
        shutil.copyfile(toy_pictures[0], sides[0] / "known.png")
        assert "same bytes with different labels" in self.says(tiny_bundle, sides, tmp_path, capsys, "--replay", toy_manifest)

    def test_pictures_that_it_learned_from(self, tiny_bundle, tmp_path, capsys, toy_manifest):
        sides = toy_manifest.parent / "fake" / "gan-a", toy_manifest.parent / "real" / "camera-a"
        assert "learned from 18 of the new pictures" in self.says(tiny_bundle, sides, tmp_path, capsys, "--replay", toy_manifest)

    def test_nothing_to_replay(self, tiny_bundle, sides, tmp_path, capsys):
        assert not replay.read({name: of for name, of in tiny_bundle.statistics.items() if not name.startswith("replay/")})
        bare = replace(tiny_bundle, statistics={})
        with pytest.raises(ManifestError, match="nothing to replay"):
            adapting.gather(bare, *sides)

    def test_no_folder(self, tiny_bundle, sides, tmp_path, capsys):
        assert "not a folder" in self.says(tiny_bundle, (sides[0] / "00.png", sides[1]), tmp_path, capsys)

    def test_a_source_that_is_known(self, tiny_bundle, sides, tmp_path, capsys):
        assert "known already" in self.says(tiny_bundle, sides, tmp_path, capsys, "--generator", "gan-a")

    def test_output_is_there(self, tiny_bundle, sides, tmp_path, capsys):
        assert adapt(tiny_bundle, sides, tmp_path) == 2
        assert "exists already" in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--share", "--margin"])
    def test_numbers_out_of_range(self, tiny_bundle, sides, tmp_path, capsys, option):
        assert option.strip("-") in self.says(tiny_bundle, sides, tmp_path, capsys, option, "1.5")


SIZE, COUNT = 12, 60


def cloud(label, source, mean, count, rng):
    """Pictures whose features lie around a mean, each source a little beside it."""
    centre = np.array(mean, float) + rng.normal(size=SIZE) * 0.2
    samples = [Sample(path=(name := f"{label}/{source}/{index}"), file=name, label=label, source=source) for index in range(count)]
    return samples, centre + rng.normal(size=(count, SIZE))


def planted(bundle, recipe, new_fake, new_real, count):
    """Known generators lie 3 along the first axis from photographs; the new pictures lie where they are told to."""
    rng = np.random.default_rng(0)
    axis = np.eye(SIZE)
    known = [cloud(label, f"{label}{index}", 3 * axis[0] * (label == "fake"), COUNT, rng) for label in ("real", "fake") for index in range(4)]
    parts = [*known, cloud("fake", "novel", new_fake, count, rng), cloud("real", "mine", new_real, count, rng)]
    samples, features = [sample for of, _ in parts for sample in of], np.concatenate([of for _, of in parts]).astype(np.float32)
    rows, whole = np.arange(len(samples)), Problem(samples, [sample.path for sample in samples], np.arange(len(samples)))
    new = rows >= 8 * COUNT
    head = probe.fit(features[~new], whole.fake[~new], np.ones((~new).sum()), penalty=recipe.penalty)
    pool = Pool(whole, features, rows, {"clean": features})
    settings = recipe.model_copy(update={"deliveries": ("clean",)})
    return adapting.Given(replace(bundle, head=head), settings, pool, new, True, "clouds", "0" * 64)


class TestPlanted:
    """Features of which it is known what can be learned."""

    @pytest.mark.parametrize("count", [16, 64])
    def test_what_can_be_learned_is_learned_and_nothing_forgotten(self, tiny_bundle, tiny_recipe, count):
        given = planted(tiny_bundle, tiny_recipe, np.array([1.0, 3.5, *np.zeros(SIZE - 2)]), np.zeros(SIZE), count)
        gate = judge(adapting.adapt(given).held, resamples=200)
        rows = {(row.group, row.name): row for row in gate.rows}
        assert gate.passed
        assert rows["new", "novel"].after > rows["new", "novel"].before + 0.1
        assert rows["left out", "mean"].fall < 0.05

    def test_more_pictures_teach_more(self, tiny_bundle, tiny_recipe):
        fresh = np.random.default_rng(1).normal(size=(400, SIZE)) + 2.5 * np.eye(SIZE)[1] * (np.arange(400) < 200)[:, None]
        found = []
        for count in (8, 128):
            given = planted(tiny_bundle, tiny_recipe, 2.5 * np.eye(SIZE)[1], np.zeros(SIZE), count)
            heads = given.bundle.head, adapting.adapt(given).model.head
            found.append([roc_auc_score(np.arange(400) < 200, fresh @ head["weight"]) for head in heads])
        assert found[0][0] == found[1][0] < found[0][1] < found[1][1]

    def test_swapped_labels_are_refused(self, tiny_bundle, tiny_recipe):
        given = planted(tiny_bundle, tiny_recipe, np.zeros(SIZE), 3 * np.eye(SIZE)[0], 128)
        rows = {(row.group, row.name): row for row in judge(adapting.adapt(given).held, resamples=200).rows}
        assert "chance" in rows["new", "novel"].refused or "nothing" in rows["new", "novel"].refused

    def test_more_share_learns_more_and_forgets_more(self, tiny_bundle, tiny_recipe):
        given = planted(tiny_bundle, tiny_recipe, np.array([-2.0, 2.5, *np.zeros(SIZE - 2)]), np.zeros(SIZE), 64)
        little, much = (judge(adapting.adapt(given, share).held, resamples=10).rows for share in (0.1, 0.9))
        assert {row.group: row.auc_after for row in much}["new"] > {row.group: row.auc_after for row in little}["new"]
        assert {row.group: row.after for row in much}["known"] < {row.group: row.after for row in little}["known"]


class TestHeldOut:
    def test_no_head_saw_what_it_is_asked_about(self, tiny_bundle, sides, toy_manifest, monkeypatch):
        """Neither the new head nor the old one, which is fitted again; nor a near-duplicate."""
        given = adapting.gather(tiny_bundle, *sides, replayed=toy_manifest)
        asked: list[tuple[set[str], set[str]]] = []
        fit = adapting.AdaptingFitter.fit

        def watched(self, problem):
            model = fit(self, problem)
            asked.append((set(problem.sha256), set()))
            return model

        monkeypatch.setattr(adapting.AdaptingFitter, "fit", watched)
        logits = adapting.AdaptedModel.logits
        monkeypatch.setattr(
            adapting.AdaptedModel, "logits", lambda self, problem, *rest: asked[-1][1].update(problem.sha256) or logits(self, problem, *rest)
        )
        found = adapting.adapt(given)
        assert sum(bool(told) for _, told in asked) == 9
        assert all(not learned & told for learned, told in asked)
        left_out, known = found.held
        assert len(left_out.fake) == len(given.new)
        assert len(known.fake) == (~given.new).sum()

    def test_the_old_head_is_fitted_again_without_them(self, tiny_bundle, sides, toy_manifest):
        fitter = adapting.AdaptingFitter(adapting.gather(tiny_bundle, *sides, replayed=toy_manifest), 0.5)
        problem, new = fitter.given.pool.problem, fitter.given.new
        assert fitter.parent(np.ones(len(new), bool)) is tiny_bundle.head
        without = fitter.parent(problem.source != "gan-a")
        assert not np.array_equal(without["weight"], tiny_bundle.head["weight"])

    @pytest.fixture
    def others(self, tmp_path):
        """Manifest of pictures that no bundle has learned from, of two sources of each label."""
        rows = []
        for number, (label, source) in enumerate((label, f"{label}-{letter}") for label in ("real", "fake") for letter in "ab"):
            (tmp_path / "others" / source).mkdir(parents=True)
            for index in range(9):
                path = tmp_path / "others" / source / f"{index}.png"
                path.write_bytes(toy.saved(toy.picture(7000 + 10 * number + index, fake=label == "fake")))
                rows.append({"path": f"{source}/{index}.png", "label": label, "generator": "", "source": source, "split": "train"})
        return toy.write_manifest(tmp_path / "others" / "manifest.csv", rows)

    def test_a_manifest_it_was_not_trained_on_leaves_the_old_head(self, tiny_bundle, sides, others):
        given = adapting.gather(tiny_bundle, *sides, replayed=others)
        assert not given.refits
        fitter = adapting.AdaptingFitter(given, 0.5)
        assert fitter.parent(given.pool.problem.source != "fake-a") is tiny_bundle.head

    def test_pictures_that_it_was_trained_on_in_another_manifest(self, tiny_bundle, sides, toy_manifest, tmp_path):
        shutil.copytree(toy_manifest.parent, tmp_path / "toy")
        with (tmp_path / "toy" / "manifest.csv").open("a") as file:
            file.write("\n")
        assert adapting.gather(tiny_bundle, *sides, replayed=tmp_path / "toy" / "manifest.csv").refits
        sides = tmp_path / "toy" / "fake" / "gan-a", tmp_path / "toy" / "real" / "camera-a"
        with pytest.raises(ManifestError, match="learned from 18 of the new pictures"):
            adapting.gather(tiny_bundle, *sides)

    def test_an_adapted_bundle_says_what_it_learned_from(self, tiny_bundle, sides, others, tmp_path):
        given = adapting.gather(tiny_bundle, *sides, replayed=others)
        adaptation = adapting.adapt(given)
        found = adapting.write(adaptation, adapting.calibrate(adaptation), tmp_path / "out")
        assert among([*given.pool.problem.sha256], found.statistics).all()
        assert np.isin(tiny_bundle.statistics[LEARNED], found.statistics[LEARNED]).all()

    def test_new_pictures_that_the_manifest_lists_are_new(self, tiny_bundle, others):
        sides = others.parent / "fake-a", others.parent / "real-a"
        given = adapting.gather(tiny_bundle, *sides, replayed=others)
        assert given.counts == {"fake": {"fake-a": 9}, "real": {"real-a": 9}}
        assert len(set(given.pool.problem.sha256)) == len(given.pool.problem.sha256) == 36

    def test_the_test_split_is_never_used(self, tiny_bundle, sides, toy_manifest, tmp_path):
        shutil.copytree(toy_manifest.parent, tmp_path / "toy")
        path = tmp_path / "toy" / "manifest.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line.replace(",train,", ",test,") if "/gan-b/" in line or "/camera-b/" in line else line for line in lines) + "\n")
        given = adapting.gather(tiny_bundle, *sides, replayed=path)
        assert not {"gan-b", "camera-b"} & set(given.pool.problem.source)


@pytest.mark.slow
def test_a_tuned_tower_keeps_its_adapter(recipe_of, toy_manifest, sides, tmp_path):
    bundle = train(recipe_of("lora"), toy_manifest, tmp_path / "tuned")
    given = adapting.gather(bundle, *sides, replayed=toy_manifest)
    assert not given.refits
    assert given.spoiled
    adaptation = adapting.adapt(given)
    found = adapting.write(adaptation, adapting.calibrate(adaptation), tmp_path / "out")
    assert found.card.adapter_sha256 == bundle.card.adapter_sha256
    assert found.card.head_sha256 != bundle.card.head_sha256
    assert (found.card.profiles, decision_of(found, Policy()).held_fpr) == ({}, None)  # the tower learned from all that it was measured on
    with pytest.raises(ManifestError, match="nothing to replay"):
        adapting.gather(bundle, *sides)
