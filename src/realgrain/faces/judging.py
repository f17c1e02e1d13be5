"""How pictures are judged: the options that commands with a detector share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from realgrain.faces.options import Bundle, Offline, Runtime, Threads

if TYPE_CHECKING:
    from realgrain.detector.detect import Detector

TrustList = Annotated[Path | None, Parameter(help="Certificates in PEM whose C2PA signatures are trusted; without it, none is.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Judging:
    """Options, with their defaults."""

    runtime: Runtime = "onnxruntime"
    bundle: Bundle = None
    profile: Annotated[
        str | None, Parameter(help="Where the pictures come from: camera, web, screenshot, art, document, or one that `calibrate` made.")
    ] = None
    max_fpr: Annotated[float | None, Parameter(help="Share of real pictures that may be flagged at most, such as 0.01.")] = None
    prior: Annotated[float | None, Parameter(help="Share of AI-generated pictures among yours, such as 0.01, for a posterior.")] = None
    stability: Annotated[
        bool, Parameter(help="See whether a verdict survives a re-save, at the cost of six more pictures for each.", negative="--no-stability")
    ] = True
    evidence: Annotated[bool, Parameter(negative="--no-evidence", help="Say what each file says of itself; scores are the same either way.")] = True
    trust_list: TrustList = None
    fuse: Annotated[
        float | None,
        Parameter(
            help="Give a second probability too, with trusted C2PA claims of origin counted at this likelihood ratio, such as 100; the first "
            "and the verdict stay as they are."
        ),
    ] = None
    offline: Offline = False
    threads: Threads = None

    def load(self, *, many: bool = False) -> Detector:
        """The detector that they ask for.

        Args:
            many: as ``realgrain.detector.detect.load`` takes it.

        Raises:
            ValueError: they contradict each other, or name what there is not.
        """
        from realgrain.detector.decision import Policy
        from realgrain.detector.detect import load
        from realgrain.evidence.c2pa import read_trust_list

        policy = Policy(self.profile, self.max_fpr, self.prior, self.stability, self.fuse)
        trusted = None if self.trust_list is None else read_trust_list(self.trust_list)
        return load(
            self.bundle,
            runtime=self.runtime,
            offline=self.offline,
            threads=self.threads,
            many=many,
            evidence=self.evidence,
            trust_list=trusted,
            policy=policy,
        )


AS_USUAL = Judging()
