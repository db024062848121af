"""Records, regions and the geometry between photo and map."""

import pickle

import numpy as np
import pytest

from sklearn_cmac import ActivationMap, PhotoError, Regions


def test_regions_of_labels_are_the_cells_that_share_one():
    labels = [[1, 0, 0, 1], [2, 2, 2, -1]]
    regions = Regions.from_labels(labels, (2, 2))
    assert [r.tolist() for r in regions] == [[1, 2], [0, 3], [0, 1, 2]]
    assert regions.kinds.tolist() == [0, 0, 1]
    assert regions.areas.tolist() == [2, 2, 3]
    np.testing.assert_array_equal(regions.masks()[1], [[True, False], [False, True]])


def test_regions_of_windows_are_their_cells():
    regions = Regions.from_windows([(0, 1, 2, 3)], (3, 4))
    assert regions[0].tolist() == [1, 2, 5, 6]
    with pytest.raises(IndexError):
        regions[1]


def test_regions_are_never_empty():
    with pytest.raises(ValueError, match="at least one cell"):
        Regions([0], [0, 0, 1], (1, 1))
    with pytest.raises(ValueError, match="at least one region"):
        Regions.from_cells([], (1, 1))


@pytest.mark.parametrize(
    ("indices", "indptr", "message"),
    [
        ([0, 6], [0, 2], "indices of a 2x3 map are 0 to 5, got 0 to 6"),
        ([-1, 2], [0, 2], "indices of a 2x3 map are 0 to 5, got -1 to 2"),
        ([2**32, 2], [0, 2], "indices of a 2x3 map are 0 to 5, got 2 to 4294967296"),
        ([0.5, 2], [0, 2], "indices of a 2x3 map are whole numbers in one row, got float64"),
        (
            [[0, 1]],
            [0, 2],
            r"indices of a 2x3 map are whole numbers in one row, got int64 of shape \(1, 2\)",
        ),
        ([0, 1], [1, 2], "indptr goes from 0 to the number of indices, 2; got 1 to 2"),
        ([0, 1], [0, 1], "indptr goes from 0 to the number of indices, 2; got 0 to 1"),
        ([0, 1], [0, 3], "indptr goes from 0 to the number of indices, 2; got 0 to 3"),
        ([0, 1], [0, 2, 1, 2], "region 1 goes from 2 to 1 in indptr"),
        ([0, 1], np.array([0, 2, 1, 2], np.uint8), "region 1 goes from 2 to 1 in indptr"),
        ([0, 1], [0.0, 2.0], "indptr are whole numbers in one row, got float64"),
        ([], [0], "at least one region"),
        ([3, 1, 3], [0, 3], "has a cell twice"),
        ([0, 1, 2, 2], [0, 2, 4], "has a cell twice"),
    ],
)
def test_regions_that_are_no_sets_of_cells_of_their_map_are_refused(indices, indptr, message):
    with pytest.raises(ValueError, match=message):
        Regions(indices, indptr, (2, 3))


def test_regions_share_cells_and_have_them_in_any_order():
    regions = Regions([5, 0, 3, 0, 5], [0, 3, 5], (2, 3))
    assert [r.tolist() for r in regions] == [[5, 0, 3], [0, 5]]


@pytest.mark.parametrize("kinds", [[0], [0, 0, 0], [0, -1], [0, 2**15], [0.0, 1.0], [[0, 0]]])
def test_regions_have_a_kind_each(kinds):
    with pytest.raises(ValueError, match="kinds"):
        Regions([0, 1], [0, 1, 2], (2, 3), kinds)


@pytest.mark.parametrize("shape", [(0, 3), (-2, -3), (2, 3, 1)])
def test_regions_are_of_a_map_with_rows_and_columns(shape):
    with pytest.raises(ValueError, match=r"a map's shape is \(H, W\)"):
        Regions([0], [0, 1], shape)


@pytest.mark.parametrize("labels", [[0, 1, 1], [[0] * 7], [[[0] * 6]]])
def test_labels_are_one_for_each_cell(labels):
    with pytest.raises(ValueError, match=r"labels of a 2x3 map are \(L, 6\), got"):
        Regions.from_labels(labels, (2, 3))


@pytest.mark.parametrize("window", [(0, 0, 3, 3), (0, 0, 2, 4), (-1, 0, 2, 3), (1, 1, 1, 2)])
def test_windows_lie_in_their_map(window):
    with pytest.raises(ValueError, match="does not lie in a 2x3 map"):
        Regions.from_windows([(0, 0, 1, 1), window], (2, 3))


@pytest.mark.parametrize(
    ("box", "rows", "cols"),
    [
        # 8 columns of 80 pixels with centres at 40, 120, …; 6 rows of 80 likewise.
        ((0, 0, 640, 480), (0, 6), (0, 8)),
        ((100, 130, 300, 290), (2, 4), (1, 4)),
        ((40, 40, 120, 120), (0, 2), (0, 2)),
        ((330, 250, 345, 260), (3, 4), (4, 5)),  # no centre inside: the nearest cell
        ((635, 475, 640, 480), (5, 6), (7, 8)),
    ],
)
def test_crop_keeps_the_cells_whose_centre_is_in_the_box(box, rows, cols):
    activations = np.arange(6 * 8 * 2.0).reshape(6, 8, 2)
    record = ActivationMap.from_arrays(activations, photo_size=(640, 480), name="a")
    cropped = record.crop(box)
    np.testing.assert_array_equal(cropped.activations, activations[slice(*rows), slice(*cols)])
    assert cropped.window == (80 * cols[0], 80 * rows[0], 80 * cols[1], 80 * rows[1])


def test_width_and_height_are_not_swapped():
    record = ActivationMap.from_arrays(np.zeros((2, 6, 1)), photo_size=(600, 200))
    assert record.crop((0, 0, 200, 200)).shape == (2, 2)
    assert record.crop((0, 0, 600, 100)).shape == (1, 6)


def test_crops_of_crops_stay_in_place():
    activations = np.arange(100.0).reshape(10, 10, 1)
    record = ActivationMap.from_arrays(activations, photo_size=(100, 100))
    twice = record.crop((20, 20, 80, 80)).crop((40, 30, 60, 60))
    np.testing.assert_array_equal(twice.activations, activations[3:6, 4:6])


def test_a_box_outside_names_the_photo():
    record = ActivationMap.from_arrays(np.zeros((2, 2, 1)), photo_size=(20, 20), name="a.jpg")
    with pytest.raises(PhotoError, match=r"^a\.jpg: the box"):
        record.crop((30, 30, 40, 40))


def test_records_refuse_arrays_of_another_shape():
    with pytest.raises(ValueError, match=r"a: activations are \(H, W, D\)"):
        ActivationMap.from_arrays(np.zeros((2, 2)), name="a")
    with pytest.raises(ValueError, match="colors have shape"):
        ActivationMap.from_arrays(np.zeros((2, 2, 4)), np.zeros((2, 3, 3)))


def test_records_pickle():
    record = ActivationMap.from_arrays(np.ones((2, 3, 4)), name="a", box=(0, 0, 1, 1))
    copy = pickle.loads(pickle.dumps(record))
    np.testing.assert_array_equal(copy.activations, record.activations)
    assert copy.as_query().shape == (1, 1)


def test_resized_regions_have_the_cells_whose_middles_they_hold():
    quarters = Regions.from_labels([[0, 1, 2, 3]], (2, 2))
    finer = quarters.resized((4, 4))
    assert finer[1].tolist() == [2, 3, 6, 7]
    assert [r.tolist() for r in finer.resized((2, 2))] == [[0], [1], [2], [3]]
    assert quarters.resized((2, 2)) is quarters
    # Nothing of a single fine cell is left in the middle of a coarse one.
    assert Regions.from_cells([[5], [0, 15]], (4, 4), [3, 4]).resized((2, 2))[0].tolist() == [0]
    assert Regions.from_cells([[5], [0, 15]], (4, 4), [3, 4]).resized((2, 2)).kinds.tolist() == [
        3,
        4,
    ]
