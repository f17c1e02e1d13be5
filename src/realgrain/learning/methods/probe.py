"""Linear probe of a frozen tower (UnivFD: Ojha, Li and Lee 2023): nothing hidden, nothing perturbed, nothing moves but the head.

Deviations from the paper: the head is fitted to its optimum by L-BFGS instead of some steps of AdamW; features are standardised first, and the
scaling is folded into the head; the penalty is far stronger, because a weakly penalised head learns what the pictures show (our choice, see the
recipe); the feature may be an earlier block's class token instead of the joint-space embedding. And ours: the head may be kept from looking along
the directions in which real pictures vary most, which are what the pictures show (nuisance attribute projection does so for speakers: Solomonoff,
Campbell and Boardman 2005).
"""

from __future__ import annotations

from typing import Any

import numpy as np

DEFAULTS: dict[str, Any] = {}


def fit(features: np.ndarray, fake: np.ndarray, weight: np.ndarray, *, penalty: float, content_directions: int = 0) -> dict[str, np.ndarray]:
    """Fit the head: logistic regression with an L2 penalty on standardised features.

    Args:
        features: (N, D) float32.
        fake: (N,) bool, true for AI-generated.
        weight: (N,) importance of each row; only ratios matter.
        penalty: minimises mean weighted log-loss + penalty / 2 * |w|^2, so that it does not depend on N. As it grows, the head turns to the
            difference of the two class means.
        content_directions: leading principal directions of the real rows that the head may not use.

    Returns:
        ``weight`` (D,) and ``bias`` (1,), float32, for features as they come; scaled so that training logits have unit standard deviation,
        because a strong penalty shrinks them to nothing and their scale is calibration's business.

    Raises:
        ValueError: no direction of the features that it may use differs between the classes.
    """
    from sklearn.linear_model import LogisticRegression

    share = weight / weight.sum()
    mean = share @ features
    spread = np.sqrt(share @ (features - mean) ** 2) + 1e-6
    standard = (features - mean) / spread
    content = _leading_directions(standard[~fake], share[~fake], content_directions)
    standard -= (standard @ content) @ content.T
    # scikit-learn minimises C * sum(weight * loss) + |w|^2 / 2; the shares sum to 1.
    model = LogisticRegression(C=1 / penalty, max_iter=2000, tol=1e-6).fit(standard, fake, sample_weight=share)
    direction, offset = model.coef_[0] - content @ (content.T @ model.coef_[0]), model.intercept_[0]
    found = standard @ direction
    unit = np.sqrt(share @ (found - share @ found) ** 2)
    if not unit > 0:
        raise ValueError("the features tell nothing of the label: there is no head to fit")
    scaled = direction / unit / spread
    return {"weight": scaled.astype(np.float32), "bias": np.array([offset / unit - scaled @ mean], np.float32)}


def _leading_directions(rows: np.ndarray, weight: np.ndarray, count: int) -> np.ndarray:
    """Orthonormal principal directions (D, count) of weighted rows (N, D), the one of most variance last."""
    share = weight / weight.sum()
    centred = (rows - share @ rows) * np.sqrt(share)[:, None]
    return np.linalg.eigh(centred.T @ centred)[1][:, rows.shape[1] - count :]


def logits(features: np.ndarray, head: dict[str, np.ndarray]) -> np.ndarray:
    """Logit (N,) of features (N, V, D): the mean over the V views, as the detector takes it."""
    return (features @ head["weight"] + head["bias"]).mean(axis=1)
