from pathlib import Path

import pytest

from realgrain.learning.recipe import Recipe, RecipeError, check_fit, read_recipe
from realgrain.learning.train import train
from realgrain.measuring.crossval import cross_validate
from realgrain.picture.views import View, ViewSpec

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted([*RECIPES.glob("*.yaml"), *RECIPES.glob("full/*.yaml")])


def written(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    return tmp_path / "r.yaml"


def test_there_are_recipes():
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_recipes(path):
    found = read_recipe(path)
    assert found.licence != Recipe().licence
    assert Recipe.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_nothing_changed_is_the_defaults(tmp_path, text):
    assert read_recipe(written(tmp_path, text)) == Recipe()


def test_is_a_diff_from_the_defaults(tmp_path):
    found = read_recipe(written(tmp_path, "penalty: 7\naugmentation: {p_blur: 0.5}\n"))
    assert found.penalty == 7
    assert found.augmentation.p_blur == 0.5
    assert found.augmentation.p_noise == Recipe().augmentation.p_noise
    assert found.model_dump(exclude={"penalty", "augmentation"}) == Recipe().model_dump(exclude={"penalty", "augmentation"})


class TestChanges:
    def test_reach_inside(self, tmp_path):
        path = written(tmp_path, "block: 3\naugmentation: {p_noise: 0.2}\n")
        found = read_recipe(path, {"augmentation.p_blur": 0.25, "block": None, "views.views": [{"kind": "tiles", "grid": 2}]})
        assert (found.augmentation.p_blur, found.augmentation.p_noise, found.block, found.views.count) == (0.25, 0.2, None, 4)

    @pytest.mark.parametrize("text", ["block: 3\n", "block: null\n", "block: [1]\n"])
    def test_of_what_has_nothing_inside(self, tmp_path, text):
        with pytest.raises(RecipeError, match=r"r\.yaml: block\.x: block is .*no settings inside"):
            read_recipe(written(tmp_path, text), {"block.x": 1})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("penalti: 1\n", r"r\.yaml: penalti: no such setting; did you mean penalty\?"),
        ("augmentation: {p_blurr: 0.1}\n", r"augmentation\.p_blurr: no such setting; did you mean augmentation\.p_blur\?"),
        ("augmentation: {p_crop: 1, crop_size: 200}\n", "crop_size 200 is less than the views show, 224"),
        ("tuning: {batch: 30, accumulate: 4}\n", "batch 30 does not divide into 4"),
        ("views: {views: [{kind: crop, sise: 3}]}\n", "sise"),
        ("augmentation: {p_blur: 2}\n", "p_blur must be a probability"),
        ("views: {views: []}\n", "views of one size"),
        ("views: {views: [{kind: whole}]}\n", "kind"),
        ("penalty: 0\n", "penalty"),
        ("block: 0\n", "block"),
        ("method: psychic\n", "method"),
        ("target_fpr: 1\n", "target_fpr"),
        ("deliveries: [clean, fax]\n", "fax"),
        ("deliveries: []\n", "deliveries: .*at least 1"),
        ("penalty: .inf\n", "penalty: .*finite"),
        ("tuning: {rate: .inf}\n", r"tuning\.rate: .*finite"),
        ("tuning: {head_rate: .nan}\n", r"tuning\.head_rate: "),
        ("tuning: {decay: .inf}\n", r"tuning\.decay: .*finite"),
        ("tuning: {epochs: .inf}\n", r"tuning\.epochs: .*finite"),
        ("tuning: {clip: 0}\n", r"tuning\.clip: .*greater than 0"),
        ("tuning: {seed: -1}\n", r"tuning\.seed: .*greater than or equal to 0"),
        ("tuning: {seed: 4294967296}\n", r"tuning\.seed: .*less than 4294967296"),
        ("adapter: {alpha: .inf}\n", "alpha inf: more than 0, and finite"),
        ("folds: [{fake: [a], real: [b]}, {fake: [c], real: [b]}]\n", "folds leave out b more than once, of the label real"),
        ("folds: [{fakes: [a], real: [b]}]\n", "fakes"),
        ("- a\n- b\n", "a recipe is a YAML mapping"),
        ("a: [1\n", r"r\.yaml: "),
        ("!!python/object/apply:os.system ['true']\n", r"r\.yaml: "),
    ],
)
def test_refused(tmp_path, text, reason):
    with pytest.raises(RecipeError, match=reason) as error:
        read_recipe(written(tmp_path, text))
    assert str(error.value).startswith(str(tmp_path / "r.yaml"))


def test_a_source_of_both_labels_is_left_out_once_of_each(tmp_path):
    found = read_recipe(written(tmp_path, "folds: [{fake: [a], real: [a]}, {fake: [b], real: [b]}]\n"))
    assert [fold.name for fold in found.folds] == ["a|a", "b|b"]


class TestFit:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"block": 4}, "has 3 blocks, and no block 4"),
            ({"views": ViewSpec((View("crop", 100),))}, "takes views of whole patches, 32 pixels a side each, not of 100 pixels"),
            ({"training_views": ViewSpec((View("crop", 100),))}, "not of 100 pixels"),
            ({"content_directions": 32}, "content_directions 32: of a feature of 32 values"),
            ({"content_directions": 24, "block": None}, "content_directions 24: of a feature of 24 values"),
        ],
    )
    def test_not(self, tiny_recipe, toy_manifest, tmp_path, home, changes, reason):
        """Found before pictures are opened."""
        recipe = tiny_recipe.model_copy(update=changes)
        with pytest.raises(RecipeError, match=f"recipe tiny: .*{reason}"):
            train(recipe, toy_manifest, tmp_path / "b")
        with pytest.raises(RecipeError, match=reason):
            cross_validate(recipe, toy_manifest)
        assert not home.exists()

    def test_well(self, tiny_recipe):
        check_fit(tiny_recipe.model_copy(update={"content_directions": 31, "block": 3}))


def test_missing(tmp_path):
    with pytest.raises(RecipeError, match="No such file"):
        read_recipe(tmp_path / "nowhere.yaml")


def test_not_text(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        read_recipe(tmp_path / "r.yaml")
