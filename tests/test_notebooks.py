"""How notebooks show results, regions and indexes."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from light import make_light, write_photos
from PIL import Image

from sklearn_cmac import Regions, RegionVectors
from sklearn_cmac.search import RetrievalIndex, SearchResult, SearchResults

NAME = "<script>alert(1)</script>\u202e.jpg"


@pytest.fixture
def place(tmp_path):
    write_photos(tmp_path / "photos", range(3))
    with RetrievalIndex.create(tmp_path / "<b>.cmac", make_light()) as index:
        index.update(tmp_path / "photos")
    return tmp_path


def test_results_are_a_list_with_pictures(place):
    photo = place / "photos/0001.png"
    with RetrievalIndex.open(place / "<b>.cmac", trust=["light.Tiles"]) as index:
        found = index.search(photo, 3)
        below = index.search(photo, 3, below=place / "photos")
    assert isinstance(below, SearchResults)
    assert found == list(found) == below
    (place / "photos/0002.png").unlink()
    shown = found._repr_html_()
    assert shown.count("<img ") == 2
    assert shown.count("is not there any more") == 1
    assert str(photo) in shown


def test_names_are_text(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "x.png")
    results = SearchResults([SearchResult(NAME, 0.5, str(tmp_path / "x.png"))])
    shown = results._repr_html_()
    assert "<script>" not in shown
    assert "\u202e" not in shown
    assert "&lt;script&gt;" in shown
    vectors = RegionVectors(np.ones((3, 8)), name=NAME)
    assert "<script>" not in vectors._repr_html_()


def test_a_table_stays_small(tmp_path):
    """10,000 results had a row each."""
    results = SearchResults(SearchResult(f"{i}.jpg", 0.5) for i in range(10_000))
    shown = results._repr_html_()
    assert shown.count("<tr>") == 1 + 100
    assert "10000 photos, best first; the first 100" in shown
    assert "the first" not in results[:100]._repr_html_()


def test_some_of_the_results_have_pictures_too(place):
    with RetrievalIndex.open(place / "<b>.cmac", trust=["light.Tiles"]) as index:
        found = index.search(place / "photos/0001.png", 3)
    assert found[:2]._repr_html_().count("<img ") == 2
    assert isinstance(found[0], SearchResult)


def test_where_there_is_no_score_none_is_shown():
    assert "nan" not in SearchResults([SearchResult("a.jpg", float("nan"))])._repr_html_()


def test_a_picture_of_regions_has_their_cells():
    """Cells are read off the paths again: each run is Mx yhLv1h-Lz."""
    labels = [[0, 0, 1, 1, 0, 1], [2, 2, 2, 3, 3, 3]]
    regions = Regions.from_labels(labels, shape=(2, 3))
    table = ElementTree.fromstring(regions._repr_html_())
    assert table.find("caption").text == "Regions(4 regions of a 2x3 map)"
    assert [cell.text for cell in table.iter("th")] == ["2 of kind 0", "2 of kind 1"]
    drawn = []
    for path in table.iter("path"):
        mask = np.zeros((2, 3), bool)
        for x, y, n in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path.get("d")):
            mask[int(y), int(x) : int(x) + int(n)] = True
        drawn.append(mask)
    np.testing.assert_array_equal(drawn, regions.masks())


def test_region_vectors_show_where_they_are_from():
    regions = Regions.from_labels([[0, 0, 1, 1]], shape=(2, 2))
    shown = RegionVectors(np.ones((2, 8)), name="a photo", regions=(regions, regions))._repr_html_()
    assert shown.count("<svg") == 2
    assert "2 of 8 numbers" in shown


def test_an_index_tells_what_it_holds(place):
    with RetrievalIndex.open(place / "<b>.cmac", trust=["light.Tiles"]) as index:
        table = ElementTree.fromstring(index._repr_html_())
        rows = {row[0].text: row[1].text for row in table.iter("tr")}
        assert rows["photos"] == "3"
        assert rows["dimensions"] == str(index.info()["dimensions"])
        assert table.find("caption").text.endswith("<b>.cmac)")
