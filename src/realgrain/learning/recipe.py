"""What a training run is told: one model with every setting and its default. A recipe file is a YAML diff from these defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from realgrain.detector import weights
from realgrain.detector.weights import DEFAULT_BASE
from realgrain.learning import methods
from realgrain.learning.adapters import Adapter
from realgrain.learning.aligned import Aligned
from realgrain.learning.data import NEAR, Fold
from realgrain.learning.masking import Masking
from realgrain.learning.noise import Noise
from realgrain.learning.settings import meant
from realgrain.picture.conditions import condition
from realgrain.picture.degrade import Augmentation
from realgrain.picture.views import View, ViewSpec


class RecipeError(ValueError):
    """A recipe cannot be used. The message names the file, the key and the reason."""


class Tuning(BaseModel):
    """How a tower is tuned, where it is.

    Attributes:
        rate: of learning, for what moves in the tower; AdamW.
        head_rate: of learning, for head and noise generator.
        decay: of weights.
        epochs: passes over as many pictures as there are, drawn with replacement so that classes and sources are balanced in the mean.
        batch: pictures in a step, over all processes.
        accumulate: parts that each process takes its share of a batch in, one after the other, for less memory; the step stays the same, but for
            what noise measures of a batch.
        schedule: of both rates; ``step`` multiplies them by a factor every some epochs.
        step_epochs: step: epochs.
        step_factor: step: factor.
        warmup: share of the steps in which the rates rise from 0.
        validation: share of each training source kept back to stop early on; the best step counts, not the last.
        evaluate_every: steps.
        patience: evaluations without a better one before it stops.
        clip: the norm that the gradient of a step is cut to, over all that moves; null: it is not cut. 1 is transformers' default, with which the
            runs in ``results/ablation`` were made; the papers, as far as we know them, name none.
        seed: of every draw, 0 to 2^32 - 1; but with ``cache_frozen`` degradations and masks are drawn from a picture's bytes and the number of the
            draw, so that all seeds share them.
        head_start: ``zero``, or ``probe``: the head that is best on the untuned tower, by the recipe's penalty and content directions (linear
            probing, then tuning: Kumar et al. 2022), so that tuning starts from what the frozen tower knows.
        cache_frozen: run the blocks that do not move once for each picture and draw, and keep what they give on disk (0.3 MB each for ViT-B/16).
            Then a picture has ``draws`` degradations and masks, the same for every seed, instead of a new one each time.
        workers: processes that decode and degrade pictures meanwhile; 0: the one that trains does. The pictures are the same with any number.
        deterministic: none but torch's deterministic algorithms: the same machine, versions and settings give the same bytes; an operation that has
            none is an error.
        log: of losses, rates and noise: ``none``, or ``tensorboard``.
        log_to: folder of logs, one folder inside for each run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    head_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    epochs: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    batch: int = Field(default=32, ge=1)
    accumulate: int = Field(default=1, ge=1)
    schedule: Literal["constant", "linear", "cosine", "step"] = "constant"
    step_epochs: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    step_factor: float = Field(default=0.7, gt=0, le=1)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    validation: float = Field(default=0.1, gt=0, lt=1)
    evaluate_every: int = Field(default=20, ge=1)
    patience: int = Field(default=5, ge=1)
    clip: float | None = Field(default=1.0, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, lt=2**32)
    head_start: Literal["zero", "probe"] = "zero"
    cache_frozen: bool = False
    workers: int = Field(default=0, ge=0)
    deterministic: bool = False
    log: Literal["none", "tensorboard"] = "none"
    log_to: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Tuning:
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} does not divide into {self.accumulate} equal parts (accumulate)")
        if (self.log == "none") != (self.log_to is None):
            raise ValueError("log and log_to go together: what to log by, and the folder")
        return self


class Recipe(BaseModel):
    """Settings of a training run.

    Attributes:
        name: of the detector that comes out.
        method: of ``realgrain.learning.methods``; its defaults come before the recipe's own settings.
        base: name of ``realgrain weights list``, local folder, or Hugging Face id.
        views: preprocessing; the default is CLIP's own, as in UnivFD.
        training_views: preprocessing in training, where it is to be another than in use: more various, for one; null: the same.
        block: feature to read: class token after this block; null: the joint-space embedding, as in UnivFD.
        masking: what is hidden in training.
        noise: what is added to features in training.
        adapter: what moves in the tower. With none of the three, the head alone is fitted, on a frozen tower.
        tuning: how, where something does.
        penalty: of a frozen tower's head: of its weights, on standardised features; chosen on left-out sources.
        content_directions: principal directions of the real pictures' features that the head may not use, fewer than a feature has values; 0: all are
            open to it, as in UnivFD.
        augmentation: the law of degradations, the same for both classes.
        aligned: fakes of our own that are trained on as well: remakes of the training photographs, which show the same.
        draws: of that law for each picture, where what they give is kept.
        precision: of the tower in training.
        split: rows of the manifest to use; empty: all.
        per_source: pictures of each source and label at most, those whose sha256 comes first: few, as in MPFT; null: all.
        folds: sources to leave out together; empty: dealt automatically.
        deliveries: in which the held-out pictures are scored for calibration and thresholds.
        calibration: of the probability.
        target_fpr: share of real pictures that the threshold for ``ai`` may flag.
        target_miss: share of generated pictures that the threshold for ``camera`` may let through.
        duplicate_distance: bits of 64 in which the perceptual hashes of near-duplicates may differ.
        smallest_side: pixels, below which a verdict is never given.
        licence: of the learned weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "probe"
    method: str = "probe"
    base: str = DEFAULT_BASE
    views: ViewSpec = ViewSpec((View("resize"),))
    training_views: ViewSpec | None = None
    block: int | None = Field(default=None, ge=1)
    masking: Masking = Masking()
    noise: Noise = Noise()
    adapter: Adapter = Adapter()
    tuning: Tuning = Tuning()
    penalty: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    content_directions: int = Field(default=0, ge=0)
    augmentation: Augmentation = Augmentation()
    aligned: Aligned = Aligned()
    draws: int = Field(default=3, ge=1)
    precision: Literal["f32", "bf16"] = "f32"
    split: str = "train"
    per_source: int | None = Field(default=None, ge=1)
    folds: tuple[Fold, ...] = ()
    deliveries: tuple[str, ...] = Field(default=("clean", "web", "hard"), min_length=1)
    calibration: Literal["platt", "temperature"] = "platt"
    target_fpr: float = Field(default=0.05, gt=0, lt=1)
    target_miss: float = Field(default=0.05, gt=0, lt=1)
    duplicate_distance: int = Field(default=NEAR, ge=0, lt=64)
    smallest_side: int = Field(default=128, ge=1)
    licence: str = "not stated"

    @property
    def tunes(self) -> bool:
        """Whether anything but a head on a frozen tower is asked for."""
        return any(axis.kind != "none" for axis in (self.masking, self.noise, self.adapter))

    @property
    def drawn_views(self) -> ViewSpec:
        """What training sees of a picture."""
        return self.training_views or self.views

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for name in self.deliveries:
            condition(name)
        if self.tuning.cache_frozen and self.masking.fill == "drop" and self.masking.probability < 1:
            raise ValueError("with tuning.cache_frozen, masking that drops patches needs probability 1: kept tokens must be equally many")
        cut, shown = self.augmentation.crop_size, self.drawn_views.size
        if self.augmentation.p_crop and cut < shown:
            raise ValueError(f"augmentation.crop_size {cut} is less than the views show, {shown} pixels a side")
        if self.noise.prompted and self.block is not None:
            raise ValueError(f"text anchors of noise live in the joint space, not among the tokens of block {self.block}: block null, or prototypes")
        for label in ("fake", "real"):  # a source may have pictures of both
            sources = [source for fold in self.folds for source in getattr(fold, label)]
            twice = sorted({source for source in sources if sources.count(source) > 1})
            if twice:
                raise ValueError(f"folds leave out {', '.join(twice)} more than once, of the label {label}")
        return self


def check_fit(recipe: Recipe) -> None:
    """Look whether a recipe's views, block and content directions fit its base.

    Raises:
        RecipeError: they do not.
        WeightsError: the base cannot be had.
    """
    tower = weights.pull(recipe.base)
    try:
        for views in (recipe.views, recipe.drawn_views):
            tower.check_fit(views, recipe.block)
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name}: {error}") from error
    config = tower.config()
    size = config.projection_dim if recipe.block is None else config.hidden_size
    if recipe.content_directions >= size:
        raise RecipeError(
            f"recipe {recipe.name}: content_directions {recipe.content_directions}: of a feature of {size} values a head would see nothing"
        )


def read_recipe(path: Path, changes: dict[str, Any] | None = None) -> Recipe:
    """Read a recipe file and apply changes on top.

    Args:
        path: YAML.
        changes: values by dotted key, such as ``{"augmentation.p_blur": 0.0}``.

    Raises:
        RecipeError: not readable, not YAML, an unknown key, or a value that does not fit.
    """
    try:
        settings = yaml.safe_load(path.read_text()) or {}
        if not isinstance(settings, dict):
            raise RecipeError(f"{path}: a recipe is a YAML mapping of settings")
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            place = settings
            for parent in parents:
                place = place.setdefault(parent, {})
                if not isinstance(place, dict):
                    raise RecipeError(f"{path}: {key}: {parent} is {place!r}, which has no settings inside")
            place[last] = value
        return Recipe.model_validate(_over(methods.defaults(settings.get("method", "probe")), settings))
    except RecipeError:
        raise
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explained(error)}") from error
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{path}: {error}") from error


def _explained(error: ValidationError) -> str:
    """What is wrong, a sentence for each thing, by dotted name."""
    found = []
    for one in error.errors():
        name = ".".join(map(str, one["loc"]))
        if one["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            found.append(f"{name}: no such setting{meant(name, Recipe)}")
        else:
            found.append(f"{name}: {one['msg']}" if name else one["msg"])
    return "\n".join(found)


def _over(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with changes on top, mapping by mapping."""
    both = {name for name in changes if isinstance(changes[name], dict) and isinstance(settings.get(name), dict)}
    return {**settings, **changes, **{name: _over(settings[name], changes[name]) for name in both}}
