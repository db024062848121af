"""Estimators that are made of named ones, whose parameters have paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn_cmac._scikit_learn import _BaseComposition


class NamedSteps(_BaseComposition):
    """An estimator with a parameter `steps`, names and estimators, whose parameters have paths."""

    steps: Sequence[tuple[str, Any]]

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
        # scikit-learn exchanges entries of a list only.
        if "steps" not in params and isinstance(self.steps, tuple) and self.steps:
            self.steps = list(self.steps)
        self._set_params("steps", **params)
        return self
