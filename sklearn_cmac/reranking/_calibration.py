"""How probable it is that two photos show one object, by how many local features agree.

D. Platt, "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized
Likelihood Methods", Advances in Large Margin Classifiers, 1999: a logistic curve of the score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

# Intercept and slope of the log-odds over log(1 + inliers).
Calibration = tuple[float, float]

# By what is matched, and how.
CALIBRATIONS: dict[str, Calibration] = {
    "SIFT, ratio": (-11.3, 6.0),
    "XFeat, nearest": (-12.3, 6.0),
    "XFeat, LightGlue": (-16.3, 6.0),
    "ALIKED, nearest": (-12.3, 6.0),
    "ALIKED, LightGlue": (-16.3, 6.0),
}


def same_object_probability(
    n_inliers: ArrayLike, calibration: str | Calibration = "XFeat, nearest"
) -> np.ndarray:
    """Probability that two photos show one object, by how many of their features agree.

    Parameters
    ----------
    n_inliers : array-like
        Features that agree with one map of the plane.
    calibration : str or (float, float), default="XFeat, nearest"
        What was matched and how: a key of ``reranking.CALIBRATIONS``, or what `fit_calibration`
        returned.

    Returns
    -------
    ndarray of float64
        ``1 / (1 + exp(-intercept - slope * log(1 + n_inliers)))``.

    Raises
    ------
    ValueError
        If there is no such key.

    Examples
    --------
    >>> from sklearn_cmac.search import same_object_probability
    >>> same_object_probability([3, 9, 39], (-10.0, 5.0)).round(3)
    array([0.044, 0.819, 1.   ])
    """
    if isinstance(calibration, str):
        if calibration not in CALIBRATIONS:
            known = ", ".join(map(repr, CALIBRATIONS))
            raise ValueError(f"calibration is {calibration!r}; there are {known}")
        calibration = CALIBRATIONS[calibration]
    intercept, slope = calibration
    return expit(intercept + slope * np.log1p(np.asarray(n_inliers, np.float64)))


def fit_calibration(
    n_inliers: ArrayLike, same: ArrayLike, prior: float | None = None
) -> Calibration:
    """The curve of `same_object_probability` for photos, an extractor and a matcher of one's own.

    Parameters
    ----------
    n_inliers : array-like of shape (n_pairs,)
        As `SpatialVerification.compare` counts them in pairs of photos.
    same : array-like of bool of shape (n_pairs,)
        Whether the two show the same object.
    prior : float, optional
        How often a pair shows the same object where the curve is to be used, if that is known and
        other than in these pairs: 0.1 if one in ten candidates does.

    Returns
    -------
    intercept, slope : float
        Of the log-odds over ``log(1 + n_inliers)``, by logistic regression.

    Raises
    ------
    ValueError
        If all pairs show the same object, or none does.

    References
    ----------
    G. King, L. Zeng, "Logistic Regression in Rare Events Data", Political Analysis 2001, for the
    prior.

    Examples
    --------
    >>> from sklearn_cmac.search import fit_calibration, same_object_probability
    >>> inliers, same = [0, 3, 5, 6, 8, 12, 30, 90], [0, 0, 0, 1, 0, 1, 1, 1]
    >>> curve = fit_calibration(inliers, same)
    >>> same_object_probability([4, 40], curve).round(1)
    array([0.2, 1. ])
    """
    same = np.asarray(same, bool)
    if same.all() or not same.any():
        raise ValueError(
            f"a calibration needs pairs that show the same object and pairs that do not; of these "
            f"{len(same)}, {same.sum()} do"
        )
    amounts = np.log1p(np.asarray(n_inliers, np.float64))[:, None]
    # Regularised a little: where a number of inliers separates the pairs, the slope has an end.
    curve = LogisticRegression(C=100).fit(amounts, same)
    intercept, slope = float(curve.intercept_[0]), float(curve.coef_[0, 0])
    if prior is not None:
        intercept += float(logit(prior) - logit(same.mean()))
    return intercept, slope
