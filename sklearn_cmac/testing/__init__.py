"""Checks of steps and engines that others write, in the manner of `check_estimator`."""

from sklearn_cmac.testing._engines import check_engine, check_store
from sklearn_cmac.testing._regions import check_region_step
from sklearn_cmac.testing._steps import check_reranking_step

__all__ = ["check_engine", "check_region_step", "check_reranking_step", "check_store"]
