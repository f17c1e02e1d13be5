"""Linear probe of a frozen tower (UnivFD: Ojha, Li and Lee 2023): nothing hidden, nothing perturbed, nothing moves but the head.

Deviations from the paper: the head is fitted to its optimum by L-BFGS instead of some steps of AdamW; features are standardised first, and the
scaling is folded into the head. What a recipe may change: the penalty, because a weakly penalised head learns what the pictures show; the feature,
which may be an earlier block's class token instead of the joint-space embedding. And ours: the head may be kept from looking along the directions in
which real pictures vary most, which are what the pictures show (nuisance attribute projection does so for speakers: Solomonoff, Campbell and Boardman
2005). Method ``realgrain`` uses all three.
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
        content_directions: leading principal directions of the real rows that the head may not use; fewer than D.

    Returns:
        ``weight`` (D,) and ``bias`` (1,), float32, for features as they come; scaled so that training logits have unit standard deviation,
        because a strong penalty shrinks them to nothing and their scale is calibration's business.

    Raises:
        ValueError: no direction of the features that it may use differs between the classes, or none is left.
    """
    from sklearn.linear_model import LogisticRegression

    share = weight / weight.sum()
    standard, mean, spread, content = _standardised(features, fake, share, content_directions)
    # scikit-learn minimises C * sum(weight * loss) + |w|^2 / 2; the shares sum to 1.
    model = LogisticRegression(C=1 / penalty, max_iter=2000, tol=1e-6).fit(standard, fake, sample_weight=share)
    direction = model.coef_[0] - content @ (content.T @ model.coef_[0])
    return _scaled(direction, model.intercept_[0], standard @ direction, share, mean, spread)


def refit(
    features: np.ndarray,
    fake: np.ndarray,
    weight: np.ndarray,
    head: dict[str, np.ndarray],
    known: np.ndarray,
    *,
    penalty: float,
    content_directions: int = 0,
) -> dict[str, np.ndarray]:
    """Fit the head again on other rows, not far from where it is: as ``fit``, but what is penalised is its way from the old head.

    The old head's own scale was divided out of it. It is taken to be the one that is best on the known rows under the same penalty.

    Args:
        features: (N, D) float32.
        fake: (N,) bool, true for AI-generated.
        weight: (N,) importance of each row; only ratios matter.
        head: the old one.
        known: (N,) bool, rows like those that the old head learned from.
        penalty: minimises mean weighted log-loss + penalty / 2 * |w - old w|^2, on standardised features.
        content_directions: leading principal directions of the real rows along which the head may not move.

    Returns:
        As ``fit``.

    Raises:
        ValueError: the head tells nothing of the rows.
    """
    from scipy.optimize import minimize

    share = weight / weight.sum()
    standard, mean, spread, content = _standardised(features, fake, share, content_directions)
    old = head["weight"].astype(np.float64) * spread
    sign = np.where(fake, 1.0, -1.0)

    def loss(logits: np.ndarray, importance: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean log-loss, and its slope by each logit."""
        return float(importance @ np.logaddexp(0, -sign * logits)), -importance * sign / (1 + np.exp(np.minimum(sign * logits, 700)))

    before = ((features - mean) / spread) @ old

    def scaling(scale: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss(scale[0] * before + scale[1], share * known / share[known].sum())
        return value + penalty / 2 * scale[0] ** 2 * (old @ old), np.array([slope @ before + penalty * scale[0] * (old @ old), slope.sum()])

    size = float(minimize(scaling, np.zeros(2), jac=True, method="L-BFGS-B").x[0])

    def moving(place: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss(size * before + standard @ place[:-1] + place[-1], share)
        return value + penalty / 2 * float(place[:-1] @ place[:-1]), np.append(slope @ standard + penalty * place[:-1], slope.sum())

    options = {"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-7}
    found = minimize(moving, np.zeros(standard.shape[1] + 1), jac=True, method="L-BFGS-B", options=options).x
    move = found[:-1] - content @ (content.T @ found[:-1])
    return _scaled(size * old + move, found[-1], size * before + standard @ move, share, mean, spread)


def _standardised(
    features: np.ndarray, fake: np.ndarray, share: np.ndarray, content_directions: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardised features (N, D) without the real rows' leading directions; the mean (D,) and spread (D,); those directions (D, count)."""
    if content_directions >= features.shape[1]:
        raise ValueError(f"{content_directions} content directions leave nothing of features of {features.shape[1]} values")
    mean = share @ features
    spread = np.sqrt(share @ (features - mean) ** 2) + 1e-6
    standard = (features - mean) / spread
    content = _leading_directions(standard[~fake], share[~fake], content_directions)
    return standard - (standard @ content) @ content.T, mean, spread, content


def _scaled(
    direction: np.ndarray, offset: float, found: np.ndarray, share: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> dict[str, np.ndarray]:
    """A head for features as they come, of one for standardised features, divided by the standard deviation of what it finds (N,)."""
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
