"""Estimators that are made of named ones, whose parameters have paths."""

from __future__ import annotations

from typing import Any

from sklearn.utils.metaestimators import _BaseComposition


class NamedSteps(_BaseComposition):
    """An estimator with a parameter `steps`, names and estimators, whose parameters have paths."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, with those of the steps by their paths.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        dict
        """
        return self._get_params("steps", deep=deep)

    def set_params(self, **params: Any) -> NamedSteps:
        """Set parameters, those of a step by its name, two underscores, and theirs.

        Parameters
        ----------
        **params

        Returns
        -------
        self
        """
        self._set_params("steps", **params)
        return self
