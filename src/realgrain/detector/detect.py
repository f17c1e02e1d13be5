"""The detector: bundle + runtime, pictures in, reports out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from realgrain._version import __version__
from realgrain.detector import content
from realgrain.detector.ahead import ahead
from realgrain.detector.bundle import Bundle, read_bundle
from realgrain.detector.decision import Decision, Policy, decision_of, posterior
from realgrain.detector.domain import Borders, InDomain, bordered, placed, places
from realgrain.detector.fusion import fuse
from realgrain.detector.runtime import Runtime, open_runtime
from realgrain.detector.second import Rounded, settled, settled_again
from realgrain.detector.seen import Seen, look, prepare
from realgrain.detector.stability import stability
from realgrain.detector.verdict import DetectorFacts, FileFacts, Report, decide, explained, facts
from realgrain.evidence.c2pa import TrustList
from realgrain.evidence.claims import Evidence
from realgrain.picture.image import Limits, Picture, PictureError, open_picture
from realgrain.picture.views import make_views

Source = str | os.PathLike[str] | bytes


@dataclass(frozen=True)
class Detector:
    """Scores pictures. Safe to share between threads.

    Scores do not depend on batch-mates: each picture is a run of its own, whose batch is its views (our choice: on a processor, larger batches gain
    nothing, ``benchmarks/``).
    """

    bundle: Bundle
    runtime: Runtime
    limits: Limits = Limits()  # noqa: RUF009  (frozen)
    evidence: bool = True  # whether reports say what files say of themselves; scores are the same either way
    trust_list: TrustList | None = None
    policy: Policy = Policy()  # noqa: RUF009  (frozen)
    threads: int | None = None  # that open pictures and wait for the runtime; None: one for each processor

    @cached_property
    def decision(self) -> Decision:
        """The thresholds of pictures of which nothing is known; no logit depends on them."""
        return decision_of(self.bundle, self.policy)

    def decision_in(self, place: InDomain | None) -> Decision:
        """The thresholds that the verdict on a picture goes by."""
        return self.decision if place is None else self._decisions[place.group]

    @cached_property
    def _decisions(self) -> list[Decision]:
        return [decision_of(self.bundle, self.policy, group) for group in range(content.count(self.bundle.statistics))]

    def detect(self, source: Source) -> Report:
        """Judge one picture.

        Args:
            source: path, or the bytes of a file.

        Raises:
            PictureError: it cannot be read as a picture; names the file and the reason.
        """
        return self.judge(*self._look(source))

    def detect_many(self, sources: Iterable[Source]) -> Iterator[Report | PictureError]:
        """Judge pictures in order, on all threads; a bad file yields its error and stops nothing. Quickest with ``load(many=True)``."""

        def judge(source: Source) -> Report | PictureError:
            try:
                return self.detect(source)
            except PictureError as error:
                return error

        return ahead((partial(judge, source) for source in sources), self.threads)

    def judge(self, picture: Picture, evidence: Evidence | None = None) -> Report:
        """Judge a picture that is already decoded; the evidence is passed on as it is."""
        return self.judged(self.seen(picture, evidence))

    def seen(self, picture: Picture, evidence: Evidence | None = None) -> Seen:
        """Make ready all that the runtime will look at: the part of the work that others may do ahead of it."""
        return prepare(picture, evidence, self.bundle.card.views, self.bundle.card.smallest_side if self.policy.stability else None)

    def judged(self, seen: Seen, found: tuple[np.ndarray, np.ndarray | None] | None = None) -> Report:
        """Judge what ``seen`` made ready; ``found`` is what ``runtime.look`` gives for its views, where that is already known."""
        found = found or self.runtime.look(seen.views)
        place = self._place(found[1])
        view_logits, features = settled(self.runtime, seen.views, found, place, self._decisions_near(place, found[1]))
        if features is not found[1]:
            place = self._place(features)
        return self.conclude(facts(seen.picture), view_logits.tolist(), self._again(seen.again, place), place, seen.evidence, self._borders(seen))

    def _place(self, features: np.ndarray | None) -> InDomain | None:
        domain = self.bundle.card.domain_of(self.policy.profile)
        return None if domain is None or features is None else placed(features, domain, self.bundle.statistics)

    def _borders(self, seen: Seen) -> Borders | None:
        borders = self.bundle.card.borders_of(self.policy.profile)
        return None if borders is None or seen.borders is None else bordered(seen.borders, borders)

    def _decisions_near(self, place: InDomain | None, features: np.ndarray | None) -> list[Decision]:
        """The thresholds of each group that the picture may be in, as far as the runtime can tell."""
        if place is None or features is None or not isinstance(self.runtime, Rounded):
            return [self.decision_in(place)]
        statistics = self.bundle.statistics
        near = content.may_be(places(features[None], statistics)[0], statistics, self.runtime.parity.group_tolerance)
        return [self._decisions[group] for group in near]

    def conclude(
        self,
        picture: FileFacts,
        view_logits: Sequence[float],
        again: Mapping[str, float],
        place: InDomain | None,
        evidence: Evidence | None,
        borders: Borders | None,
    ) -> Report:
        """What follows from what was measured.

        Args:
            picture: the file.
            view_logits: of the picture's views.
            again: logits of the picture saved again, by name; empty: not looked at.
            place: where the picture lies among the training pictures.
            evidence: passed on as it is.
            borders: its straight ones; None: not looked at.
        """
        logit = float(np.mean(view_logits, dtype=np.float64))
        decision, policy = self.decision_in(place), self.policy
        scale = decision.calibration
        stable = stability(logit, again, scale) if again else None
        verdict, chance = decide(logit, min(picture.width, picture.height), self.bundle.card, decision, stable, place, borders)
        return Report(
            picture=picture,
            logit=logit,
            view_logits=list(view_logits),
            probability=chance,
            verdict=verdict,
            sentence=explained(verdict, decision, borders),
            decision=decision,
            stability=stable,
            domain=place,
            borders=borders,
            posterior=None if scale is None or policy.prior is None else posterior(scale, logit, policy.prior),
            detector=self._facts(),
            evidence=evidence,
            fused=None if scale is None or policy.fuse is None or evidence is None else fuse(scale, logit, evidence, policy.fuse, policy.prior),
        )

    def _again(self, again: Mapping[str, np.ndarray], place: InDomain | None) -> dict[str, float]:
        """All views of the changed picture in one run. The picture itself has its own: with other batch-mates its last bits might be others."""
        if not again:
            return {}
        found = self.runtime.logits(np.concatenate(list(again.values()))).reshape(len(again), -1).mean(1, dtype=np.float64)
        return settled_again(self.runtime, again, dict(zip(again, found.tolist(), strict=True)), self.decision_in(place))

    def view_logits(self, pixels: np.ndarray) -> np.ndarray:
        """Logits (V,) float32 of the views of RGB pixels (H, W, 3) uint8."""
        return self.runtime.logits(self.views(pixels))

    def views(self, pixels: np.ndarray) -> np.ndarray:
        """What the runtime sees of RGB pixels (H, W, 3) uint8: (V, 3, H', W') float32."""
        return make_views(pixels, self.bundle.card.views)

    def open(self, source: Source, *, name: str | None = None) -> Picture | PictureError:
        """Open a picture within the limits; a bad file gives its error. ``name`` is what it is called there; by default its path."""
        try:
            return open_picture(source, name=name, limits=self.limits)
        except PictureError as error:
            return error

    def _facts(self) -> DetectorFacts:
        return DetectorFacts(
            name=self.bundle.card.name,
            bundle=self.bundle.hash,
            base=self.bundle.card.base.id,
            runtime=self.runtime.name,
            precision=self.runtime.precision,
            runtime_version=self.runtime.version,
            realgrain=__version__,
        )

    def _look(self, source: Source) -> tuple[Picture, Evidence | None]:
        return look(source, limits=self.limits, evidence=self.evidence, trust_list=self.trust_list)


def load(
    bundle: str | Path | Bundle | None = None,
    *,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    offline: bool = False,
    device: str = "cpu",
    many: bool = False,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    evidence: bool = True,
    trust_list: TrustList | None = None,
    policy: Policy = Policy(),  # noqa: B008  (frozen)
) -> Detector:
    """Load a detector; the first time, this fetches the base tower (about 75 MB) and composes the graph.

    Args:
        bundle: a bundle's folder; None: the one that realgrain ships.
        runtime: ``onnxruntime``, ``openvino``, ``openvino-int8`` or ``torch``.
        threads: processors to use; None: all that this process may use.
        offline: never touch the network.
        device: by ``realgrain.detector.devices.chosen``.
        many: pictures come many at a time, as to ``detect_many``; no bit of a report depends on it, see ``open_runtime``.
        limits: of the files to accept.
        evidence: whether reports say what files say of themselves; scores are the same either way.
        trust_list: certificates whose C2PA signatures are trusted; None: none is.
        policy: what verdicts must keep to.

    Raises:
        ValueError: the policy names a profile that there is not, or fuses evidence that is not to be looked at.
        BundleError: the bundle is not usable.
        WeightsError: its base cannot be had.
    """
    bundle = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
    if policy.fuse is not None and not evidence:
        raise ValueError("fuse counts what a file says of itself, which is not to be looked at (--no-evidence): leave one of them out")
    decision_of(bundle, policy)  # what cannot be asked of it is said before the base is fetched
    opened = open_runtime(runtime, bundle, threads=threads, offline=offline, device=device, many=many)
    return Detector(bundle, opened, limits, evidence, trust_list, policy, threads)
