"""What a look at the features of towers found: frozen models that dump to JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from realgrain.picture.views import ViewSpec


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Share(_Frozen):
    """A share in [0, 1], and what it would be if the features knew nothing."""

    value: float
    chance: float


class Silhouette(_Frozen):
    """Mean silhouette (Rousseeuw 1987), -1 to 1: near 0 the groups lie in each other, at 1 they are points far apart.

    None where there are not two groups.
    """

    cosine: float | None
    euclidean: float | None


class Distance(_Frozen):
    """How far a group of n pictures lies from real ones: 1 is as far as a typical real source lies from all the others."""

    n: int
    ratio: float


class Pair(_Frozen):
    """AUC of the same pictures, those of a fold, by heads that had seen pictures of their sources and by one that had not."""

    random: float
    left_out: float


class Head(_Frozen):
    """Cross-validated AUC of a linear head with these settings of ``probe.fit``.

    Attributes:
        random: heads left out the picture, but had seen its source. Mean over the pairs, or over all pictures where there are none.
        left_out: the head had not seen the source; mean over the pairs, None where there are none.
        gap: of the two: what the head knew of the sources and not of generation. The shortcut.
        pairs: by name of the fold.
    """

    penalty: float
    content_directions: int
    random: float
    left_out: float | None
    gap: float | None
    pairs: dict[str, Pair]


class Look(_Frozen):
    """What was measured of one tower's features.

    Attributes:
        by_label: silhouette of real against fake.
        by_source: silhouette of the sources.
        divisions_as_good: share of arbitrary divisions of the sources into two sides whose cosine silhouette is at least that of real against
            fake; None with fewer than four sources.
        label_purity: of the nearest neighbours, the share of a picture's own label, both labels counting alike.
        label_purity_elsewhere: the same among pictures of other sources.
        source_purity: the share of its own source, every picture counting alike.
        generators: distance of each from the real pictures.
        real_sources: distance of each from the other real pictures.
        heads: by name.
    """

    by_label: Silhouette
    by_source: Silhouette
    divisions_as_good: float | None
    label_purity: Share
    label_purity_elsewhere: Share | None
    source_purity: Share
    generators: dict[str, Distance]
    real_sources: dict[str, Distance]
    heads: dict[str, Head]


class Finding(_Frozen):
    """A figure for people.

    Attributes:
        name: of what was measured.
        value: rounded for reading, with its unit; the exact one is in ``Look``.
        says: what it means, in a sentence.
    """

    name: str
    value: str
    says: str


class TowerLook(_Frozen):
    """One tower.

    Attributes:
        title: what it is.
        note: what to know before reading its figures; empty if nothing.
        conclusion: the figures in a sentence.
        findings: the same, one by one.
        look: the figures.
    """

    title: str
    note: str
    conclusion: str
    findings: list[Finding]
    look: Look


class Inspection(_Frozen):
    """What was looked at, and what each tower saw in it.

    Attributes:
        manifest: its file name.
        split: rows of it; empty: all.
        condition: how pictures were delivered.
        limit: pictures of a source at most; None: all.
        base: name of the tower.
        base_sha256: of its weights.
        views: its preprocessing; features are the mean over views, as the logit of a detector is.
        block: class token after this block; None: joint-space embedding.
        precision: of the arithmetic.
        real: pictures of each real source.
        fake: pictures of each generator.
        failed: pictures that could not be read.
        towers: ``frozen`` and, where a bundle changed it, ``tuned``.
    """

    manifest: str
    split: str
    condition: str
    limit: int | None
    base: str
    base_sha256: str
    views: ViewSpec
    block: int | None
    precision: str
    real: dict[str, int]
    fake: dict[str, int]
    failed: int
    towers: dict[str, TowerLook]
