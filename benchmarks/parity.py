"""The same pictures in every runtime: how far logits differ from ONNX Runtime f32, and how many verdicts change.

    python benchmarks/parity.py --data MANIFEST.csv -o results/benchmarks/parity.json

Pictures are taken from each source in turn. bf16 is OpenVINO with nothing rounded in its graph, told to compute in bf16; it is no runtime of
realgrain's, only compared. A processor that has none emulates it, seconds for a picture: leave it out there, by --each. Verdicts are those of
`realgrain detect --no-stability`, with the thresholds of the card. Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from drawing import by_source
from pydantic import BaseModel
from tqdm import tqdm

from realgrain.detector.bundle import Bundle, read_bundle
from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector
from realgrain.detector.runtime import OpenVino, Runtime, cores, open_runtime
from realgrain.detector.second import Rounded
from realgrain.detector.seen import Seen
from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.ledger import write_result
from realgrain.picture.image import open_picture

REFERENCE, BF16, INT8, DYNAMIC = "onnxruntime", "openvino-bf16", "openvino-int8", "openvino-int8-dynamic"
CONTESTANTS = ("openvino", BF16, INT8, DYNAMIC, "torch")
MOST_CHANGED = {INT8: 0.003, DYNAMIC: 0.003, BF16: 1.0}
"""Share of verdicts that may change, by runtime; none where it is not named (our targets; for bf16, which is no runtime of ours, there is none)."""


class OpenVinoBf16(OpenVino):
    """OpenVINO as it computes when left alone on a processor with bf16."""

    name, precision, hint = BF16, "bf16", "bf16"


class Parity(BaseModel):
    """Of one runtime against the reference.

    Attributes:
        largest: difference of a picture's logit.
        usual: 95 % of the differences are no larger.
        rms: root of their mean square.
        bias: their mean.
        largest_distance: difference of the distance from the training pictures; 0 where the bundle has no domain.
        auc: of these pictures, with the reference's beside it in ``Found``.
        changed: verdicts that are others, reasons of ``unsure`` aside.
        changed_share: the same, as a share.
        turned: of those, the ones from ``ai`` to ``camera`` or back.
        rounded_changed: verdicts that would be others if none had been looked at again in f32.
        again_share: pictures that were looked at again in f32.
        met: whether the targets are.
    """

    largest: float
    usual: float
    rms: float
    bias: float
    largest_distance: float
    auc: float
    changed: int
    changed_share: float
    turned: int
    rounded_changed: int
    again_share: float
    met: bool


class Found(BaseModel):
    """All of it."""

    bundle: str
    pictures: int
    sources: dict[str, int]
    cores: int
    reference: str
    auc: float
    runtimes: dict[str, Parity]


def opened(name: str, bundle: Bundle) -> Runtime:
    """A runtime by name; ``openvino-bf16`` too."""
    return OpenVinoBf16(bundle, threads=cores(), offline=True) if name == BF16 else open_runtime(name, bundle, offline=True)


class Scores(BaseModel):
    """What one runtime says of all pictures, in order: raw logits and distances, verdicts as given and as they would be without a second look."""

    logits: list[float]
    distances: list[float]
    verdicts: list[str]
    raw_verdicts: list[str]
    again: int


def scores(bundle: Bundle, runtime: Runtime, pictures: Sequence[Seen]) -> Scores:
    """Judge them."""
    detector = Detector(bundle, runtime, evidence=False, policy=Policy(stability=False))
    believed = Detector(bundle, Believed(runtime), evidence=False, policy=Policy(stability=False))
    found = Scores(logits=[], distances=[], verdicts=[], raw_verdicts=[], again=0)
    for seen in tqdm(pictures, runtime.name, disable=None):
        looked = runtime.look(seen.views)
        raw = believed.judged(seen, looked)
        report = detector.judged(seen, looked) if isinstance(runtime, Rounded) else raw
        found.logits.append(raw.logit)
        found.distances.append(raw.domain.distance if raw.domain else 0.0)
        found.raw_verdicts.append(raw.verdict.label)
        found.verdicts.append(report.verdict.label)
        found.again += report.view_logits != raw.view_logits
    return found


class Believed:
    """A runtime that is never asked again: it hides how far it is off."""

    def __init__(self, runtime: Runtime) -> None:
        self.name, self.precision, self.version = runtime.name, runtime.precision, runtime.version
        self.logits, self.look = runtime.logits, runtime.look


def compared(name: str, found: Scores, reference: Scores, fake: np.ndarray) -> Parity:
    """One runtime against the reference."""
    from sklearn.metrics import roc_auc_score

    gaps = np.array(found.logits) - np.array(reference.logits)
    pairs = list(zip(found.verdicts, reference.verdicts, strict=True))
    changed = sum(mine != theirs for mine, theirs in pairs)
    turned = sum({mine, theirs} == {"ai", "camera"} for mine, theirs in pairs)
    return Parity(
        largest=float(np.abs(gaps).max()),
        usual=float(np.quantile(np.abs(gaps), 0.95)),
        rms=float(np.sqrt(np.mean(gaps**2))),
        bias=float(gaps.mean()),
        largest_distance=float(np.abs(np.array(found.distances) - np.array(reference.distances)).max()),
        auc=float(roc_auc_score(fake, found.logits)),
        changed=changed,
        changed_share=changed / len(pairs),
        turned=turned,
        rounded_changed=sum(mine != theirs for mine, theirs in zip(found.raw_verdicts, reference.verdicts, strict=True)),
        again_share=found.again / len(pairs),
        met=turned == 0 and changed / len(pairs) <= MOST_CHANGED.get(name, 0.0),
    )


def measure(bundle: Bundle, samples: Sequence[Sample], contestants: Sequence[str]) -> Found:
    """Compare runtimes on pictures of both labels; all of their views are held in memory, 1.2 MB each for the shipped detector."""
    from sklearn.metrics import roc_auc_score

    def pictures() -> list[Seen]:
        maker = Detector(bundle, Believed(reference_runtime), evidence=False, policy=Policy(stability=False))
        return [maker.seen(open_picture(sample.file)) for sample in tqdm(samples, "reading", disable=None)]

    reference_runtime = opened(REFERENCE, bundle)
    seen, fake = pictures(), np.array([sample.fake for sample in samples])
    reference = scores(bundle, reference_runtime, seen)
    found = {name: compared(name, scores(bundle, opened(name, bundle), seen), reference, fake) for name in contestants}
    sources = {source: sum(sample.source == source for sample in samples) for source in sorted({sample.source for sample in samples})}
    return Found(
        bundle=bundle.hash,
        pictures=len(samples),
        sources=sources,
        cores=cores(),
        reference=REFERENCE,
        auc=float(roc_auc_score(fake, reference.logits)),
        runtimes=found,
    )


def main() -> int:
    """Compare, write, print."""
    parser = argparse.ArgumentParser(description="Compare runtimes on the same pictures.")
    parser.add_argument("--data", type=Path, required=True, help="manifest of labelled pictures")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/parity.json"))
    parser.add_argument("--bundle", type=Path, help="detector; without it, the one that realgrain ships")
    parser.add_argument("--limit", type=int, default=300, help="pictures, from each source in turn")
    parser.add_argument("--split", help="pictures of this split only")
    parser.add_argument("--each", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), help="runtimes to compare")
    options = parser.parse_args()
    samples = [sample for sample in read_manifest(options.data) if options.split in (None, sample.split)]
    found = measure(read_bundle(options.bundle), by_source(samples, options.limit), options.each)
    write_result(options.output, found, [options.data])
    print(f"{found.pictures} pictures, {REFERENCE}: AUC {found.auc:.4f}")
    for name, parity in found.runtimes.items():
        print(
            f"{name}: logit at most {parity.largest:.2e} off (95 %: {parity.usual:.2e}), AUC {parity.auc:.4f}, {parity.changed} verdicts changed "
            f"({parity.changed_share:.2%}), {parity.turned} turned round; {parity.again_share:.1%} looked at again, without which "
            f"{parity.rounded_changed} would have changed{'' if parity.met else ': TARGET MISSED'}"
        )
    return 0 if all(parity.met for parity in found.runtimes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
