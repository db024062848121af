"""The checks of region steps: ours pass them, and steps with a fault do not."""

import pickle
import re
from dataclasses import replace
from numbers import Integral

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.utils._param_validation import Interval

import sklearn_cmac.regions
from sklearn_cmac import (
    BoxRegions,
    ClustererRegions,
    GridRegions,
    NCutClusterer,
    Regions,
    RegionUnion,
    SharedRegions,
    TreeRegions,
    WholeRegion,
)
from sklearn_cmac.regions import RegionStep
from sklearn_cmac.testing import check_region_step


def left_half(record):
    width, height = record.photo_size
    return [(0, 0, width / 2, height)]


STEPS = [
    GridRegions(),
    GridRegions(n_levels=2, stride=32),
    WholeRegion(),
    TreeRegions(),
    TreeRegions(spatial_weight=0, min_area=0, grow=0),
    NCutClusterer((2, 3), n_color_clusters=2),
    NCutClusterer(spatial_weight=0.6, grow=0.15),
    NCutClusterer(3, device="cpu"),
    ClustererRegions(DBSCAN(eps=1.0), spatial_weight=0.5),
    BoxRegions(),
    BoxRegions(left_half),
    RegionUnion([("squares", GridRegions()), ("cut", NCutClusterer(3))]),
    SharedRegions(NCutClusterer(3)),
]


def name_of(step):
    """The same in each process that collects tests, so without addresses of functions."""
    return re.sub(r" at 0x\w+", "", repr(step))


@pytest.mark.parametrize("step", STEPS, ids=name_of)
def test_region_types_of_this_package_pass(step):
    check_region_step(step)


def test_every_region_type_is_checked():
    public = [getattr(sklearn_cmac.regions, name) for name in sklearn_cmac.regions.__all__]
    types = {c for c in public if isinstance(c, type)} - {RegionStep}
    assert types == {type(step) for step in STEPS}


# -- steps with a fault -----------------------------------------------------------------------


class Columns(RegionStep):
    """A sound type: `width` columns of the map together."""

    _parameter_constraints = {"width": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, width=1):
        self.width = width

    def _propose(self, record):
        height, width = record.shape
        starts = range(0, width, self.width)
        windows = [(0, x, height, min(x + self.width, width)) for x in starts]
        return Regions.from_windows(windows, record.shape)


def test_a_sound_step_passes():
    check_region_step(Columns())
    check_region_step(Columns(width=2))


class CopiesInTheConstructor(Columns):
    def __init__(self, width=(1,)):
        self.width = list(width)


class SetsMoreInTheConstructor(Columns):
    def __init__(self, width=1):
        super().__init__(width)
        self.seen = 0


class ChangesAParameterInFit(Columns):
    def fit(self, X, y=None):
        self.width = max(self.width, 1) + 0.5
        return self


class LeavesAParameterUnchecked(Columns):
    _parameter_constraints = {}


class ChecksInFitOnly(Columns):
    def transform(self, X):
        width = self.width if isinstance(self.width, int) else 1
        return [replace(r, regions=Columns(width)._propose(r)) for r in X]


class WritesIntoRecords(Columns):
    def transform(self, X):
        for record in self._read(X):
            record.activations[0, 0] += 1
        return super().transform(X)


class SortsColorsInPlace(Columns):
    def _propose(self, record):
        record.colors.sort()
        record.colors.sort()
        return super()._propose(record)


class ForgetsTheEmbedding(Columns):
    def transform(self, X):
        return [replace(record, embedding=None) for record in super().transform(X)]


class TurnsPhotosAround(Columns):
    def transform(self, X):
        return super().transform(X)[::-1]


class LeavesPhotosOut(Columns):
    def transform(self, X):
        return [r for r in super().transform(X) if len(X) == 1 or r.shape != (1, 1)]


class ReturnsMasks(Columns):
    def _propose(self, record):
        return super()._propose(record).masks()


class SwapsHeightAndWidth(Columns):
    def _propose(self, record):
        height, width = record.shape
        return Regions.from_windows([(0, 0, width, height)], (width, height))


class NeedsTwoCells(Columns):
    def _propose(self, record):
        return Regions.from_cells([[1]], record.shape)


class LooksAtTheOthers(Columns):
    def _propose_each(self, records):
        return [Columns(min(len(records), 9))._propose(record) for record in records]


class GoesByTheName(Columns):
    def _propose(self, record):
        return Columns(3 if record.name == "photo-0" else 1)._propose(record)


class Draws(Columns):
    def transform(self, X):
        self._drawn = getattr(self, "_drawn", 0) + 1
        return [replace(r, regions=Columns(self._drawn)._propose(r)) for r in self._read(X)]


class DoesNotPickle(Columns):
    def __getstate__(self):
        return {**super().__getstate__(), "width": 2}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Columns, "takes an instance"),
        (CopiesInTheConstructor(), "keeps width as it was given"),
        (SetsMoreInTheConstructor(), r"assigns its parameters, \['width'\], and nothing else"),
        (ChangesAParameterInFit(), "fit of ChangesAParameterInFit leaves width as it was"),
        (LeavesAParameterUnchecked(), r"say what each of \['width'\] may be; they are of \[\]"),
        (ChecksInFitOnly(), "transform of ChecksInFitOnly refuses width"),
        (WritesIntoRecords(), "leaves records as it is given them.* changed activations"),
        (SortsColorsInPlace(), "leaves records as it is given them.* changed colors"),
        (ForgetsTheEmbedding(), "differ in their regions only, not in embedding"),
        (TurnsPhotosAround(), "keeps the order of photos; in photo-0's place is"),
        (LeavesPhotosOut(), "a record for each of 8 photos, not 7"),
        (ReturnsMasks(), "sets regions of type Regions"),
        (SwapsHeightAndWidth(), "regions of a 6x8 map have its shape"),
        (NeedsTwoCells(), "a map of any shape; of 1x1 cells it raised ValueError"),
        (LooksAtTheOthers(), "of a photo alone are those it has among others"),
        (GoesByTheName(), "do not depend on photos' names"),
        (Draws(), "the same regions when it is asked again"),
        (DoesNotPickle(), "proposes the same once it was pickled"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", repr(value)),
)
def test_a_fault_is_found_and_said(step, message):
    with pytest.raises(AssertionError, match=message):
        check_region_step(step)


class WantsToWrite(Columns):
    def _propose(self, record):
        record.activations[0, 0, 0] += 0
        return super()._propose(record)


def test_a_step_that_stored_maps_would_break_is_found():
    with pytest.raises(AssertionError, match="read-only, as those of stored maps are"):
        check_region_step(WantsToWrite())


def test_a_step_that_cannot_be_pickled_is_told_why():
    with pytest.raises(AssertionError, match="can be pickled.*top of a module.*lambda"):
        check_region_step(BoxRegions(lambda record: []))


def test_the_step_that_is_checked_stays_as_it_is():
    step = NCutClusterer(3)
    before = pickle.dumps(step)
    check_region_step(step)
    assert pickle.dumps(step) == before


class ChecksItsParameterItself(Columns):
    _parameter_constraints = {"width": "no_validation"}

    def _propose(self, record):
        return Columns(1)._propose(record)


def test_parameters_that_are_not_to_be_validated_are_left_alone():
    check_region_step(ChecksItsParameterItself())


def test_records_of_the_check_are_of_all_shapes():
    from sklearn_cmac.testing._regions import _records

    shapes = [record.shape for record in _records()]
    assert (1, 1) in shapes
    assert any(h == 1 < w for h, w in shapes)
    assert any(w == 1 < h for h, w in shapes)
    for one, other in zip(_records(), _records()):
        np.testing.assert_array_equal(one.embedding, other.embedding)
        assert one.embedding.shape[:2] == one.colors.shape[:2] == one.shape
