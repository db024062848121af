"""Checks that anybody can run on steps and engines of their own."""

from sklearn_cmac.testing._engines import check_engine
from sklearn_cmac.testing._steps import check_reranking_step

__all__ = ["check_engine", "check_reranking_step"]
