"""Can the label of a set be read from what is not content, and is each picture in it once? A verdict for each check, with its figure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from realgrain.learning.data import NEAR, Sample, near_duplicates
from realgrain.measuring import duplicates
from realgrain.measuring.audit_results import Audit, Check, Outcome
from realgrain.measuring.file_traits import DENSITY, MARKS, PLAIN_DENSITY, TRAITS, Column, Trait, counts, differences, together, trait
from realgrain.measuring.leakage import Reading, Split, by_picture, by_source, interval, read
from realgrain.measuring.results import Estimate
from realgrain.measuring.survey import Seen, Survey, survey

BOUND = 0.55  # of an AUC: a trait leaks when the lower end of its interval is above (our choice); 0.5 is chance
MARK_BOUND = 0.505  # of marks: rare but certain, so that one class has surely 1 % more of them is enough (our choice)
NOTES = {"generator notes": "; a leak only for detectors that read metadata: realgrain's reads pixels"}
LOOK = "captions and stock marks are not looked for: readers of text take what is written in the scene for them; look at pictures of each source"
RESAMPLES = 1000
SEED = 0
ALL = "all but bytes per pixel"


def audit(samples: Sequence[Sample], beside: Sequence[Sample] = ()) -> Audit:
    """Open every picture once and check the set. Deterministic; the network is never touched.

    A trait of files leaks if the lower end of the 95 % interval of its probe's AUC is above 0.55, on unseen pictures or on unseen sources; marks
    of generators already at 0.505. Bytes per pixel depend on content too: they leak if they also tell the label better than the bytes do that the
    same pixels take when all are saved alike.

    Args:
        samples: labelled; of files, or packed ones that give their bytes.
        beside: samples of other splits, in which copies of these pictures are looked for: the same bytes, no near copies.

    Raises:
        ValueError: there are none, or a label is neither real nor fake.
    """
    return audit_survey(survey(labelled(samples)), beside)


def labelled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples, if there are any and all of them have labels; ValueError else."""
    if not samples:
        raise ValueError("no pictures to audit")
    for sample in samples:
        if sample.label not in {"real", "fake"}:
            raise ValueError(f"{sample.path}: an audit needs labels, and {sample.label!r} is neither real nor fake")
    return samples


def audit_survey(found: Survey, beside: Sequence[Sample] = ()) -> Audit:
    """As ``audit``, of samples that were opened already."""
    seen = found.seen
    samples = [one.sample for one in seen]
    fake = np.array([sample.fake for sample in samples], bool)
    twins = near_duplicates(np.stack([one.hash for one in seen]), NEAR) if seen else np.zeros(0, int)
    copies, nearly = duplicates.exact(seen, beside), duplicates.near(seen, twins.tolist())
    sources = _sources(samples)
    return Audit(
        real=int((~fake).sum()),
        fake=int(fake.sum()),
        splits=dict(sorted(Counter(sample.split for sample in samples).items())),
        beside=len(beside),
        bound=BOUND,
        mark_bound=MARK_BOUND,
        distance=NEAR,
        resamples=RESAMPLES,
        seed=SEED,
        checks=[
            _files_check(found),
            *_Prober.of(seen, fake, twins).checks(),
            duplicates.exact_check(copies, len(beside)),
            duplicates.near_check(nearly, NEAR, len(beside)),
            _sources_check(sources),
            Check(name="visible marks", verdict="not judged", words=LOOK),
        ],
        sources=sources,
        duplicates=copies,
        near_duplicates=nearly,
        failed=found.failed,
    )


def _files_check(found: Survey) -> Check:
    count = len(found.failed)
    words = f"{count} of {count + len(found.seen)} files cannot be read" if count else f"all {len(found.seen)} files can be read"
    return Check(name="files", verdict="warning" if count else "ok", words=words)


def _sources(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        counts[sample.source][sample.label] += 1
    return {source: {label: counts[source][label] for label in ("real", "fake")} for source in sorted(counts)}


def _sources_check(sources: Mapping[str, Mapping[str, int]]) -> Check:
    """Sources with one label: whatever such a source has in common, its content and its camera, tells the label of its pictures."""
    name = "label against source"
    if set(sources) <= {""}:
        return Check(name=name, verdict="not judged", words="no sources are named")
    both = [source for source, counts in sources.items() if all(counts.values())]
    words = f"{len(both)} of {len(sources)} sources have both labels"
    if len(both) == len(sources):
        return Check(name=name, verdict="ok", words=words)
    total, told = (sum(sum(sources[source].values()) for source in of) for of in (sources, sources.keys() - both))
    words += f", {told} of {total} pictures ({told / total:.1%}) are of one with one label only"
    return Check(name=name, verdict="warning", words=f"{words}: what a source shows may tell the label; trust only figures on sources left out")


@dataclass(frozen=True)
class _Prober:
    """N pictures with the splits that probes are tried on."""

    seen: Sequence[Seen]
    fake: np.ndarray
    pictures: Sequence[Split]
    sources: Sequence[Split]

    @classmethod
    def of(cls, seen: Sequence[Seen], fake: np.ndarray, twins: np.ndarray) -> _Prober:
        if not fake.any() or fake.all():
            return cls(seen, fake, [], [])
        return cls(seen, fake, by_picture(fake, twins), by_source([one.sample for one in seen], twins))

    def checks(self) -> list[Check]:
        """One for each trait, bytes per pixel, and all traits but that together: it depends on content too, which may tell the label."""
        if not self.pictures:
            words = "one label only, or too few pictures: nothing to tell apart"
            return [Check(name=name, verdict="not judged", words=words) for name in (*TRAITS, "bytes per pixel", *MARKS, ALL)]
        traits = {name: trait(name, columns, self.seen) for name, columns in {**TRAITS, **MARKS}.items()}
        return [
            *(self._check(traits[name], differences(columns, self.seen), BOUND) for name, columns in TRAITS.items()),
            self._density(),
            *(self._check(traits[name], counts(columns, self.seen) + NOTES.get(name, ""), MARK_BOUND) for name, columns in MARKS.items()),
            self._check(together(ALL, list(traits.values())), "a probe on all columns at once", BOUND),
        ]

    def _read(self, what: Trait, splits: Sequence[Split]) -> Reading | None:
        return read(what, self.fake, splits, RESAMPLES, SEED) if splits else None

    def _check(self, what: Trait, words: str, bound: float) -> Check:
        readings = [self._read(what, splits) for splits in (self.pictures, self.sources)]
        verdict, words = _judged(readings, words, leaks=any(_above(one, bound) for one in readings))
        return Check(name=what.name, verdict=verdict, words=words, auc=_estimate(readings[0]), unseen=_estimate(readings[1]))

    def _density(self) -> Check:
        density: dict[str, Column] = {"bytes per pixel": DENSITY}
        columns = [trait("bytes per pixel", density, self.seen), trait("content", {"bytes per pixel": PLAIN_DENSITY}, self.seen)]
        pairs = [[self._read(one, splits) for one in columns] for splits in (self.pictures, self.sources)]
        leaks = any(_above(file, BOUND) and _beyond(file, content) for file, content in pairs)
        verdict, words = _judged([file for file, _ in pairs], differences(density, self.seen), leaks=leaks)
        return Check(
            name="bytes per pixel",
            verdict=verdict,
            words=words,
            auc=_estimate(pairs[0][0]),
            unseen=_estimate(pairs[1][0]),
            content=_estimate(pairs[0][1]),
        )


def _estimate(reading: Reading | None) -> Estimate | None:
    return None if reading is None else reading.estimate


def _judged(readings: Sequence[Reading | None], words: str, *, leaks: bool) -> tuple[Outcome, str]:
    """Verdict and words: what all resamples say alike, of so few that they cannot differ, is no certainty."""
    if not leaks and any(reading is not None and reading.no_spread for reading in readings):
        return "not judged", f"{words}; no resample gives another figure, which is no certainty"
    return "leak" if leaks else "ok", words


def _above(reading: Reading | None, bound: float) -> bool:
    return reading is not None and not reading.no_spread and interval(reading.drawn)[0] > bound


def _beyond(file: Reading | None, content: Reading | None) -> bool:
    return file is not None and content is not None and interval(file.drawn - content.drawn)[0] > 0
