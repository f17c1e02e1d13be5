"""What rank keeps the scores: a detector whose whole tower was tuned, its changes cut to low rank, against itself.

    realgrain train recipes/few.yaml --method mpft --name mpft --data MANIFEST.csv -o build/mpft
    python benchmarks/export_rank.py build/mpft --data MANIFEST.csv -o results/benchmarks/export_rank.json

Pictures are taken from each source in turn. A tower that was tuned for longer may need another rank.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from drawing import by_source
from pydantic import BaseModel
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from realgrain.detector.bundle import Bundle, array_bytes, array_sha256, read_bundle
from realgrain.detector.decision import Policy
from realgrain.detector.detect import load
from realgrain.detector.merging import DELTA
from realgrain.learning.adapters import svd_error, truncated
from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.ledger import write_result

RANKS = (1, 2, 4, 8, 16, 32, 64)


class Cut(BaseModel):
    """A detector at a rank, against the whole one.

    Attributes:
        megabytes: of its adapter's file.
        lost: relative Frobenius error of a matrix's change, the median over matrices.
        largest: change of a picture's logit.
        usual: 95 % of the changes are no larger.
        auc: of these pictures.
    """

    megabytes: float
    lost: float
    largest: float
    usual: float
    auc: float


class Found(BaseModel):
    """All of it.

    Attributes:
        spread: standard deviation of the whole detector's logits, to hold changes against.
        whole: the detector as it was tuned.
        ranks: by rank.
    """

    bundle: str
    method: str
    pictures: int
    spread: float
    whole: Cut
    ranks: dict[int, Cut]


def logits(bundle: Bundle, samples: Sequence[Sample]) -> np.ndarray:
    """Of pictures that open, (N,)."""
    detector = load(bundle, runtime="torch", evidence=False, policy=Policy(stability=False))  # the others would keep a graph for each rank
    return np.array([report.logit for report in detector.detect_many([sample.file for sample in samples])])


def at_rank(bundle: Bundle, rank: int) -> Bundle:
    """A detector with the changes of its matrices cut to a rank."""
    adapter = truncated(bundle.adapter, rank)
    return replace(bundle, card=bundle.card.model_copy(update={"adapter_sha256": array_sha256(adapter)}), adapter=adapter)


def measure(bundle: Bundle, samples: Sequence[Sample], ranks: Sequence[int]) -> Found:
    """Score at each rank.

    Raises:
        ValueError: the bundle's tower was not tuned whole.
    """
    matrices = [change for name, change in bundle.adapter.items() if name.endswith(f".{DELTA}") and change.ndim > 1]
    if not matrices:
        raise ValueError(f"{bundle.folder}: holds no whole changes of matrices; train it by a method that moves the whole tower, without export_rank")
    fake, whole = np.array([sample.fake for sample in samples]), logits(bundle, samples)

    def cut(of: Bundle, found: np.ndarray, lost: float) -> Cut:
        changes = np.abs(found - whole)
        return Cut(
            megabytes=len(array_bytes(of.adapter)) / 1e6,
            lost=lost,
            largest=float(changes.max()),
            usual=float(np.quantile(changes, 0.95)),
            auc=float(roc_auc_score(fake, found)),
        )

    cuts = {}
    for rank in tqdm(ranks, "ranks", disable=None):
        smaller = at_rank(bundle, rank)
        cuts[rank] = cut(smaller, logits(smaller, samples), float(np.median([svd_error(change, rank) for change in matrices])))
    return Found(
        bundle=bundle.hash,
        method=bundle.card.method,
        pictures=len(samples),
        spread=float(whole.std()),
        whole=cut(bundle, whole, 0.0),
        ranks=cuts,
    )


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--ranks", type=int, nargs="+", default=list(RANKS))
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/export_rank.json"))
    options = parser.parse_args()
    samples = [sample for sample in read_manifest(options.data) if options.split in {"", sample.split}]
    found = measure(read_bundle(options.bundle), by_source(samples, options.pictures), options.ranks)
    write_result(options.output, found, [options.data])
    for rank, of in [*found.ranks.items(), ("whole", found.whole)]:
        print(f"{rank}: {of.megabytes:.1f} MB, logits within {of.largest:.4f} ({found.spread:.2f} is their spread), AUC {of.auc:.3f}")


if __name__ == "__main__":
    main()
