"""What every step that proposes regions must do, checked on small records made here."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklearn_cmac.aggregation import L2Aggregator
from sklearn_cmac.maps import ActivationMap, Regions
from sklearn_cmac.pooling import ClusterMaxPooler
from sklearn_cmac.whitening import RegionWhitener

_SHAPES = [(6, 8), (8, 6), (5, 5), (1, 1), (1, 7), (4, 1), (2, 3)]
_PIXELS_PER_CELL = 16


def check_region_step(step: Any) -> None:
    """Check that a step keeps the contract of steps that propose regions.

    It runs the step on small activation maps with embedding, colours and boxes, some of them of
    a single row or cell, that are drawn anew from the same seed each time.

    Parameters
    ----------
    step : estimator
        An instance, with the parameters to check it with. It is cloned, not fitted.

    Raises
    ------
    AssertionError
        With a message that says what is expected of a region step, and what this one did.

    Notes
    -----
    What is asked of a step:

    - Its constructor assigns its parameters and does nothing else; `get_params`, `set_params`
      and `clone` work.
    - Wrong parameters are refused by `fit`, and by `transform` if they are set later.
    - It returns a copy of each record, in order, that has regions and is the same otherwise.
    - A map of any shape has at least one region, and its regions lie in it.
    - The regions of a photo depend neither on other photos nor on names, and are the same when it
      is asked again, or has been pickled.
    - A pooler, whitening and aggregation make descriptors of them.

    Examples
    --------
    >>> from sklearn_cmac import TreeRegions
    >>> from sklearn_cmac.testing import check_region_step
    >>> check_region_step(TreeRegions(min_area=0.2))
    """
    assert not isinstance(step, type), f"check_region_step takes an instance, got {step}"
    name = type(step).__name__
    _check_constructor(step, name)
    _check_parameters(step, name)
    _check_regions(step, name)
    _check_copies(step, name)
    _check_wrong_parameters(step, name)
    _check_independence(step, name)
    _check_pipeline(step, name)


def _records() -> list[ActivationMap]:
    """A record of each shape, and a part of the first, as a query cropped to its box has it."""
    rng = np.random.default_rng(0)
    records = []
    for i, (height, width) in enumerate(_SHAPES):
        activations = np.maximum(rng.standard_normal((height, width, 6)), 0).astype(np.float32)
        colors = rng.integers(0, 255, (height, width, 3), np.uint8)
        size = width * _PIXELS_PER_CELL, height * _PIXELS_PER_CELL
        box = (0.0, 0.0, 0.6 * size[0], 0.6 * size[1]) if i % 2 else None
        record = ActivationMap.from_arrays(
            activations, colors, name=f"photo-{i}", photo_size=size, box=box
        )
        embedding = rng.standard_normal((height, width, 3)).astype(np.float32)
        records.append(replace(record, embedding=embedding))
    crop = records[0].crop((30, 20, 110, 70))
    embedding = rng.standard_normal((*crop.shape, 3)).astype(np.float32)
    return [*records, replace(crop, name="crop", embedding=embedding)]


def _fitted(step: Any) -> Any:
    return clone(step).fit(_records())


def _cells(step: Any, records: Sequence[ActivationMap]) -> list[list[list[int]]]:
    """The cells of each region of each record."""
    return [[cells.tolist() for cells in record.regions] for record in step.transform(records)]


def _check_constructor(step: Any, name: str) -> None:
    params = step.get_params(deep=False)
    made = type(step)(**params)
    assert made.__dict__.keys() == params.keys(), (
        f"the constructor of {name} assigns its parameters, {sorted(params)}, and nothing else; it "
        f"set {sorted(made.__dict__)}"
    )
    for key, value in params.items():
        assert getattr(made, key) is value, (
            f"the constructor of {name} keeps {key} as it was given; checks and copies of it are "
            "for `fit` and `transform`"
        )


def _check_parameters(step: Any, name: str) -> None:
    params = step.get_params(deep=False)
    copy = clone(step)
    assert repr(copy) == repr(step), f"clone makes an equal {name}: {copy!r} is not {step!r}"
    assert copy.set_params(**params) is copy, f"set_params of {name} returns the step itself"
    for key, value in params.items():
        assert copy.get_params(deep=False)[key] is value, (
            f"get_params returns what was set as {key}"
        )
    copy.fit(_records())
    for key, value in params.items():
        assert copy.get_params(deep=False)[key] is value, f"fit of {name} leaves {key} as it was"


def _check_wrong_parameters(step: Any, name: str) -> None:
    params = step.get_params(deep=False)
    constraints = getattr(step, "_parameter_constraints", {})
    assert constraints.keys() == params.keys(), (
        f"_parameter_constraints of {name} say what each of {sorted(params)} may be; they are of "
        f"{sorted(constraints)}"
    )
    for key in params:
        if constraints[key] == "no_validation":
            continue
        for method in ("fit", "transform"):
            refusal = _refusal(_fitted(step).set_params(**{key: object()}), method)
            assert refusal is not None, (
                f"{method} of {name} refuses {key}=object(); a RegionStep does, by its "
                "_parameter_constraints, unless it overrides `fit` or `transform`"
            )
            assert key in refusal, (
                f"{method} of {name} names the parameter that is wrong, {key}; it says: {refusal}"
            )


def _refusal(step: Any, method: str) -> str | None:
    try:
        getattr(step, method)(_records())
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _check_regions(step: Any, name: str) -> None:
    fitted = _fitted(step)
    for record in _records():
        height, width = record.shape
        try:
            found = fitted.transform([record])
        except Exception as error:
            raise AssertionError(
                f"{name} proposes regions of a map of any shape; of {height}x{width} cells it "
                f"raised {error!r}"
            ) from error
        assert isinstance(found, list), f"transform of {name} returns a list, not {type(found)}"
        assert [type(entry) for entry in found] == [ActivationMap], (
            f"transform of {name} returns an ActivationMap for each photo; for one it returned "
            f"{found}"
        )
        regions = found[0].regions
        assert isinstance(regions, Regions), f"{name} sets regions of type Regions, not {regions!r}"
        assert regions.shape == record.shape, (
            f"regions of a {height}x{width} map have its shape; {name} made {regions}"
        )
        assert len(regions) > 0, f"{name} proposes at least one region; the whole map, if no other"
        assert regions.areas.min() > 0, f"{name} proposes regions of at least one cell each"
        assert 0 <= regions.indices.min() <= regions.indices.max() < height * width, (
            f"regions of {name} consist of cells 0 to {height * width - 1} of {height}x{width}"
        )


def _check_copies(step: Any, name: str) -> None:
    given = _records()
    found = _fitted(step).transform(given)
    assert len(found) == len(given), (
        f"transform of {name} returns a record for each of {len(given)} photos, not {len(found)}"
    )
    for record, after, before in zip(given, found, _records()):
        assert after.name == before.name, (
            f"transform of {name} keeps the order of photos; in {before.name}'s place is "
            f"{after.name}"
        )
        changed = _differing_fields(record, before, "regions")
        assert not changed, (
            f"{name} leaves records as it is given them, and sets regions of copies; it changed "
            f"{', '.join(changed)} of {before.name}"
        )
        changed = _differing_fields(after, before)
        assert not changed, (
            f"copies by {name} differ in their regions only, not in {', '.join(changed)}"
        )
    try:
        _fitted(step).transform([_read_only(record) for record in _records()])
    except ValueError as error:
        raise AssertionError(
            f"{name} takes arrays that are read-only, as those of stored maps are; it raised "
            f"{error!r}"
        ) from error


def _differing_fields(a: ActivationMap, b: ActivationMap, *more: str) -> list[str]:
    fields = ("name", "photo_size", "window", "box", "activations", "colors", "embedding", *more)
    return [field for field in fields if not np.array_equal(getattr(a, field), getattr(b, field))]


def _read_only(record: ActivationMap) -> ActivationMap:
    for array in (record.activations, record.colors, record.embedding):
        if array is not None:
            array.flags.writeable = False
    return record


def _check_independence(step: Any, name: str) -> None:
    records, fitted = _records(), _fitted(step)
    together = _cells(fitted, records)
    assert _cells(fitted, records) == together, (
        f"{name} proposes the same regions when it is asked again; an integer random_state, used "
        "anew for each photo, gives each the same draw"
    )
    alone = [_cells(fitted, [record])[0] for record in records]
    assert alone == together, f"regions by {name} of a photo alone are those it has among others"
    backwards = _cells(fitted, records[::-1])[::-1]
    assert backwards == together, f"regions by {name} do not depend on the order of photos"
    renamed = [replace(record, name="photo") for record in records]
    assert _cells(fitted, renamed) == together, f"regions by {name} do not depend on photos' names"
    try:
        pickled = pickle.loads(pickle.dumps(fitted))
    except Exception as error:
        raise AssertionError(
            f"{name} can be pickled, as pipelines are kept by it: its class is at the top of a "
            f"module or script, and its parameters can be pickled; it raised {error!r}"
        ) from error
    assert _cells(pickled, records) == together, f"{name} proposes the same once it was pickled"


def _check_pipeline(step: Any, name: str) -> None:
    pipeline = make_pipeline(
        clone(step), ClusterMaxPooler(), RegionWhitener(shrinkage=1.0), L2Aggregator()
    ).set_output(transform="default")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "whitening", UserWarning)  # of a few regions
        descriptors = pipeline.fit_transform(_records())
    assert len(descriptors) == len(_records()), f"a pipeline with {name} describes each photo"
    np.testing.assert_allclose(
        np.linalg.norm(descriptors, axis=1),
        1,
        rtol=1e-4,
        err_msg=f"descriptors of a pipeline with {name} have unit length",
    )
