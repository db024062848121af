"""Outlines of map cells, traced and drawn."""

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sklearn_cmac import Regions
from sklearn_cmac.inspection import (
    Outline,
    box_outline,
    numbered_outlines,
    outlines_of,
    svg_overlay,
    svg_path,
    trace_cells,
)
from sklearn_cmac.inspection._outlines import places_for_labels

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.booleans())


def area(polygon):
    """Signed, by the shoelace formula; with y downwards, clockwise is positive."""
    x, y = polygon.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


@given(masks)
def test_outlines_enclose_the_cells_and_nothing_else(mask):
    """By the area, and by the even-odd rule at the middle of each cell, with matplotlib's help."""
    path = pytest.importorskip("matplotlib.path", reason="needs matplotlib")
    polygons = trace_cells(mask)
    assert sum(map(area, polygons)) == mask.sum()
    inside = np.zeros(mask.shape, int)
    for polygon in polygons:
        closed = path.Path(np.vstack([polygon, polygon[:1]]))
        rows, cols = np.indices(mask.shape)
        middles = np.stack([cols.ravel(), rows.ravel()], axis=1) + 0.5
        inside += closed.contains_points(middles).reshape(mask.shape)
    np.testing.assert_array_equal(inside % 2 == 1, mask)


@given(masks)
def test_outlines_turn_at_each_of_their_points(mask):
    for polygon in trace_cells(mask):
        steps = np.roll(polygon, -1, axis=0) - polygon
        assert (np.count_nonzero(steps, axis=1) == 1).all()
        np.testing.assert_array_equal(np.sum(steps * np.roll(steps, 1, axis=0), axis=1), 0)


def test_a_ring_has_an_outline_and_a_hole():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    outer, hole = trace_cells(ring)
    assert outer.tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    assert hole.tolist() == [[1, 2], [2, 2], [2, 1], [1, 1]]


def test_cells_that_touch_at_a_corner_are_two_parts():
    assert [area(p) for p in trace_cells(np.eye(2, dtype=bool))] == [1, 1]


def test_outlines_are_scaled_to_the_part_of_the_photo_that_the_map_shows():
    regions = Regions.from_windows([(0, 1, 2, 2)], shape=(2, 4))
    ((polygon,),) = outlines_of(regions, (400, 300))
    assert polygon.tolist() == [[100, 0], [200, 0], [200, 300], [100, 300]]
    ((polygon,),) = outlines_of(regions, (400, 300), window=(20, 10, 60, 30))
    assert polygon.tolist() == [[30, 10], [40, 10], [40, 30], [30, 30]]


@given(masks)
def test_a_label_is_inside_its_region(mask):
    mask.flat[0] = True
    regions = Regions.from_cells([np.flatnonzero(mask)] * 3, mask.shape)
    for x, y in places_for_labels(regions, mask.shape[::-1]):
        assert mask[int(y), int(x)]


def test_labels_of_regions_that_lie_on_each_other_do_not():
    whole = Regions.from_cells([np.arange(16)] * 3, (4, 4))
    places = places_for_labels(whole, (40, 40))
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    assert distances[np.triu_indices(3, 1)].min() >= 10


@given(masks)
def test_lines_of_regions_that_lie_on_each_other_all_show(mask):
    """They run beside each other inside the region, none further than half a cell."""
    mask.flat[0] = True
    regions = Regions.from_cells([np.flatnonzero(mask)] * 3, mask.shape)
    size = 100 * mask.shape[1], 100 * mask.shape[0]
    areas = [
        sum(map(area, outline.polygons)) for outline in numbered_outlines(regions, [1, 2, 3], size)
    ]
    length = sum(
        np.abs(np.roll(polygon, -1, axis=0) - polygon).sum()
        for polygon in outlines_of(regions, size)[0]
    )
    assert 1e4 * mask.sum() > areas[0] > areas[1] > areas[2] > 1e4 * mask.sum() - 50 * length


def test_regions_that_share_no_border_are_outlined_at_it():
    regions = Regions.from_windows([(0, 0, 2, 2), (0, 2, 2, 4), (3, 1, 5, 3)], (6, 6))
    left, right, apart = (o.polygons[0] for o in numbered_outlines(regions, [1, 2, 3], (60, 60)))
    assert left.ravel() == pytest.approx([0.27, 0.27, 19.73, 0.27, 19.73, 19.73, 0.27, 19.73])
    assert right[0] == pytest.approx([20.81, 0.81])
    assert apart[0] == pytest.approx([10.27, 30.27])


def test_matching_numbers_have_matching_colours():
    regions = Regions.from_cells([[0], [1], [2]], (2, 2))
    query = {o.label: o.color for o in numbered_outlines(regions, [1, 2, 3], (8, 8))}
    photo = {o.label: o.color for o in numbered_outlines(regions, [3, 1, 2], (8, 8))}
    assert query == photo
    assert len(set(query.values())) == 3


def test_a_drawing_is_well_formed_and_its_labels_are_text():
    label = "<script>alert(1)</script> & \"'\u202e"
    outlines = [box_outline((1, 2, 30, 20), label), Outline([])]
    root = ElementTree.fromstring(svg_overlay(outlines, (64, 48)))
    assert [child.tag for child in root.iter()] == ["svg", "path", "path", "g", "rect", "text"]
    assert root[2][1].text == label[:-1] + "\\u202e"
    assert root[0].get("d") == "M1 2L30 2L30 20L1 20Z"


def test_paths_are_short():
    polygon = np.array([[1 / 3, 2], [1234567.89, 0.04]])
    assert svg_path([polygon]) == "M0.3 2L1234567.9 0Z"
    assert svg_path([polygon], digits=0) == "M0 2L1234568 0Z"
