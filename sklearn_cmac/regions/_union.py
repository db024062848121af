"""The regions of several steps together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sklearn_cmac._named_steps import NamedSteps
from sklearn_cmac._steps import RecordStep
from sklearn_cmac.maps import ActivationMap, Regions, check_records


class RegionUnion(RecordStep, NamedSteps):
    """The regions that several steps propose, one after the other.

    Parameters
    ----------
    steps : sequence of (str, step)
        Names and region steps. Their parameters have paths, such as
        ``regions__squares__n_levels``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, GridRegions, RegionUnion, WholeRegion
    >>> union = RegionUnion([("squares", GridRegions()), ("whole", WholeRegion())])
    >>> record = ActivationMap.from_arrays(np.ones((6, 6, 8)))
    >>> len(union.fit_transform([record])[0].regions)
    15
    """

    def __init__(self, steps: Sequence[tuple[str, Any]]):
        self.steps = steps

    def fit(self, X: Any, y: Any = None) -> RegionUnion:
        """Fit the steps.

        Parameters
        ----------
        X : sequence of ActivationMap
        y : ignored

        Returns
        -------
        self
        """
        self._validate_names([name for name, _ in self.steps])
        for _, step in self.steps:
            step.fit(X)
        return self

    def transform(self, X: Any) -> list[ActivationMap]:
        """Propose regions.

        Parameters
        ----------
        X : sequence of ActivationMap

        Returns
        -------
        list of ActivationMap
            Copies that have `regions`. Their kinds are counted on from step to step.
        """
        records = check_records(X, self)
        found = zip(*(step.transform(records) for _, step in self.steps))
        return [
            replace(record, regions=_joined([part.regions for part in parts]))
            for record, parts in zip(records, found)
        ]


def _joined(parts: list[Regions]) -> Regions:
    cells = [region for regions in parts for region in regions]
    starts = np.cumsum([0, *(regions.kinds.max() + 1 for regions in parts[:-1])])
    kinds = np.concatenate([regions.kinds + start for regions, start in zip(parts, starts)])
    return Regions.from_cells(cells, parts[0].shape, kinds)
