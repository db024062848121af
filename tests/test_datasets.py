"""Folders of photos, and scenes made on the spot."""

import os
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from sklearn.utils import Bunch

from sklearn_cmac import Photo, PhotoError, formats
from sklearn_cmac.datasets import (
    add_distractors,
    as_benchmark,
    find_photos,
    load_photo_folder,
    make_object_scenes,
)
from sklearn_cmac.datasets._tables import read_table


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


def test_hidden_folders_are_skipped_as_hidden_files_are(folder):
    (folder / ".thumbnails").mkdir()
    Image.new("RGB", (8, 6)).save(folder / ".thumbnails" / "a.jpg")
    assert len(find_photos(folder)) == 5


def test_whatever_pillow_opens_is_found_and_what_starts_programs_is_not(tmp_path):
    picture = Image.new("RGB", (40, 30))
    forms = {
        "a.jfif": "JPEG", "b.jpe": "JPEG", "c.mpo": "MPO", "d.j2k": "JPEG2000", "e.tga": "TGA",
        "f.pgm": "PPM", "g.qoi": "QOI",
    }  # fmt: skip
    for name, form in forms.items():
        picture.save(tmp_path / name, form)
    for name in ("page.eps", "page.ps", "page.pdf", "page.wmf", "film.mpg", "features.h5"):
        (tmp_path / name).touch()
    with pytest.warns(UserWarning, match=r"3 files .*\(\.eps 1, \.ps 1, \.wmf 1\)"):
        assert [path.name for path in find_photos(tmp_path)] == list(forms)


def test_photos_that_cannot_be_opened_are_counted_by_their_ending(folder, monkeypatch):
    monkeypatch.setattr(formats, "has_heif", lambda: False)
    for name in ("tower/IMG_1.HEIC", "tower/IMG_2.heic", "raw.nef", "._raw.nef"):
        (folder / name).touch()
    told = r"3 files were left out, whose format cannot be read \(\.heic 2, \.nef 1\)"
    with pytest.warns(
        UserWarning, match=rf"{told}; to read \.heic: pip install sklearn-cmac\[heic]"
    ):
        assert len(find_photos(folder)) == 5
    (folder / "phone").mkdir()
    (folder / "phone" / "IMG_3.heic").touch()
    with pytest.raises(PhotoError, match=r"has no image file.*; 1 file was left out.*\.heic 1"):
        find_photos(folder / "phone")


def test_endings_of_a_format_that_is_allowed_are_found(folder, monkeypatch):
    monkeypatch.setitem(Image.OPEN, "NEW", (None, None))
    monkeypatch.setattr(Image, "ID", [*Image.ID, "NEW"])
    monkeypatch.setitem(Image.EXTENSION, ".new", "NEW")
    monkeypatch.setattr(formats, "_allowed", {})
    (folder / "photo.new").touch()
    with pytest.warns(UserWarning, match=r"cannot be read \(\.new 1\)"):
        assert len(find_photos(folder)) == 5
    formats.allow_format("NEW")
    assert folder / "photo.new" in find_photos(folder)


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
        ("filename,instance\nnone.jpg,t\n", None, "1 of 1 photos .* first is 'none.jpg'"),
        (
            "file,instance\n",
            None,
            r"lacks the columns \['filename'\]; its columns are \['file', 'i",
        ),
        ("", None, r"lacks the columns .* its columns are \[\]"),
        ("filename,instance\ne,f.jpg,t\n", None, "line 2 has 3 cells, and the header 2"),
        ('filename,instance\n"e.jpg,t\n', None, "labels.csv: line 2 is no row of a table"),
        ("filename,instance\ne.jpg,t\n", "filename,x0,y0,x1,y1\nf.jpg,1,2,3,4\n", "not among"),
        (
            "filename,instance\ne.jpg,t\n",
            "filename,x0,y0,x1,y1\ne.jpg,9,2,3,4\n",
            "boxes.csv, line 2, e.jpg: the box .* is empty",
        ),
        (
            "filename,instance\ne.jpg,t\n",
            "filename;x0;y0;x1;y1\ne.jpg;1,5;2;3;4\n",
            "boxes.csv, line 2, e.jpg: a box is four numbers .*'1,5'",
        ),
        (
            "filename,instance,width,height\ne.jpg,t,40,31\n",
            None,
            "e.jpg has 40x30, not 40x31",
        ),
        ("filename,instance,width,height\ne.jpg,t,forty,30\n", None, "not fortyx30"),
    ],
)
def test_tables_that_do_not_fit_are_refused(folder, labels, boxes, reason):
    (folder / "labels.csv").write_text(labels)
    if boxes:
        (folder / "boxes.csv").write_text(boxes)
    with pytest.raises(PhotoError, match=reason):
        load_photo_folder(folder, folder / "labels.csv", boxes and folder / "boxes.csv")


ROWS = "filename,instance\ntower/a.jpg,t\ntower/b.PNG,t\ne.jpg,\n"


@pytest.mark.parametrize(
    "table",
    [
        ROWS,
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace(",", " , "),
        ROWS.replace("/", "\\"),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        "\ufeff" + ROWS,
        ROWS.encode("utf-16"),
        "\ufeff".encode("utf-16-be") + ROWS.encode("utf-16-be"),
        ROWS.encode("utf-32"),
        ROWS.replace("e.jpg,", "e.jpg"),
        ROWS.replace("e.jpg,", "\n,\n  ,  \ne.jpg,"),
        ROWS.replace("tower/a.jpg", '"./tower//a.jpg"'),
        ROWS.replace("instance", "instance,width,height").replace(",t\n", ",t,40.0,30\n"),
        ROWS.replace("instance", 'instance,"a;b;c\nd"').replace(",t\n", ',t,"one\n\ntwo, three"\n'),
        ROWS.replace("instance", "instance" + "," * 900_000),
    ],
    ids=[
        "commas", "semicolons", "tabs", "spaces", "backslashes", "line ends of Windows",
        "line ends of old Macs", "byte order mark", "UTF-16", "UTF-16, the other way", "UTF-32",
        "short row", "blank rows", "quoted name", "sizes of some", "line breaks in quotes",
        "a million columns",
    ],
)  # fmt: skip
def test_tables_say_the_same_however_they_are_written(folder, table):
    content = table if isinstance(table, bytes) else table.encode()
    (folder / "labels.csv").write_bytes(content)
    bunch = load_photo_folder(folder, folder / "labels.csv")
    assert [photo.source.name for photo in bunch.photos] == ["a.jpg", "b.PNG", "e.jpg"]
    assert bunch.target == ["t", "t", ""]
    assert len(as_benchmark(bunch, "all").queries) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ROWS.replace("t\n", "tour d'été\n").encode("latin-1"), r"is not UTF-8 \(byte \d+ is 0xe9"),
        (ROWS.encode("utf-16")[:-1], r"is not UTF-16, as it says \(byte \d+ is 0x0a"),
        (ROWS.encode("utf-16-le"), "line 1 has a zero byte"),
        (ROWS.replace("b.PNG", "b\0.PNG").encode(), "line 3 has a zero byte"),
        (ROWS.replace("b.PNG", "b" * 200_000).encode(), r"line 3 is no row .*limit \(131072\)"),
        (ROWS.replace("tower/b", '"tower/b').encode(), "line 3 is no row of a table"),
        (ROWS.replace(",t", "," * 1_000_001).encode(), "line 2 is no row .*more than 1000000 char"),
        (ROWS.replace("instance", "instance,filename").encode(), "has the column 'filename' twice"),
        (b"c," * 30, r"lacks the columns .* its columns are \[('c', ){20}'…'\]"),
    ],
    ids=[
        "Latin-1", "half a letter", "UTF-16 without a mark", "zero byte", "long cell",
        "open quote", "endless row", "column twice", "other columns",
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused_in_one_line(folder, content, reason):
    (folder / "labels.csv").write_bytes(content)
    with pytest.raises(PhotoError, match=rf"labels.csv[:,] {reason}") as raised:
        load_photo_folder(folder, folder / "labels.csv")
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 600


def test_wide_tables_with_many_rows_take_the_room_of_what_is_asked_for(tmp_path):
    """A row of a byte for each of 100,000 columns would otherwise fill a megabyte."""
    table = tmp_path / "labels.csv"
    table.write_text("filename,instance" + "," * 100_000 + "\n" + "a\n" * 20_000)
    tracemalloc.start()
    rows = read_table(table, ("filename", "instance"))
    assert len(rows) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()


def test_a_table_that_is_not_there_is_named(folder):
    with pytest.raises(PhotoError, match="none.csv: cannot be read"):
        load_photo_folder(folder, folder / "none.csv")


@pytest.mark.parametrize(
    "spelling",
    ["tower/a.jpg", "./tower/a.jpg", "tower//a.jpg", "bridge/../tower/a.jpg", "link.jpg"],
)
def test_a_photo_that_is_listed_twice_is_one_photo(folder, spelling):
    """Else it would be the best answer to itself."""
    os.symlink(folder / "tower/a.jpg", folder / "link.jpg")
    (folder / "labels.csv").write_text(f"{ROWS}{spelling},t\n")
    with pytest.warns(UserWarning, match=r"labels.csv: 1 photos are listed more than once, such"):
        bunch = load_photo_folder(folder, folder / "labels.csv")
    assert [photo.source.name for photo in bunch.photos] == ["a.jpg", "b.PNG", "e.jpg"]
    assert bunch.target == ["t", "t", ""]
    (folder / "labels.csv").write_text(f"{ROWS}{spelling},u\n")
    with pytest.raises(PhotoError, match=r"labels.csv: .*tower/a.jpg has the labels 't' and 'u'"):
        load_photo_folder(folder, folder / "labels.csv")


def test_a_photo_linked_into_two_sub_folders_has_two_labels(folder):
    os.symlink(folder / "tower/a.jpg", folder / "bridge/a.jpg")
    with pytest.raises(PhotoError, match="has the labels 'bridge' and 'tower'"):
        load_photo_folder(folder)


def test_each_box_of_a_photo_is_a_query(folder):
    (folder / "labels.csv").write_text(ROWS)
    rows = ["e.jpg,0,0,9,9", "tower/a.jpg,1,2,30,20", "./tower/a.jpg,5,5,9,9", "e.jpg,0,0,9,9"]
    (folder / "boxes.csv").write_text("\n".join(["filename,x0,y0,x1,y1", *rows]))
    bunch = load_photo_folder(folder, folder / "labels.csv", folder / "boxes.csv")
    assert bunch.boxes == [[(1, 2, 30, 20), (5, 5, 9, 9)], [], [(0, 0, 9, 9)]]
    assert [photo.box for photo in bunch.photos] == [(1, 2, 30, 20), None, (0, 0, 9, 9)]
    benchmark = as_benchmark(bunch, "boxed")
    assert [query.box for query in benchmark.queries] == [(1, 2, 30, 20), (5, 5, 9, 9)]
    assert [query.photo for query in benchmark.queries] == [bunch.photos[0]] * 2
    assert benchmark.exclude == [0, 0]
    assert [r.positives.tolist() for r in benchmark.relevance] == [[1], [1]]
    assert benchmark.groups == ["t", "t"]


def test_added_distractors_have_the_label_of_those_that_were_there(folder):
    """A benchmark calls them "", whatever the photos' labels call them."""
    photos = [Photo(np.zeros((8, 8), np.uint8), name=f"photo {i}") for i in range(3)]
    benchmark = as_benchmark(Bunch(photos=photos, target=[7, 7, -1], DESCR=""), "all", -1)
    assert benchmark.labels == [7, 7, ""]
    assert add_distractors(benchmark, folder).labels == [7, 7, *[""] * 6]


def test_a_distractor_is_told_by_a_name_with_dots(folder):
    """Photos of Oxford and Paris are named without an ending."""
    photos = [Photo(folder / "e.jpg", name=name) for name in ("spire.v2", "spire.v3")]
    benchmark = as_benchmark(Bunch(photos=photos, target=["t", "t"], DESCR=""), "all")
    Image.new("RGB", (8, 6)).save(folder / "spire.v2.jpg")
    with pytest.raises(PhotoError, match=r"1 of 6 distractors have the name of a photo"):
        add_distractors(benchmark, folder)


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


def test_an_object_is_pasted_as_large_as_is_asked(pixels):
    """Twice as large, each side of its box is twice as long, up to the rounding of pixels."""
    half, whole = (
        make_object_scenes(1, 1, 0, object_scale=(scale, scale), sources=[pixels, pixels])
        for scale in (0.5, 1)
    )
    sides = [
        np.subtract(scenes.photos[0].box[2:], scenes.photos[0].box[:2]) for scenes in (half, whole)
    ]
    np.testing.assert_allclose(sides[1], 2 * sides[0], atol=4)


def test_one_source_is_too_few(pixels):
    with pytest.raises(PhotoError, match="at least 2 source photos, got 1"):
        make_object_scenes(sources=[pixels])


# -- names that lead out of the folder ----------------------------------------------------------

OUTSIDE = [
    "/etc/passwd", "../secret.jpg", "tower/../../secret.jpg", r"..\secret.jpg", r"tower\..\..\s",
    r"C:\secret.jpg", "C:secret.jpg", "c:/secret.jpg", r"\\server\share\secret.jpg", r"\secret.jpg",
    "//server/secret.jpg", "",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_in_tables_stay_in_the_folder(folder, name):
    inner = folder / "tower"
    Image.new("RGB", (40, 30)).save(folder / "secret.jpg")
    table = folder / "table.csv"
    table.write_text(f"filename,instance\na.jpg,t\n{name},t\n")
    with pytest.raises(PhotoError, match=r"table.csv, line 3: .* is no photo of the folder"):
        load_photo_folder(inner, table)
    table.write_text(f"filename,x0,y0,x1,y1\n{name},1,2,3,4\n")
    with pytest.raises(PhotoError, match=r"table.csv, line 2: .* is no photo of the folder"):
        load_photo_folder(inner, boxes=table)


def test_links_that_the_user_made_may_lead_out(folder):
    inner = folder / "tower"
    os.symlink(folder / "e.jpg", inner / "link.jpg")
    os.symlink(folder / "bridge", inner / "linked")
    (folder / "labels.csv").write_text("filename,instance\nlink.jpg,t\nlinked/c.webp,t\n")
    assert load_photo_folder(inner, folder / "labels.csv").target == ["t", "t"]


def test_dots_go_by_what_is_written_and_not_by_where_links_lead(folder):
    """Beside what a link leads to is a file that the folder has not."""
    inner = folder / "tower"
    os.symlink(folder / "bridge", inner / "linked")
    (folder / "labels.csv").write_text("filename,instance\nlinked/../a.jpg,t\nlinked/../e.jpg,t\n")
    with pytest.raises(PhotoError, match=r"1 of 2 photos .* are not in .*'linked/\.\./e.jpg'"):
        load_photo_folder(inner, folder / "labels.csv")


def test_a_name_may_have_a_backslash_where_the_system_allows_it(folder):
    (folder / "e.jpg").rename(folder / r"a\b.jpg")
    (folder / "labels.csv").write_text("filename,instance\na\\b.jpg,t\n")
    (photo,) = load_photo_folder(folder, folder / "labels.csv").photos
    assert photo.source.name == r"a\b.jpg"
