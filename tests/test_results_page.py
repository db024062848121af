"""The page of a search: what is on it, and that it needs nothing beside it."""

import os
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import unquote_to_bytes, urlparse

import numpy as np
import pytest
from light import make_light, write_photos
from PIL import Image

from sklearn_cmac import Photo, Query
from sklearn_cmac.inspection import count_outlying, write_results
from sklearn_cmac.inspection._captions import address_of, distinguishing_paths, say_match
from sklearn_cmac.inspection._results import describe_results
from sklearn_cmac.search import RetrievalIndex, SearchResult, SpatialMatch

WEIRD = ["<img src=x onerror=alert(1)>.png", "50% #1?.png", "\u202egnp.exe.png", "é 日本.png"]


class Page(HTMLParser):
    """Elements with their attributes, and what is said."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag, name=None):
        found = [attrs for found, attrs in self.elements if found == tag]
        return found if name is None else [attrs[name] for attrs in found if name in attrs]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An index of ten photos in two folders, some of odd names, two of one name."""
    place = tmp_path_factory.mktemp("pages")
    paths = write_photos(place / "photos/a", range(10))
    (place / "photos/b").mkdir()
    for path, name in zip(paths, ["a/same.png", "b/same.png", *(f"b/{name}" for name in WEIRD)]):
        path.rename(place / "photos" / name)
    with RetrievalIndex.create(place / "photos.cmac", make_light(), root=place) as index:
        index.update(place / "photos")
    return place


@pytest.fixture
def index(place):
    with RetrievalIndex.open(place / "photos.cmac", trust=["light.Tiles"]) as index:
        yield index


@pytest.fixture
def query(place):
    return Query(place / "photos/a/same.png", (4, 4, 28, 20))


@pytest.fixture
def page(index, query, tmp_path):
    write_results(tmp_path / "page.html", index, query, index.search(query, 10))
    return Page(tmp_path / "page.html")


def test_a_page_needs_nothing_beside_it_and_runs_no_script_of_others(page, tmp_path):
    for tag, attrs in page.elements:
        for name in ("src", "href", "data", "action", "srcset", "poster"):
            address = attrs.get(name, "")
            assert address.startswith(("data:image/jpeg;base64,", "file:///")) or not address, tag
        assert not [name for name in attrs if name.startswith("on")]
    text = (tmp_path / "page.html").read_text()
    assert "http" not in text
    assert set(re.findall(r"url\(([^,)]*)", text)) == {"data:image/jpeg;base64"}
    assert "@import" not in text
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script.strip().splitlines()) < 20


def test_names_are_text_and_links_lead_to_the_files(page, place):
    links = {os.fsdecode(unquote_to_bytes(urlparse(a).path)) for a in page.all("a", "href")}
    assert links == {str(path) for path in (place / "photos").rglob("*.png")}
    assert WEIRD[0] in page.text
    assert "\\u202egnp.exe.png" in page.text
    assert "\u202e" not in page.text


def test_files_of_one_name_are_told_apart(page):
    assert {"a/same.png", "b/same.png"} <= set(re.findall(r"\S+/same.png", page.text))


def test_each_picture_says_what_it_shows(page):
    alts = page.all("img", "alt")
    assert len(alts) == len(page.all("img")) == 2 + 10
    assert len(set(alts)) == len(alts)
    assert all(alts)


def test_regions_of_a_pair_have_one_number_and_one_colour(index, query):
    asked, _, found = describe_results(index, query, index.search(query, 10), {})
    colors = {outline.label: outline.color for outline in asked.outlines}
    assert len(set(colors.values())) == len(colors) > 2
    for each in found:
        numbers = [outline.label for outline in each.outlines]
        assert numbers == [str(pair.number) for pair in each.pairs]
        assert [colors[number] for number in numbers] == [o.color for o in each.outlines]
        assert [o.label for o in each.asked] == numbers


def test_pairs_are_those_of_the_match(index, query):
    """The regions that a photo is outlined with are those that `match` names."""
    (result,) = index.search(query, 1)
    _, _, (found,) = describe_results(index, query, [result], {})
    match = index.match(query, result.name)
    assert {round(pair.similarity, 5) for pair in found.pairs} <= {
        round(float(value), 5) for value in match.similarities
    }


def located(n_inliers, matrix, outline, probability=0.9):
    pairs = np.empty((0, 2, 2))
    return SpatialMatch(n_inliers, np.array(matrix, float), pairs, np.array(outline), probability)


def test_what_is_verified_is_outlined_and_laid_over(index, query, place, tmp_path):
    """Pixels of the part, enlarged, go where the map takes those of the photo."""
    large = tmp_path / "large.png"
    Image.new("RGB", (1120, 840)).save(large)
    turn = [[0, -2, 100], [2, 0, 50], [1e-4, 2e-4, 1]]
    spatial = located(53, turn, [[10, 10], [50, 12], [40, 60]])
    result = SearchResult("large", 53.0, str(large), spatial)
    asked, whole, (found,) = describe_results(index, query, [result], {})
    assert asked.image.size == (24, 16)
    assert whole.outlines[0].polygons[0].tolist() == [[4, 4], [28, 4], [28, 20], [4, 20]]
    assert found.image.size == (560, 420)
    assert [outline.kind for outline in found.outlines] == ["object"]
    assert "53 points agree" in found.meaning
    values = list(map(float, re.findall(r"[-\d.e]+(?=[,)])", found.css_matrix)))
    drawn = np.array(values).reshape(4, 4).T @ [6, 5, 0, 1]
    x, y, w = np.array(turn) @ [4 + 6, 4 + 5, 1]
    assert drawn[:2] / drawn[3] == pytest.approx([x / w / 2, y / w / 2])
    write_results(tmp_path / "page.html", index, query, [result])
    page = Page(tmp_path / "page.html")
    assert [e["type"] for e in page.all("input") if "id" not in e] == ["range"]
    assert [e["class"] for e in page.all("path") if e["class"] == "object"] == ["object"] * 2


def test_what_agrees_by_chance_is_no_object(index, query, place):
    spatial = located(9, np.eye(3), [[0, 0], [9, 0], [9, 9]], probability=0.1)
    path = str(place / "photos/b/same.png")
    _, _, (found,) = describe_results(index, query, [SearchResult("x", 9.0, path, spatial)], {})
    assert not found.outlines
    assert found.matrix is None
    assert "by chance" in found.meaning


def test_the_query_itself_is_told(index, query):
    _, _, found = describe_results(index, query, index.search(query, 10), {})
    assert [f.caption for f in found if f.meaning == "the query's own photo"] == ["a/same.png"]


def test_what_lies_behind_the_eye_is_not_drawn(index, query, place):
    """A map is the same when all its numbers change sign; browsers draw where w is above 0."""
    path = str(place / "photos/b/same.png")
    for sign in (1, -1):
        spatial = located(9, sign * np.eye(3), [[0, 0], [9, 0], [9, 9]])
        _, _, (found,) = describe_results(index, query, [SearchResult("x", 9.0, path, spatial)], {})
        assert found.matrix[2, 2] > 0


def test_a_photo_that_is_gone_is_still_told(index, query, tmp_path):
    results = [SearchResult("gone.png", 0.5, str(tmp_path / "gone.png"))]
    write_results(tmp_path / "page.html", index, query, results)
    page = Page(tmp_path / "page.html")
    assert "gone.png" in page.text
    assert "not there any more" in page.text


def test_behind_the_first_photos_pictures_are_smaller(index, query, tmp_path):
    """A page of 565 photos had 38 MB."""
    Image.new("RGB", (800, 600)).save(tmp_path / "x.png")
    results = [SearchResult(f"{i}", 0.5, str(tmp_path / "x.png")) for i in range(61)]
    _, _, found = describe_results(index, query, results, {})
    assert [found[i].image.width for i in (0, 59, 60)] == [560, 560, 280]


def test_a_search_in_memory_has_a_page(tmp_path):
    pixels = [np.full((24, 32, 3), 25 * i, np.uint8) for i in range(3)]
    index = RetrievalIndex(make_light())
    index.add([Photo(each, name=f"grey {i}") for i, each in enumerate(pixels)])
    found, photos = index.search(pixels[0], 3), {f"grey {i}": p for i, p in enumerate(pixels)}
    write_results(tmp_path / "page.html", index, pixels[0], found, photos=photos)
    assert len(Page(tmp_path / "page.html").all("img")) == 1 + 3


def test_the_query_may_be_named_by_another_path(index, place, monkeypatch):
    monkeypatch.chdir(place / "photos")
    asked, _, found = describe_results(index, "a/same.png", index.search("a/same.png", 10), {})
    assert asked.caption == "a/same.png"
    assert [f.caption for f in found if f.meaning == "the query's own photo"] == ["a/same.png"]


# -- where likeness ends ------------------------------------------------------------------------


def test_photos_that_stand_out_by_hand():
    """Median 5 of 0 … 10 and deviations with a median of 3: the line is at 5 + 3.5 * 1.4826 * 3."""
    line = 5 + 3.5 * 1.4826 * 3
    others = list(range(9, 0, -1))
    assert count_outlying([line + 0.01, *others, 0]) == 1
    assert count_outlying([line - 0.01, *others, 0]) == 0


@pytest.mark.parametrize(
    ("scores", "n"),
    [
        ([0.9] * 7, None),  # too few to say
        ([40, 30, *[0] * 20], 2),  # of verification, which counts nothing for most
        ([40, 30, *[0] * 20, 0.9, 0.8], 2),  # and then scores of the first ranking
        ([0.9, 0.3, 0.2, float("nan")], None),
        ([0.5] * 20, 0),
    ],
)
def test_scores_of_another_kind_do_not_count(scores, n):
    assert count_outlying(scores) == n


def scored(results, scores):
    """The same photos with other scores, and as many others as there are more scores."""
    others = [SearchResult(f"other {i}", 0.0) for i in range(len(scores) - len(results))]
    return [r.changed(score=score) for r, score in zip([*results, *others], scores)]


def text_of(path):
    return re.sub(r"\s+", " ", Page(path).text)


def test_the_line_is_on_the_page_with_its_reason(index, query, tmp_path):
    path, results = tmp_path / "page.html", index.search(query, 10)
    likeness = scored(results, [0.9, 0.8, *np.linspace(0.3, 0.1, 30)])
    write_results(path, index, query, results, likeness=likeness)
    assert "Show 8 more" in text_of(path)
    assert "3.5 robust standard deviations above the median of 32 photos" in text_of(path)
    write_results(path, index, query, results, likeness=scored(results, [0.5] * 30))
    assert "No photo stands out from the others" in text_of(path)
    write_results(path, index, query, results[:3])
    assert '<details class="more"' not in path.read_text()


def test_likeness_does_not_end_where_the_page_does(index, query, tmp_path):
    """Of 32 photos 4 stand out, and 2 of these are shown."""
    path, results = tmp_path / "page.html", index.search(query, 10)
    likeness = scored(results, [0.9, 0.9, 0.8, 0.8, *np.linspace(0.3, 0.1, 28)])
    write_results(path, index, query, results[:2], likeness=likeness)
    assert "Likeness may go on behind these" in text_of(path)
    assert "ends here" not in text_of(path)


def test_the_photos_of_the_median_are_those_that_count(index, query, tmp_path):
    """The 20 behind them were scored by another step."""
    path, results = tmp_path / "page.html", index.search(query, 10)
    likeness = scored(results, [0.9, *[0.1] * 11, *[0.5] * 20])
    write_results(path, index, query, results, likeness=likeness)
    assert "above the median of 12 photos" in text_of(path)


def test_verified_photos_are_above_the_line(index, query, tmp_path):
    path, results = tmp_path / "page.html", index.search(query, 10)
    likeness = scored(results, [0.9, *[0.1] * 30])
    results[5] = results[5].changed(spatial=located(80, np.eye(3), [[0, 0], [9, 0], [9, 9]]))
    write_results(path, index, query, results, likeness=likeness)
    cards = [attrs["id"] for tag, attrs in Page(path).elements if attrs.get("class") == "card"]
    assert cards[:3] == ["result-1", "result-6", "result-2"]
    assert "Show 8 more" in text_of(path)


@pytest.mark.parametrize(
    ("n_inliers", "probability", "said"),
    [
        (53, 0.9949, "53 points agree: the same object with probability .99"),
        (200, 1.0, "200 points agree: the same object with probability above .99"),
        (9, 0.2, "9 points agree, as some do by chance: the same object with probability .20"),
        (1, 0.01, "1 point agrees, as some do by chance: the same object with probability .01"),
    ],
)
def test_what_points_say(n_inliers, probability, said):
    assert say_match(n_inliers, probability) == said


# -- names --------------------------------------------------------------------------------------


def test_paths_are_as_short_as_tells_them_apart():
    paths = ["/p/a/x.jpg", "/p/b/x.jpg", "/p/b/y.jpg", "/q/b/x.jpg", "/p/a/x.jpg"]
    assert distinguishing_paths(paths) == ["a/x.jpg", "p/b/x.jpg", "y.jpg", "q/b/x.jpg", "a/x.jpg"]
    assert distinguishing_paths(["x.jpg", "a/x.jpg", "night"]) == ["x.jpg", "a/x.jpg", "night"]


def test_addresses_come_back_as_the_bytes_of_the_path(tmp_path):
    path = os.path.join(tmp_path, os.fsdecode(b"caf\xe9 #?%20.png"))
    address = address_of(path)
    assert address.isascii()
    assert unquote_to_bytes(urlparse(address).path) == os.fsencode(path)
    assert address_of("") == ""


# -- who does not see it well ---------------------------------------------------------------------


def luminance(color):
    """Relative, by WCAG 2.2."""
    digits = color if len(color) == 6 else "".join(2 * digit for digit in color)
    channels = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_text_stands_out_from_its_ground_in_light_and_dark():
    """WCAG AA: 4.5 to 1."""
    style = (files("sklearn_cmac.inspection") / "base.html.j2").read_text("utf-8")
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colors = {k: luminance(v) for k, v in re.findall(r"--(\w+): #(\w+);", scheme)}
        for text in ("text", "soft", "link", "right", "wrong"):
            for ground in ("page", "card", "mat"):
                darker, lighter = sorted([colors[text], colors[ground]])
                assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


def test_a_page_is_printed_as_it_is_seen_and_a_long_name_leaves_room(index, query, tmp_path):
    """From a dark screen, text was printed in light grey; the score stood upright beside the name,
    a figure a line."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: sklearn-cmac[test]"
    )
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), "")
    if not chromium:
        pytest.skip("no Chromium: install chromium")
    (result,) = index.search(query, 1)
    results = [result.changed(name="a" * 200, path=str(tmp_path / ("a" * 200)), regions=None)]
    write_results(tmp_path / "page.html", index, query, [result, *results])
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="dark", viewport={"width": 320, "height": 640})
        page.goto((tmp_path / "page.html").as_uri())
        score = page.locator(".score").nth(1).bounding_box()
        assert score["height"] < 30 < score["width"]
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        color = "getComputedStyle(document.body).color"
        assert page.evaluate(color) == "rgb(236, 236, 234)"
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate(color) == "rgb(28, 28, 26)"
        kept = "getComputedStyle(document.querySelector('.number')).printColorAdjust"
        assert page.evaluate(kept) == "exact"
        browser.close()
