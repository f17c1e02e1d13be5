"""What a label might be read from that is not content: traits of files, as numbers for a probe and as words for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from realgrain.measuring.survey import Seen

Value = str | float | bool | None
Column = Callable[[Seen], Value]

ABSENT = "none"
MISSING = -1.0  # below all numbers that there are, so that a probe can tell it from them


def _notes(seen: Seen) -> str:
    """Generators that unsigned metadata names: signed ones are left out, since whether they are read depends on an optional package."""
    claims = [claim for claim in seen.evidence.claims if claim.of_model and claim.kind not in ("c2pa", "watermark")]
    return ", ".join(dict.fromkeys(f"{claim.kind}: {claim.generator or claim.source_type}" for claim in claims)) or ABSENT


def _watermark(seen: Seen) -> str:
    return next((str(claim.model) for claim in seen.evidence.claims if claim.kind == "watermark"), ABSENT)


def _at_all(*kinds: str) -> Column:
    return lambda seen: any(kind in seen.evidence.carries for kind in kinds)


# Columns of each trait. Text and truth are categories; a number may be missing.
TRAITS: Mapping[str, Mapping[str, Column]] = MappingProxyType(
    {
        "format": {"format": lambda seen: seen.picture.format},
        "size": {
            "shortest side": lambda seen: float(min(seen.picture.width, seen.picture.height)),
            "width": lambda seen: float(seen.picture.width),
            "height": lambda seen: float(seen.picture.height),
            "pixels": lambda seen: float(seen.picture.width * seen.picture.height),
        },
        "aspect": {
            "square": lambda seen: seen.picture.width == seen.picture.height,
            "width by height": lambda seen: seen.picture.width / seen.picture.height,
        },
        "JPEG quality": {"JPEG quality": lambda seen: None if seen.picture.jpeg_quality is None else float(seen.picture.jpeg_quality)},
        "subsampling": {"subsampling": lambda seen: seen.picture.subsampling or ABSENT},
        "bit depth and mode": {"mode": lambda seen: seen.picture.mode},
        "progressive": {"progressive": lambda seen: seen.picture.progressive},
        "EXIF": {"EXIF": _at_all("exif")},
        "ICC profile": {"ICC profile": lambda seen: seen.picture.icc is not None},
        "other metadata": {"XMP or IPTC": _at_all("xmp", "iptc"), "C2PA": _at_all("c2pa"), "text or comment": _at_all("text", "comment")},
    }
)

# Marks that generators leave, and cameras do not.
MARKS: Mapping[str, Mapping[str, Column]] = MappingProxyType(
    {
        "generator notes": {"generator notes": _notes},
        "invisible watermark": {"invisible watermark": _watermark},
    }
)

DENSITY: Column = lambda seen: seen.picture.bytes / (seen.picture.width * seen.picture.height)  # noqa: E731  (a column like the others)
PLAIN_DENSITY: Column = lambda seen: seen.plain_bytes / (seen.picture.width * seen.picture.height)  # noqa: E731


@dataclass(frozen=True)
class Trait:
    """Columns of N pictures.

    Attributes:
        name: of the trait.
        values: (N, columns) float64; categories as codes from 0, missing numbers -1.
    """

    name: str
    values: np.ndarray

    @property
    def constant(self) -> bool:
        """Whether all pictures are alike in it."""
        return bool((self.values == self.values[:1]).all())


def trait(name: str, columns: Mapping[str, Column], seen: Sequence[Seen]) -> Trait:
    """Columns read from what was seen."""
    return Trait(name, np.stack([_coded([column(one) for one in seen]) for column in columns.values()], axis=1))


def together(name: str, traits: Sequence[Trait]) -> Trait:
    """All columns of several traits."""
    return Trait(name, np.concatenate([one.values for one in traits], axis=1))


def _coded(values: Sequence[Value]) -> np.ndarray:
    """Numbers, of texts their places in the alphabet: categories are few, so that trees on such codes tell each from the others."""
    if any(isinstance(value, str) for value in values):
        return np.unique([str(value) for value in values], return_inverse=True)[1].astype(np.float64)
    return np.array([MISSING if value is None else value for value in values], np.float64)


def differences(columns: Mapping[str, Column], seen: Sequence[Seen]) -> str:
    """How the classes differ in the first column, in words: the share of the category that differs most, or the medians."""
    title, column = next(iter(columns.items()))
    real, fake = ([column(one) for one in seen if one.sample.fake == label] for label in (False, True))
    if any(isinstance(value, str | bool) for value in (*real, *fake)):
        values = [True] if isinstance(real[0], bool) else sorted({*real, *fake}, key=str)
        told = max(values, key=lambda value: abs(real.count(value) / len(real) - fake.count(value) / len(fake)))
        name = title if told is True else f"{title} {told}"
        return f"{name}: {real.count(told) / len(real):.0%} of real, {fake.count(told) / len(fake):.0%} of fake"
    words = f"median {title}: {_median(real)} of real, {_median(fake)} of fake"
    lacking = [values.count(None) / len(values) for values in (real, fake)]
    return words if not any(lacking) else f"{words}; without one: {lacking[0]:.0%} of real, {lacking[1]:.0%} of fake"


def counts(columns: Mapping[str, Column], seen: Sequence[Seen]) -> str:
    """How many pictures of each class have each value of the first column, in words; "none" if none has any."""
    column = next(iter(columns.values()))
    found = Counter((str(column(one)), one.sample.label) for one in seen)
    values = sorted({value for value, _ in found} - {ABSENT})
    return "; ".join(f"{value}: {found[value, 'real']} real, {found[value, 'fake']} fake" for value in values) or "none"


def _median(values: Sequence[Value]) -> str:
    numbers = [float(value) for value in values if value is not None]
    return f"{np.median(numbers):.4g}" if numbers else ABSENT
