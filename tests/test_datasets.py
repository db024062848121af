"""Folders of photos, and scenes made on the spot."""

import numpy as np
import pytest
from PIL import Image

from sklearn_cmac import PhotoError
from sklearn_cmac.datasets import find_photos, load_photo_folder, make_object_scenes


@pytest.fixture
def folder(tmp_path):
    for name in ("tower/a.jpg", "tower/b.PNG", "bridge/c.webp", "_other/d.jpg", "e.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(path)
    (tmp_path / "tower" / "notes.txt").write_text("no photo")
    (tmp_path / "tower" / "._a.jpg").write_bytes(b"what some systems leave behind")
    return tmp_path


def test_photos_are_found_in_sub_folders(folder):
    names = [str(p.relative_to(folder)) for p in find_photos(folder)]
    assert names == ["_other/d.jpg", "bridge/c.webp", "e.jpg", "tower/a.jpg", "tower/b.PNG"]
    with pytest.raises(PhotoError, match="is not a folder"):
        find_photos(folder / "none")
    (folder / "empty").mkdir()
    with pytest.raises(PhotoError, match="has no image file"):
        find_photos(folder / "empty")


def test_sub_folders_are_labels(folder):
    bunch = load_photo_folder(folder)
    assert bunch.target == ["", "bridge", "", "tower", "tower"]
    assert "5 photos of 2 instances" in bunch.DESCR


def test_tables_give_labels_and_boxes(folder):
    (folder / "labels.csv").write_text("filename,instance,size\ntower/a.jpg,t,9\ne.jpg,,8\n")
    (folder / "boxes.csv").write_text("filename,x0,y0,x1,y1\ntower/a.jpg,1,2,30.5,20\n")
    bunch = load_photo_folder(folder, folder / "labels.csv", folder / "boxes.csv")
    assert bunch.target == ["t", ""]
    assert [photo.box for photo in bunch.photos] == [(1, 2, 30.5, 20), None]


@pytest.mark.parametrize(
    ("labels", "boxes", "reason"),
    [
        ("filename,instance\nnone.jpg,t\n", None, "1 of 1 photos .* first is none.jpg"),
        ("file,instance\n", None, r"lacks the columns \['filename'\]"),
        ("filename,instance\ne.jpg,t\n", "filename,x0,y0,x1,y1\nf.jpg,1,2,3,4\n", "not among"),
        ("filename,instance\ne.jpg,t\n", "filename,x0,y0,x1,y1\ne.jpg,9,2,3,4\n", "is empty"),
    ],
)
def test_tables_that_do_not_fit_are_refused(folder, labels, boxes, reason):
    (folder / "labels.csv").write_text(labels)
    if boxes:
        (folder / "boxes.csv").write_text(boxes)
    with pytest.raises(PhotoError, match=reason):
        load_photo_folder(folder, folder / "labels.csv", boxes and folder / "boxes.csv")


def test_scenes_are_seeded_labelled_and_boxed():
    make = {"n_objects": 3, "n_scenes": 2, "n_distractors": 2, "size": (320, 240)}
    scenes, again = make_object_scenes(**make), make_object_scenes(**make)
    assert scenes.target == ["object-00"] * 2 + ["object-01"] * 2 + ["object-02"] * 2 + [""] * 2
    for photo, copy in zip(scenes.photos, again.photos):
        assert photo.source.shape == (240, 320, 3)
        np.testing.assert_array_equal(photo.source, copy.source)
        assert photo.box == copy.box
    other = make_object_scenes(**make, random_state=1)
    assert (other.photos[0].source != scenes.photos[0].source).any()
    assert [photo.box is None for photo in scenes.photos] == [False] * 6 + [True] * 2


def test_the_object_is_in_its_box_and_nowhere_else(rng):
    """Pasted from a red photo on green ones, it is all that is red."""
    red = np.zeros((200, 300, 3), np.uint8)
    red[..., 0] = rng.integers(150, 255, (200, 300))
    green = np.zeros((300, 300, 3), np.uint8)
    green[..., 1] = 180
    scenes = make_object_scenes(1, 4, 0, size=(320, 240), sources=[red, green])
    for photo in scenes.photos:
        reddish = photo.source[..., 0].astype(int) > photo.source[..., 1]
        x0, y0, x1, y1 = map(int, photo.box)
        assert reddish[y0:y1, x0:x1].mean() > 0.4
        reddish[y0:y1, x0:x1] = False
        assert not reddish.any()


def test_one_source_is_too_few(pixels):
    with pytest.raises(PhotoError, match="at least 2 source photos, got 1"):
        make_object_scenes(sources=[pixels])
