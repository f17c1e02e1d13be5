import json
import re
import shutil
import sys
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image

from realgrain.detector.bundle import BundleError, array_sha256, read_bundle, write_bundle
from realgrain.faces import inspect_page
from realgrain.faces.cli import main
from realgrain.learning.data import Fold, ManifestError, Sample, automatic_folds, read_manifest
from realgrain.learning.problem import Problem, first_of_each
from realgrain.measuring import inspect as measuring
from realgrain.measuring import inspect_towers
from realgrain.measuring.inspect import look
from realgrain.measuring.inspect_plots import colours, draw, legend_groups, project
from realgrain.measuring.inspect_results import Inspection
from realgrain.measuring.inspect_words import NEAR, conclusion, findings

HEADS = {"plain": {"penalty": 1.0, "content_directions": 0}}
SIZE, EACH = 16, 20  # dimensions of the clouds, pictures of a source
REAL, FAKE = ("camera-a", "camera-b", "camera-c", "camera-d"), ("gan-a", "gan-b", "gan-c", "gan-d")


def problem_of(real=REAL, fake=FAKE, each=EACH, generator=lambda source: source.upper()) -> Problem:
    samples = [
        Sample(path=f"{source}/{n}", file=Path(f"{source}/{n}"), label=label, source=source, generator=generator(source) if label == "fake" else "")
        for label, sources in (("real", real), ("fake", fake))
        for source in sources
        for n in range(each)
    ]
    return Problem(samples, [f"{row:064x}" for row in range(len(samples))], np.arange(len(samples)))


def cloud(problem, *, label=0.0, source=0.0, seed=0) -> np.ndarray:
    """Unit noise; generated pictures stand ``label`` off along half of the axes, and each source ``source`` off along one of the others."""
    points = np.random.default_rng(seed).normal(size=(len(problem.samples), SIZE))
    points[:, : SIZE // 2] += label * problem.fake[:, None]
    names = sorted(set(problem.source))
    return points + source * np.eye(SIZE)[[SIZE // 2 + names.index(name) for name in problem.source]]


def seen(problem, **offsets):
    return look(cloud(problem, **offsets), problem, automatic_folds(problem.samples), HEADS)


@pytest.fixture(scope="module")
def made():
    return problem_of()


@pytest.fixture(scope="module")
def apart(made):
    """The label, and nothing else, has a place."""
    return seen(made, label=30.0)


@pytest.fixture(scope="module")
def alike(made):
    """Nothing has a place."""
    return seen(made)


@pytest.fixture(scope="module")
def by_source(made):
    """Each source has a place, and the label none."""
    return seen(made, source=12.0)


class TestSilhouette:
    def test_separated_labels(self, apart, alike):
        assert apart.by_label.cosine > 0.5
        assert apart.by_label.cosine > apart.by_source.cosine + 0.3
        assert abs(alike.by_label.cosine) < 0.02
        assert abs(alike.by_label.euclidean) < 0.02

    def test_planted_sources(self, by_source):
        assert by_source.by_source.cosine > 0.4
        assert by_source.by_source.euclidean > 0.2
        assert by_source.by_source.cosine > by_source.by_label.cosine + 0.3

    def test_of_two_points_by_hand(self):
        points = np.array([[0.0], [1.0], [10.0], [11.0]])
        found = measuring.silhouette(points, np.array([0, 0, 1, 1])).euclidean
        assert found == pytest.approx(np.mean([1 - 1 / 10.5, 1 - 1 / 9.5, 1 - 1 / 9.5, 1 - 1 / 10.5]))

    @pytest.mark.parametrize("group", [[0, 0, 0], [0, 1, 2]])
    def test_undefined(self, group):
        assert measuring.silhouette(np.eye(3), np.array(group)).cosine is None

    def test_scale_of_a_dimension_tells_nothing(self, made):
        points = cloud(made, label=3.0)
        folds = automatic_folds(made.samples)
        plain, scaled = (look(of, made, folds, {}) for of in (points, points * np.geomspace(1e-3, 1e3, SIZE) + 5))
        assert plain.by_label.cosine == pytest.approx(scaled.by_label.cosine)
        assert plain.generators["GAN-A"].ratio == pytest.approx(scaled.generators["GAN-A"].ratio)

    def test_a_constant_dimension_is_no_error(self, made):
        assert (measuring.standardise(np.ones((5, 2))) == 0).all()


class TestDivisions:
    def test_the_label_stands_out(self, apart):
        assert apart.divisions_as_good == 0

    def test_the_label_is_one_of_many(self, by_source):
        assert 0.05 < by_source.divisions_as_good < 0.95

    @pytest.mark.parametrize(("real", "fake"), [(("a",), ("b", "c")), (("a", "b"), ("a", "b"))])
    def test_undefined(self, real, fake):
        problem = problem_of(real, fake, 6)
        assert seen(problem).divisions_as_good is None if len(real) > 1 else look(cloud(problem), problem, [], {}).divisions_as_good is None

    def test_own_silhouette_is_scikit_learns(self, made):
        apart = measuring.cosine_distances(measuring.standardise(cloud(made, label=2.0, source=1.0)))
        names, of = np.unique(made.source, return_inverse=True)
        side = np.arange(len(names)) % 3 == 0
        own = measuring._side_silhouette(apart @ np.eye(len(names))[of], np.bincount(of), of, side)
        from sklearn.metrics import silhouette_score

        assert own == pytest.approx(silhouette_score(apart, side[of], metric="precomputed"))


class TestPurity:
    def test_by_hand(self):
        apart = np.abs(np.subtract.outer(places := np.array([0.0, 1.0, 2.0, 50.0, 51.0, 52.0]), places))
        group = np.array([0, 0, 0, 1, 1, 1])
        found = measuring.purity(apart, group)  # five neighbours are all the others
        assert found.value == pytest.approx(found.chance) == pytest.approx(2 / 5)

    def test_separated_labels(self, apart):
        assert apart.label_purity.value == 1
        assert apart.label_purity_elsewhere.value == 1
        assert apart.label_purity.chance == pytest.approx((4 * EACH - 1) / (8 * EACH - 1))

    def test_alike(self, alike):
        assert alike.label_purity.value == pytest.approx(alike.label_purity.chance, abs=0.06)

    def test_planted_sources(self, by_source):
        assert by_source.source_purity.value > 0.95
        assert by_source.source_purity.chance < 0.15
        assert by_source.label_purity.value > 0.95  # the source gives the label away
        assert by_source.label_purity_elsewhere.value == pytest.approx(by_source.label_purity_elsewhere.chance, abs=0.06)  # and nothing else does

    def test_undefined_where_a_label_has_one_source(self):
        problem = problem_of(("a", "b"), ("c",))
        assert look(cloud(problem), problem, [], {}).label_purity_elsewhere is None


class TestDistances:
    def test_alike(self, alike):
        assert set(alike.generators) == {name.upper() for name in FAKE}
        assert set(alike.real_sources) == set(REAL)
        assert all(found.n == EACH for found in [*alike.generators.values(), *alike.real_sources.values()])
        assert all(0.85 < found.ratio < 1.15 for found in [*alike.generators.values(), *alike.real_sources.values()])

    def test_far(self, apart):
        assert all(found.ratio > 3 for found in apart.generators.values())
        assert np.median([found.ratio for found in apart.real_sources.values()]) == pytest.approx(1)

    def test_as_far_as_another_camera(self, by_source):
        """Generators that stand where real sources would: each in a direction of its own."""
        assert all(0.8 < found.ratio < 1.25 for found in by_source.generators.values())

    def test_of_one_generator_from_several_sources(self):
        problem = problem_of(generator=lambda source: "gan")
        assert look(cloud(problem), problem, [], {}).generators["gan"].n == 4 * EACH

    def test_undefined_with_one_real_source(self):
        problem = problem_of(("a",), ("b", "c"))
        found = look(cloud(problem), problem, [], {})
        assert (found.generators, found.real_sources) == ({}, {})


class TestHeads:
    def test_alike(self, alike):
        head = alike.heads["plain"]
        assert head.random == pytest.approx(0.5, abs=0.12)
        assert head.left_out == pytest.approx(0.5, abs=0.12)

    def test_separated_labels_carry_over(self, apart):
        head = apart.heads["plain"]
        assert head.random > 0.99
        assert head.left_out > 0.99

    def test_planted_sources_do_not(self, by_source):
        head = by_source.heads["plain"]
        assert head.random > 0.99
        assert head.left_out < 0.6
        assert head.gap == pytest.approx(head.random - head.left_out)
        assert head.left_out == pytest.approx(np.mean([pair.left_out for pair in head.pairs.values()]))

    def test_on_the_folds_that_are_given(self, made):
        folds = [Fold(fake=("gan-a",), real=("camera-b",)), Fold(fake=("gan-c", "gan-d"), real=("camera-a",))]
        assert list(look(cloud(made), made, folds, HEADS).heads["plain"].pairs) == ["gan-a|camera-b", "gan-c+gan-d|camera-a"]

    def test_without_folds(self, made):
        head = look(cloud(made, source=12.0), made, [], HEADS).heads["plain"]
        assert head.random > 0.99
        assert (head.left_out, head.gap, head.pairs) == (None, None, {})

    def test_near_duplicates_do_not_help(self, made):
        """Pairs of identical points with labels that nothing else tells: a head that has seen one of a pair knows the other."""
        rng = np.random.default_rng(0)
        points = rng.normal(size=(len(made.samples) // 2, 400)).repeat(2, axis=0)
        twins = np.arange(len(made.samples)) // 2
        leak, none = (
            measuring.separability(points, Problem(made.samples, made.sha256, of), [], HEADS["plain"]).random
            for of in (np.arange(len(made.samples)), twins)
        )
        assert leak > 0.8
        assert none == pytest.approx(0.5, abs=0.12)

    def test_too_few(self):
        problem = problem_of(("a", "b"), ("c",), 1)
        with pytest.raises(ManifestError, match="at least two pictures"):
            look(cloud(problem), problem, [], HEADS)

    def test_the_same_again(self, made, by_source):
        assert seen(made, source=12.0) == by_source


class TestWords:
    def test_every_figure_has_a_sentence(self, by_source):
        found = findings(by_source)
        assert len({of.name for of in found}) == len(found) == 4 + 1 + 3 + len(FAKE) + 3
        assert all(of.value and of.says.endswith(".") for of in found)

    def test_turn_with_the_figures(self, apart, alike, by_source):
        assert "by where they come from" in conclusion(by_source).split("rather")[0]
        assert "at least as much" in conclusion(apart)

        def says(found, name):
            return next(of.says for of in findings(found) if of.name.startswith(name))

        assert "farther than" in says(apart, "Distance of GAN-A")
        assert "as far as" in says(alike, "Distance of GAN-A")
        assert "nothing special" in says(by_source, "Arbitrary")
        assert "more to this tower" in says(apart, "Arbitrary")
        assert "not of generation" in says(by_source, "Linear head, plain: shortcut")
        assert abs(apart.heads["plain"].gap) < NEAR
        assert "carries over" in says(apart, "Linear head, plain: shortcut")
        assert "more than by chance" in says(by_source, "Nearest neighbours of its source")

    def test_nothing_to_say_of_what_could_not_be_measured(self):
        problem = problem_of(("a",), ("b",))
        found = look(cloud(problem), problem, [], HEADS)
        assert [of.name for of in findings(found) if "None" in of.value + of.says] == []
        problem = problem_of(("a",), ("a",))
        assert "cannot be told" in conclusion(look(cloud(problem), problem, [], HEADS))


class TestPlots:
    def test_planes(self, made):
        points = cloud(made, label=30.0)
        planes = project(points)
        assert [of.shape for of in planes.values()] == [(len(points), 2)] * 2
        for plane in planes.values():
            gap = np.linalg.norm(plane[made.fake].mean(axis=0) - plane[~made.fake].mean(axis=0))
            assert gap > plane[made.fake].std(axis=0).max()
        again = project(points)
        assert all((again[name] == plane).all() for name, plane in planes.items())

    def test_real_is_cold_and_generated_warm(self, made):
        groups = legend_groups(made)
        assert list(groups) == [(False, name) for name in REAL] + [(True, name.upper()) for name in FAKE]
        for dark in (False, True):
            for (fake, _), (red, _green, blue) in colours(groups, dark=dark).items():
                assert (red > blue) == fake

    def test_many_groups_share(self):
        problem = problem_of(tuple(f"camera-{n}" for n in range(12)), ("gan",), 3)
        groups = legend_groups(problem)
        assert len(groups) == 8 + 1
        assert groups[False, "others"].sum() == 3 * (12 - 7)
        assert (sum(groups.values()) == 1).all()

    @pytest.mark.parametrize("tall", [False, True])
    def test_names_are_no_formulas(self, tall):
        problem = problem_of(("$\\frac$", "写真 \x07"), ("<b>$_x$", "x" * 80), 4)
        planes = {"$a$": np.zeros((16, 2)), "b": np.zeros((16, 2))}
        drawn = {dark: Image.open(BytesIO(draw(planes, problem, title="$x", dark=dark, tall=tall))).convert("L") for dark in (False, True)}
        assert (drawn[False].height > drawn[False].width) == tall
        assert np.asarray(drawn[False])[0, 0] > 200 > 60 > np.asarray(drawn[True])[0, 0]


class Page(HTMLParser):
    """What a browser would load, show in the place of pictures, and nest."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.alts, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.loads += [attrs[name] for name in ("src", "srcset", "href", "data", "poster", "action") if name in attrs]
        if tag == "img":
            self.alts.append(attrs.get("alt"))
        if tag not in {"meta", "img", "source", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def inspected(tiny_bundle, toy_manifest):
    return inspect_towers.inspect(toy_manifest, tiny_bundle)


@pytest.fixture(scope="module")
def tuned(tiny_bundle, tmp_path_factory):
    """The tiny bundle with a change of its tower."""
    rng = np.random.default_rng(0)
    adapter = {"vision_model.encoder.layers.0.mlp.fc1.weight.delta": rng.normal(0, 0.3, (64, 32)).astype(np.float32)}
    card = tiny_bundle.card.model_copy(update={"adapter_sha256": array_sha256(adapter)})
    return write_bundle(tmp_path_factory.mktemp("tuned") / "bundle", card, tiny_bundle.head, adapter, tiny_bundle.statistics)


class TestTowers:
    def test_what_was_looked_at(self, inspected, tiny_bundle, toy_manifest):
        found = inspected.result
        assert (found.manifest, found.split, found.condition, found.block) == (toy_manifest.name, "train", "clean", tiny_bundle.card.block)
        assert (found.real, sum(found.fake.values()), found.failed) == (toy.REAL, sum(toy.FAKE.values()), 0)
        assert (found.base, found.base_sha256) == (tiny_bundle.card.base.id, tiny_bundle.card.base.sha256)
        assert list(found.towers) == ["frozen"]

    def test_features_are_those_of_the_detector(self, inspected, tiny_detector, tiny_bundle):
        """Their mean over views, through the bundle's head, is the detector's logit."""
        for row in range(0, len(inspected.problem.samples), 13):
            logit = inspected.features["frozen"][row] @ tiny_bundle.head["weight"] + tiny_bundle.head["bias"][0]
            assert logit == pytest.approx(tiny_detector.detect(inspected.problem.samples[row].file).logit, abs=0.02)

    def test_tuned_beside_frozen(self, tuned, toy_manifest, inspected):
        from realgrain.detector.detect import load

        found = inspect_towers.inspect(toy_manifest, tuned)
        assert list(found.result.towers) == ["frozen", "tuned"]
        assert "these very pictures" in found.result.towers["tuned"].note
        np.testing.assert_array_equal(found.features["frozen"], inspected.features["frozen"])
        detector = load(tuned, threads=1)
        for row in range(0, len(found.problem.samples), 13):
            logit = found.features["tuned"][row] @ tuned.head["weight"] + tuned.head["bias"][0]
            assert logit == pytest.approx(detector.detect(found.problem.samples[row].file).logit, abs=0.02)
        assert np.abs(found.features["tuned"] - found.features["frozen"]).max() > 0.1

    def test_limit(self, tiny_bundle, toy_manifest, tmp_path):
        found = inspect_towers.inspect(toy_manifest, tiny_bundle, limit=3)
        assert found.result.real == dict.fromkeys(toy.REAL, 3)
        everything = inspect_towers.inspect(toy_manifest, tiny_bundle).problem
        for source in toy.REAL:
            ranked = sorted(sha256 for sha256, of in zip(everything.sha256, everything.source, strict=True) if of == source)
            assert sorted(s for s, of in zip(found.problem.sha256, found.problem.source, strict=True) if of == source) == ranked[:3]

    def test_limit_does_not_depend_on_the_order_of_rows(self, toy_manifest):
        samples = read_manifest(toy_manifest)
        assert {s.path for s in first_of_each(samples[::-1], 3)} == {s.path for s in first_of_each(samples, 3)}

    def test_limit_takes_missing_files_last(self, toy_manifest):
        samples = read_manifest(toy_manifest)
        gone = [s.model_copy(update={"path": f"gone/{s.path}", "file": s.file.with_name("gone")}) for s in samples]
        assert first_of_each([*gone, *samples], 5) == first_of_each(samples, 5)

    def test_delivery_counts(self, inspected, tiny_bundle, toy_manifest):
        hard = inspect_towers.inspect(toy_manifest, tiny_bundle, condition="hard")
        assert np.abs(hard.features["frozen"] - inspected.features["frozen"]).max() > 0.01

    def test_other_tap(self, tiny_bundle, toy_manifest):
        found = inspect_towers.inspect(toy_manifest, tiny_bundle, block=0, views=("resize",))
        assert found.result.block is None
        assert found.features["frozen"].shape[1] == 24

    @pytest.mark.parametrize(
        ("settings", "words"),
        [({"condition": "fax"}, "fax"), ({"limit": 1}, "at least 2"), ({"block": 4}, "3 blocks"), ({"split": "none"}, "both labels")],
    )
    def test_refused(self, tiny_bundle, toy_manifest, settings, words):
        with pytest.raises(ValueError, match=words):
            inspect_towers.inspect(toy_manifest, tiny_bundle, **settings)

    def test_a_tuned_tower_fits_no_other_base(self, tuned, toy_manifest, tiny_tower):
        with pytest.raises(ValueError, match="fits no other"):
            inspect_towers.inspect(toy_manifest, tuned, base=str(tiny_tower.folder))

    def test_a_change_that_does_not_fit(self, tiny_bundle, toy_manifest, tmp_path):
        adapter = {"vision_model.nothing.delta": np.zeros(3, np.float32)}
        card = tiny_bundle.card.model_copy(update={"adapter_sha256": array_sha256(adapter)})
        bundle = write_bundle(tmp_path / "bundle", card, tiny_bundle.head, adapter, tiny_bundle.statistics)
        with pytest.raises(BundleError, match="does not fit"):
            inspect_towers.inspect(toy_manifest, bundle)


@pytest.fixture(scope="module")
def page(inspected):
    return inspect_page.render(
        inspected, {"command": "realgrain inspect <x>", "day": "", "processor": "", "versions": {"a": "1"}, "inputs": {"m": "0"}}
    )


class TestPage:
    def test_loads_nothing(self, page):
        assert all(of.startswith("data:image/") for of in Page(page).loads)
        assert "http:" not in page and "https:" not in page and "url(" not in page and "@import" not in page and "<script" not in page

    def test_is_whole(self, page):
        assert Page(page).open == []

    def test_pictures_open_and_say_what_they_are(self, page):
        found = Page(page)
        assert len(found.alts) == 1 + 6 * inspect_page.SHOWN
        assert all(found.alts)
        assert "Photograph from camera-" in " ".join(found.alts)
        import base64

        for uri in found.loads:
            Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))).load()

    def test_says_every_finding(self, page, inspected):
        for finding in inspected.result.towers["frozen"].findings:
            assert finding.says in unescape(page)

    def test_names_are_escaped(self, tiny_bundle, toy_manifest, tmp_path):
        shutil.copytree(toy_manifest.parent, tmp_path / "toy")
        file = tmp_path / "toy" / toy_manifest.name
        file.write_text(file.read_text().replace(",gan,", ",<script>alert(1)</script>,").replace(",camera-a,", ',"""><img src=x>",'))
        found = inspect_towers.inspect(file, tiny_bundle)
        assert "<script>alert(1)</script>" in found.result.fake
        text = inspect_page.render(found, {"command": "", "day": "", "processor": "", "versions": {}, "inputs": {}})
        assert "<script" not in text and "<img src=x" not in text
        assert "&lt;script&gt;" in text
        assert all(of.startswith("data:image/") for of in Page(text).loads)

    def test_two_towers(self, tuned, toy_manifest):
        found = inspect_towers.inspect(toy_manifest, tuned)
        text = inspect_page.render(found, {"command": "", "day": "", "processor": "", "versions": {}, "inputs": {}})
        assert text.count("<article>") == 2
        assert len(Page(text).alts) == 2 * (1 + 6 * inspect_page.SHOWN)

    def test_thumbnails_are_in_order(self, inspected):
        rows = inspect_page.thumbnails(inspected, "frozen")
        for label in ("Real", "Generated"):
            low, high = ([picture.logit for picture in rows[f"{label}, most like {what}"]] for what in ("a photograph", "a generated picture"))
            typical = [picture.logit for picture in rows[f"{label}, typical"]]
            assert low == sorted(low) and high == sorted(high, reverse=True)
            assert low[0] <= min(typical) <= max(typical) <= high[0]


class TestCommand:
    @pytest.fixture
    def call(self, tiny_bundle, toy_manifest, capsys):
        def run(*arguments, manifest=toy_manifest, bundle=tiny_bundle):
            code = main(["inspect", str(manifest), "--bundle", str(bundle.folder), *map(str, arguments)])
            return code, *capsys.readouterr()

        return run

    def test_writes_what_is_asked_for(self, call, tmp_path, inspected, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["realgrain", "inspect", "m.csv"])
        code, out, _ = call("-o", tmp_path / "new" / "r.html", "-o", tmp_path / "r.json", "-o", tmp_path / "r.png")
        assert code == 0
        assert "Silhouette of real against fake" in out
        assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["r.html", "r.json", "r.png"]
        written = json.loads((tmp_path / "r.json").read_text())
        assert written["run"]["command"] == "realgrain inspect m.csv"
        assert Inspection.model_validate(written["result"]) == inspected.result
        assert re.search("<title>What .* sees", (tmp_path / "new" / "r.html").read_text())
        assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")

    def test_json(self, call, inspected):
        code, out, _ = call("--json")
        assert (code, Inspection.model_validate_json(out)) == (0, inspected.result)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["-o", "report.pdf"], "report.pdf"),
            (["--condition", "fax"], "fax"),
            (["--split", "gone"], "both labels"),
            (["--block", "99"], "99"),
            (["--views", "sideways"], "sideways"),
            (["--base", "no-such-base", "--offline"], "no-such-base"),
        ],
    )
    def test_wrong_input(self, call, arguments, words):
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert words in err

    def test_no_manifest(self, call, tmp_path):
        assert call(manifest=tmp_path / "gone.csv")[0] == 2

    def test_no_bundle(self, tmp_path, toy_manifest, capsys):
        assert main(["inspect", str(toy_manifest), "--bundle", str(tmp_path)]) == 2
        assert "not a bundle" in capsys.readouterr().err

    def test_some_file_failed(self, call, toy_manifest, tmp_path):
        shutil.copytree(toy_manifest.parent, tmp_path / "toy")
        manifest = tmp_path / "toy" / toy_manifest.name
        broken = read_manifest(manifest)[0].file
        broken.write_bytes(b"no picture")
        code, out, _ = call("--json", manifest=manifest)
        assert code == 1
        assert json.loads(out)["failed"] == 1


def test_the_shipped_bundle_can_be_looked_through():
    """Its card holds a recipe that this version reads."""
    from realgrain.learning.recipe import Recipe

    assert Recipe.model_validate(read_bundle().card.recipe).folds
