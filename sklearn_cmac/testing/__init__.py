"""Checks of steps that others write, in the manner of scikit-learn's `check_estimator`."""

from sklearn_cmac.testing._regions import check_region_step

__all__ = ["check_region_step"]
