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

# By what is matched, and how. That of "XFeat, nearest" was fitted to 3300 pairs: 22 boxed queries
# of 565 photos of landmarks, each with its first 150 photos behind region matching and candidate
# neighbours, of which one in ten shows the query's landmark. That of "XFeat, LightGlue" was fitted
# to 346 of these pairs, which that leaves open: those of the first 100 in which 3 to 24 features
# agree, 30 of a query at most; four in ten show the query's landmark. That of "ALIKED, nearest" was
# fitted to 5700 pairs of whole photos of landmarks and of Paris, 352 of them of one landmark, as if
# that were one in ten. The others were fitted to nothing: they are 0.5 at `MIN_INLIERS`.
CALIBRATIONS: dict[str, Calibration] = {
    "SIFT, ratio": (-8.9, 4.6),
    "XFeat, nearest": (-10.5, 4.6),
    "XFeat, LightGlue": (-7.4, 3.1),
    "ALIKED, nearest": (-4.9, 3.0),
    "ALIKED, LightGlue": (-14.0, 4.6),
}

# By the same, with fewer features that agree a photo is not verified: some always do by chance.
MIN_INLIERS = {
    "SIFT, ratio": 6,
    "XFeat, nearest": 8,
    "XFeat, LightGlue": 15,
    "ALIKED, nearest": 8,
    "ALIKED, LightGlue": 20,
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
        ``1 / (1 + exp(-intercept - slope * log(1 + n_inliers)))``. Nearly 0 where none agree: then
        nothing of the object is seen to be the same, as in views of two sides of it.

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
        As `SpatialVerification.compare` counts them in pairs of photos. The curve is fitted to
        pairs in which some features agree: views of two sides of an object say nothing.
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
        If of pairs in which features agree all show the same object, or none does.

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
    array([0.1, 1. ])
    """
    counts, same = np.asarray(n_inliers, np.float64), np.asarray(same, bool)
    some = counts > 0
    n_same = int(same[some].sum())
    if not 0 < n_same < some.sum():
        raise ValueError(
            f"a calibration needs pairs that show the same object and pairs that do not; of "
            f"{some.sum()} in which features agree, {n_same} do"
        )
    # Regularised a little: where a number of inliers separates the pairs, the slope has an end.
    curve = LogisticRegression(C=100).fit(np.log1p(counts[some])[:, None], same[some])
    intercept, slope = float(curve.intercept_[0]), float(curve.coef_[0, 0])
    if prior is not None:
        intercept += float(logit(prior) - logit(same.mean()))
    return intercept, slope
