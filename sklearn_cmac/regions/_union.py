"""The regions of several steps together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._named_steps import NamedSteps
from sklearn_cmac._scikit_learn import InvalidParameterError
from sklearn_cmac.maps import ActivationMap, Records, Regions
from sklearn_cmac.regions._step import RegionStep


class RegionUnion(RegionStep, NamedSteps):
    """The regions that several steps propose, one after the other.

    Parameters
    ----------
    steps : list of (str, step)
        Names and region steps, or pipelines that end in one. Their parameters have paths, such
        as ``regions__squares__n_levels``.

    Notes
    -----
    Kinds of regions are counted on from step to step.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, GridRegions, RegionUnion, WholeRegion
    >>> union = RegionUnion([("squares", GridRegions()), ("whole", WholeRegion())])
    >>> record = ActivationMap.from_arrays(np.ones((6, 6, 8)))
    >>> len(union.fit_transform([record])[0].regions)
    15
    """

    _parameter_constraints: dict = {"steps": [list, tuple]}

    def __init__(self, steps: Sequence[tuple[str, RegionStep | Pipeline]]):
        self.steps = steps

    def fit(self, X: Records, y: object = None) -> RegionUnion:
        """Fit the steps.

        Parameters
        ----------
        X : sequence of ActivationMap
        y : ignored

        Returns
        -------
        self
        """
        records = self._read(X)
        for _, step in self.steps:
            step.fit(records)
        return self

    def _validate_params(self) -> None:
        super()._validate_params()
        if not self.steps:
            raise InvalidParameterError("steps of RegionUnion are at least one, got none")
        for entry in self.steps:
            if not _is_named(entry):
                raise InvalidParameterError(f"steps of RegionUnion are (name, step), got {entry!r}")
            name, step = entry
            if not _proposes(step):
                raise InvalidParameterError(
                    f"steps of RegionUnion are any RegionStep, or pipelines that end in one; "
                    f"{name!r} is {step!r}, which proposes no regions"
                )
        self._validate_names([name for name, _ in self.steps])

    def _propose_each(self, records: list[ActivationMap]) -> Iterator[Regions]:
        for parts in zip(*(step.transform(records) for _, step in self.steps)):
            yield _joined([part.regions for part in parts])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Before `fit` has looked at them, steps may be anything.
        with suppress(AttributeError, TypeError, ValueError):
            tags.requires_fit = any(get_tags(step).requires_fit for _, step in self.steps)
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        try:
            for _, step in self.steps:
                check_is_fitted(step)
        except NotFittedError:
            return False
        return True


def _is_named(entry: object) -> bool:
    return isinstance(entry, (tuple, list)) and len(entry) == 2 and isinstance(entry[0], str)


def _proposes(step: object) -> bool:
    """Whether it is a region step, or a pipeline that ends in one."""
    return isinstance(step[-1] if isinstance(step, Pipeline) else step, RegionStep)


def _joined(parts: list[Regions]) -> Regions:
    cells = [region for regions in parts for region in regions]
    starts = np.cumsum([0, *(regions.kinds.max() + 1 for regions in parts[:-1])])
    kinds = np.concatenate([regions.kinds + start for regions, start in zip(parts, starts)])
    return Regions.from_cells(cells, parts[0].shape, kinds)
