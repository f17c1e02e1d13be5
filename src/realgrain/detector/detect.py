"""The detector: bundle + runtime, pictures in, reports out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from realgrain._version import __version__
from realgrain.detector.ahead import ahead
from realgrain.detector.bundle import Bundle, read_bundle
from realgrain.detector.runtime import Runtime, open_runtime
from realgrain.detector.verdict import DetectorFacts, Report, decide, facts
from realgrain.evidence.c2pa import TrustList
from realgrain.evidence.claims import Evidence
from realgrain.evidence.provenance import provenance
from realgrain.picture.image import Limits, Picture, PictureError, open_file, open_picture
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

    def detect(self, source: Source) -> Report:
        """Judge one picture.

        Args:
            source: path, or the bytes of a file.

        Raises:
            PictureError: it cannot be read as a picture; names the file and the reason.
        """
        return self.judge(*self._look(source))

    def detect_many(self, sources: Iterable[Source]) -> Iterator[Report | PictureError]:
        """Judge pictures in order, decoding and making views ahead; a bad file yields its error and stops nothing."""

        def seen(source: Source) -> tuple[Picture, Evidence | None, np.ndarray] | PictureError:
            try:
                picture, evidence = self._look(source)
            except PictureError as error:
                return error
            return picture, evidence, self.views(picture.pixels)

        for outcome in ahead(partial(seen, source) for source in sources):
            if isinstance(outcome, PictureError):
                yield outcome
            else:
                picture, evidence, views = outcome
                yield self._judged(picture, evidence, self.runtime.logits(views))

    def judge(self, picture: Picture, evidence: Evidence | None = None) -> Report:
        """Judge a picture that is already decoded; the evidence is passed on as it is."""
        return self._judged(picture, evidence, self.view_logits(picture.pixels))

    def _judged(self, picture: Picture, evidence: Evidence | None, view_logits: np.ndarray) -> Report:
        logit = float(np.mean(view_logits, dtype=np.float64))
        verdict, chance = decide(logit, min(picture.width, picture.height), self.bundle.card)
        return Report(
            picture=facts(picture),
            logit=logit,
            view_logits=[float(value) for value in view_logits],
            probability=chance,
            verdict=verdict,
            detector=self._facts(),
            evidence=evidence,
        )

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
        picture, data = open_file(source, limits=self.limits)
        return picture, provenance(data, picture, trust_list=self.trust_list) if self.evidence else None


def load(
    bundle: str | Path | Bundle | None = None,
    *,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    offline: bool = False,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    evidence: bool = True,
    trust_list: TrustList | None = None,
) -> Detector:
    """Load a detector; the first time, this fetches the base tower (about 75 MB) and composes the graph.

    Args:
        bundle: a bundle's folder; None: the one that realgrain ships.
        runtime: ``onnxruntime``, ``openvino``, ``openvino-int8`` or ``torch``.
        threads: processors to use; None: all that this process may use.
        offline: never touch the network.
        limits: of the files to accept.
        evidence: whether reports say what files say of themselves; scores are the same either way.
        trust_list: certificates whose C2PA signatures are trusted; None: none is.

    Raises:
        BundleError: the bundle is not usable.
        WeightsError: its base cannot be had.
    """
    bundle = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
    return Detector(bundle, open_runtime(runtime, bundle, threads=threads, offline=offline), limits, evidence, trust_list)
