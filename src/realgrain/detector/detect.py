"""The detector: bundle + runtime, pictures in, reports out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from realgrain._version import __version__
from realgrain.detector.bundle import Bundle, read_bundle
from realgrain.detector.runtime import Runtime, cores, open_runtime
from realgrain.detector.verdict import DetectorFacts, Report, decide, facts
from realgrain.evidence.c2pa import TrustList
from realgrain.evidence.claims import Evidence
from realgrain.evidence.provenance import provenance
from realgrain.picture.image import Limits, Picture, PictureError, open_file, open_picture
from realgrain.picture.views import make_views

Source = str | os.PathLike[str] | bytes
Found = TypeVar("Found")
AHEAD = 4  # pictures decoded ahead of the runtime, for each core: enough to keep it busy, few enough to keep memory flat


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
        """Judge pictures in order, decoding ahead; a bad file yields its error and stops nothing."""
        for looked in _ahead(sources, self._look):
            yield looked if isinstance(looked, PictureError) else self.judge(*looked)

    def judge(self, picture: Picture, evidence: Evidence | None = None) -> Report:
        """Judge a picture that is already decoded; the evidence is passed on as it is."""
        view_logits = self.view_logits(picture.pixels)
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
        return self.runtime.logits(make_views(pixels, self.bundle.card.views))

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

    def open_many(self, sources: Iterable[Source]) -> Iterator[Picture | PictureError]:
        """Open pictures in order, some ahead of the reader; a bad file yields its error."""
        return _ahead(sources, lambda source: open_picture(source, limits=self.limits))

    def _look(self, source: Source) -> tuple[Picture, Evidence | None]:
        picture, data = open_file(source, limits=self.limits)
        return picture, provenance(data, picture, trust_list=self.trust_list) if self.evidence else None


def _ahead(sources: Iterable[Source], work: Callable[[Source], Found]) -> Iterator[Found | PictureError]:
    """Do the work on each source in order, on some ahead of the reader; a bad file yields its error."""

    def done(source: Source) -> Found | PictureError:
        try:
            return work(source)
        except PictureError as error:
            return error

    rest = iter(sources)
    with ThreadPoolExecutor(cores()) as pool:
        waiting: list[Future[Found | PictureError]] = [pool.submit(done, source) for source in islice(rest, AHEAD * cores())]
        while waiting:
            result = waiting.pop(0).result()
            waiting += [pool.submit(done, source) for source in islice(rest, 1)]
            yield result


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
