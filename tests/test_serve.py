"""The pages of an index: what they answer, and what they refuse."""

import re
import shutil
import threading
import time
from html import unescape
from io import BytesIO
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from PIL import Image
from serving import as_file, browser, form_of, key_of, send, wait_until_added

from sklearn_cmac import Photo, Query
from sklearn_cmac._progress import show_progress
from sklearn_cmac.cli import main
from sklearn_cmac.inspection._results import describe_results
from sklearn_cmac.photos import digest_source
from sklearn_cmac.search import (
    RetrievalIndex,
    SearchResult,
    SpatialMatch,
    combine_rankings,
    move_query,
    search_with_marks,
)

pytest.importorskip("starlette", reason="starlette is not installed: sklearn-cmac[serve]")
pytest.importorskip("multipart", reason="python-multipart is not installed: sklearn-cmac[serve]")

from starlette.testclient import TestClient

from sklearn_cmac.search._searcher import Searcher
from sklearn_cmac.serve import _uploads as uploads
from sklearn_cmac.serve import is_loopback, make_app
from sklearn_cmac.serve._lent import LentPhotos
from sklearn_cmac.serve._links import Ask, Part, read_ask
from sklearn_cmac.serve._pictures import make_picture

pytestmark = pytest.mark.filterwarnings("ignore:whitening")

PAGES = ["/", "/?view=table", "/groups", "/index", "/nothing", "/photos/x", "/static/cmac.css"]


@pytest.fixture
def place(served, tmp_path):
    """A copy of them, to be changed."""
    shutil.copytree(served / "photos", tmp_path / "photos")
    shutil.copytree(served / "photos.cmac", tmp_path / "photos.cmac")
    return tmp_path


@pytest.fixture(scope="module")
def client(served):
    with browser(make_app(served / "photos.cmac")) as client:
        yield client


@pytest.fixture
def changing(place):
    with browser(make_app(place / "photos.cmac")) as client:
        yield client


# -- what is found --------------------------------------------------------------------------------


def test_photos_of_the_index_are_shown_with_names_and_sizes(client, scenes):
    found = client.get("/?format=json").json()
    assert found["total"] == len(scenes.photos)
    assert {photo["name"] for photo in found["photos"]} == {f"{p.name}.png" for p in scenes.photos}
    key = found["photos"][0]["photo"]
    photo = client.get(f"/photos/{key}?format=json").json()
    assert (photo["width"], photo["height"], photo["there"]) == (320, 240, True)
    some = client.get("/?format=json&name=object-02").json()["photos"]
    assert [photo["name"] for photo in some] == [f"object-02-scene-{i}.png" for i in range(4)]


def test_a_search_is_a_link_and_finds_what_the_library_finds(client, served, scenes):
    key, photo = key_of(served / "photos/object-00-scene-0.png"), scenes.photos[0]
    box = ",".join(f"{v:g}" for v in photo.box)
    found = client.get(f"/search?q={key}@{box}&format=json").json()
    with RetrievalIndex.open(served / "photos.cmac", read_only=True) as index:
        expected = index.search(photo.as_query(), 24)
    assert [r["name"] for r in found["results"]] == [r.name.split("/")[-1] for r in expected]
    assert [r["score"] for r in found["results"]] == pytest.approx([r.score for r in expected])
    assert found["results"][0]["photo"] == key
    assert found["results"][0]["regions"]
    form = dict(zip(("x0", "y0", "x1", "y1"), map(str, photo.box)), photo=key)
    assert client.get("/search", params=form).url.query.decode() == f"q={key}@{box}"


def test_marks_of_results_sort_them_anew(client, served, scenes):
    """Those that are marked right, and photos like them, come forward; what is wrong goes back."""
    box = ",".join(f"{v:g}" for v in scenes.photos[0].box)
    ask = f"q={key_of(served / 'photos/object-00-scene-0.png')}@{box}"
    before = client.get(f"/search?{ask}&format=json").json()["results"]
    place = {r["photo"]: r["rank"] for r in before}
    right = key_of(served / "photos/object-00-scene-2.png")
    wrong = next(r["photo"] for r in before if not r["name"].startswith("object-00"))
    form = {"q": ask[2:], f"mark-{right}": "right", f"mark-{wrong}": "wrong", "format": "json"}
    answer = client.get("/search", params=form)
    assert answer.url.query.decode() == f"{ask}&right={right}&wrong={wrong}&format=json"
    after = {r["photo"]: (r["rank"], r["mark"]) for r in answer.json()["results"]}
    assert after[right][1] == "right"
    assert after[right][0] < place[right]
    assert after[wrong][0] > place[wrong]
    assert after[wrong][1] == "wrong"


def test_rocchios_sum_is_that_of_its_definition():
    """By hand: 1 (1, 0, 0) + 0.5 (0, 2, 0) - 0.25 (0, 0, 4)."""
    query, right = np.array([1.0, 0, 0]), np.array([[0, 1.0, 0], [0, 3.0, 0]])
    wrong = np.array([[0, 0, 4.0]])
    assert move_query(query, right, wrong, 1, 0.5, 0.25).tolist() == [1, 1, -1]
    assert move_query(query, right[:0], wrong[:0]).tolist() == [1, 0, 0]


@pytest.fixture(scope="module")
def plain(served, scenes):
    """An index of the same photos, in which no step follows the first ranking."""
    with RetrievalIndex.open(served / "photos.cmac", read_only=True) as kept:
        index = RetrievalIndex(kept.pipeline.pipeline_)
    index.add(scenes.photos)
    return index


def test_what_is_verified_stays_before_what_is_not(plain, scenes, monkeypatch):
    """Unless somebody says that it is wrong."""
    explain = Searcher._explained

    def verified(self, *args):
        sure = SpatialMatch(40, None, np.empty((40, 2, 2)), np.empty((0, 2)), 0.97)
        found = explain(self, *args)
        return [r.changed(spatial=sure if "distractor" in r.name else None) for r in found]

    monkeypatch.setattr(Searcher, "_explained", verified)
    monkeypatch.setattr("sklearn_cmac.search._feedback._KNOWN", WeakKeyDictionary())
    found = search_with_marks(
        plain, scenes.photos[:1], 20, right=["object-01-scene-0"], wrong=["distractor-02"]
    )
    names = [result.name for result in found]
    assert names[0] == "object-01-scene-0"
    assert set(names[1:4]) == {"distractor-00", "distractor-01", "distractor-03"}
    assert names[-1] == "distractor-02"


def test_feedback_ranks_as_the_search_with_the_moved_query(plain, scenes):
    right, wrong = ["object-00-scene-2"], ["distractor-00", "object-03-scene-1"]
    found = search_with_marks(plain, [scenes.photos[0]], 20, right=right, wrong=wrong)
    rows = dict(zip(plain.names, plain.descriptors))
    good, bad = (np.array([rows[name] for name in names]) for names in (right, wrong))
    (query,) = plain.pipeline.transform(scenes.photos[:1])
    moved = move_query(query, good, bad)
    scores = plain.descriptors @ moved / np.linalg.norm(moved)
    expected = sorted(zip(scores.tolist(), plain.names), reverse=True)
    unmarked = [name for _, name in expected if name not in right + wrong]
    assert [r.name for r in found[:1]] == right
    assert [r.name for r in found[1:-2]] == unmarked
    assert {r.name for r in found[-2:]} == set(wrong)
    score_of = {name: score for score, name in expected}
    assert [r.score for r in found] == pytest.approx([score_of[r.name] for r in found], abs=1e-5)


@pytest.mark.parametrize("located", [False, True])
def test_marks_count_by_regions_where_these_are_kept(served, scenes, monkeypatch, located):
    """Of what is right by those of the object, where it is located."""
    search, corner = RetrievalIndex.search, (40.0, 30.0, 200.0, 180.0)
    outline = np.array([[40.0, 30], [200, 30], [200, 180], [40, 180]])
    sure = SpatialMatch(40, None, np.empty((40, 2, 2)), outline, 0.97)
    with RetrievalIndex.open(served / "photos.cmac", read_only=True) as index:
        names, query = index.names, scenes.photos[0].as_query()
        right, wrong = names[6], names[:2]

        def explained(self, query, n_results, **how):
            found = search(self, query, n_results, **how)
            return [r.changed(spatial=sure if r.name == right else None) for r in found]

        good = Query(Photo(right), corner) if located else right
        asked = query, good, *wrong
        alike = np.array([[index.match(m, n).score for n in names] for m in asked])
        expected = alike[0] + 0.75 * alike[1] - 0.15 * alike[2:].mean(axis=0)
        if located:
            monkeypatch.setattr(RetrievalIndex, "search", explained)
            monkeypatch.setattr("sklearn_cmac.search._feedback._KNOWN", WeakKeyDictionary())
        found = search_with_marks(index, [query], 20, right=[right], wrong=wrong)
    assert found[0].name == right
    assert {result.name for result in found[-2:]} == set(wrong)
    score_of = dict(zip(names, expected))
    scores = np.array([score_of[result.name] for result in found[1:-2]])
    assert len(scores) == 17
    assert (np.diff(scores) < 2e-3).all()  # region vectors are kept in half precision


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_several_queries_rank_as_their_mean_descriptor_or_their_greatest_score(
    plain, scenes, combine
):
    queries = [scenes.photos[0], scenes.photos[4].as_query(), scenes.photos[9]]
    likeness = plain.descriptors @ plain.pipeline.transform(queries).T
    expected = dict(zip(plain.names, getattr(likeness, combine)(axis=1).tolist()))
    found = search_with_marks(plain, queries, 20, combine=combine)
    assert [r.score for r in found] == pytest.approx([expected[r.name] for r in found], abs=1e-5)
    assert [r.score for r in found] == sorted((r.score for r in found), reverse=True)


def test_behind_steps_the_order_counts_and_not_what_their_scores_are_of():
    """By hand: sorted, the likeness is 0.8, 0.3, 0.2, 0.1, and goes to 2, 3, 0, 1."""
    likeness, order = np.array([[0.3, 0.1, 0.2, 0.8]]), np.array([2, 3, 0])
    assert combine_rankings([order], likeness).tolist() == [0.2, 0.1, 0.8, 0.3]


def test_several_photos_are_asked_for_at_once(client, served):
    keys = [key_of(served / f"photos/object-0{i}-scene-0.png") for i in (0, 1)]
    for combine in ("mean", "max"):
        ask = f"/search?q={keys[0]}&q={keys[1]}&combine={combine}&format=json"
        found = client.get(ask).json()
        assert {result["photo"] for result in found["results"][:2]} == set(keys)
        assert found["parts"][0]["without"] == f"/search?q={keys[1]}"
    assert client.get(f"/photos/{keys[0]}?q={keys[1]}").text.count(keys[1]) > 1


def test_a_located_object_is_outlined_where_it_is(client, served, monkeypatch):
    """And only where the features that agree are more than chance gives."""
    polygon = np.array([[10.0, 20], [110, 20], [110, 90], [10, 90]])

    found = []
    for name, n_inliers, probability in (("0", 40, 0.97), ("1", 5, 0.03)):
        spatial = SpatialMatch(n_inliers, None, np.empty((n_inliers, 2, 2)), polygon, probability)
        path = str(served / f"photos/object-00-scene-{name}.png")
        found.append(SearchResult(path, probability, path, spatial))
    monkeypatch.setattr("sklearn_cmac.serve._app.search_with_marks", lambda *_, **__: found)
    ask = f"/search?q={key_of(served / 'photos/object-00-scene-2.png')}"
    sure, unsure = client.get(f"{ask}&format=json").json()["results"]
    assert sure["outline"] == [polygon.tolist()]
    assert sure["box"] == [10, 20, 110, 90]
    assert (sure["verified"], unsure["verified"], unsure["outline"]) == (True, False, [])
    page = client.get(ask).text
    assert page.count('class="object" d="M10 20L110 20L110 90L10 90Z"') == 2  # it and its halo
    assert 'viewBox="0 0 320 240"' in page
    assert f'href="/photos/{sure["photo"]}?box=10,20,110,90"' in page  # to look at it closely
    assert "97% sure: 40 points agree" in page


def test_regions_that_answer_each_other_have_one_number_and_one_colour(client, served, scenes):
    """Those of the page that a search writes, on the query and on each photo."""
    query = Query(served / "photos/object-00-scene-0.png", scenes.photos[0].box)
    box = ",".join(f"{v:g}" for v in query.box)
    ask = f"/search?q={key_of(served / 'photos/object-00-scene-0.png')}@{box}"
    found = client.get(f"{ask}&format=json").json()
    with RetrievalIndex.open(served / "photos.cmac", read_only=True) as index:
        asked, _, written = describe_results(index, query, index.search(query, 24), {})
    (part,) = found["parts"]
    assert [(str(r["number"]), r["color"]) for r in part["regions"]] == [
        (outline.label, outline.color) for outline in asked.outlines
    ]
    for result, expected in zip(found["results"], written):
        assert [(r["number"], r["color"]) for r in result["regions"]] == [
            pair[:2] for pair in expected.pairs
        ]
        assert [r["similarity"] for r in result["regions"]] == pytest.approx(
            [pair.similarity for pair in expected.pairs], abs=1e-4
        )
    page, table = client.get(ask).text, client.get(f"{ask}&view=table").text
    n_drawn = len(part["regions"]) + sum(len(result["regions"]) for result in found["results"])
    assert page.count('<g class="region">') == n_drawn
    first = found["results"][0]["regions"][0]
    assert f"<span>{first['number']}: {first['similarity']:.2f}," in table


def test_regions_of_several_photos_are_numbered_on(client, served):
    """Each result answers the photo that it was found by."""
    keys = [key_of(served / f"photos/object-0{i}-scene-0.png") for i in (0, 1)]
    found = client.get(f"/search?q={keys[0]}&q={keys[1]}&combine=max&format=json").json()
    of_part = [{region["number"] for region in part["regions"]} for part in found["parts"]]
    assert sorted(of_part[0] | of_part[1]) == list(range(1, len(of_part[0]) + len(of_part[1]) + 1))
    numbers = {r["photo"]: {region["number"] for region in r["regions"]} for r in found["results"]}
    assert numbers[keys[0]] <= of_part[0]
    assert numbers[keys[1]] <= of_part[1]


@pytest.fixture
def addresses(client, served):
    """One of each kind of page, of errors too, with what else a link may say."""
    key = key_of(served / "photos/object-00-scene-0.png")
    return ["/", "/?name=object-02&order=newest", "/?name=none-of-this-name", f"/photos/{key}",
            f"/photos/{key}?box=1,2,30,40&q={key}", f"/search?q={key}@20,20,200,200", "/groups",
            "/index", "/nothing", f"/photos/{'0' * 64}", "/search", "/?page=0"]  # fmt: skip


def test_each_page_has_a_table_and_a_switch_that_keeps_the_rest_of_the_link(client, addresses):
    for address in addresses:
        views = re.compile(r'<p class="views">\s*(.*?)</p>', re.DOTALL)
        asked = parse_qs(urlsplit(address).query)
        links = [unescape(link) for link in re.findall('href="([^"]*)"',
                 views.findall(client.get(address).text)[-1])]  # fmt: skip
        for link, what in zip(links, ({"view": ["table"]}, {"format": ["json"]}), strict=True):
            assert urlsplit(link).path == urlsplit(address).path
            assert parse_qs(urlsplit(link).query) == {**asked, **what}
        table = client.get(links[0])
        assert ("<table" in table.text) == ("none-of" not in address), address
        assert table.status_code == client.get(links[1]).status_code
        back = unescape(re.findall('href="([^"]*)">Pictures', table.text)[0])
        assert parse_qs(urlsplit(back).query) == asked


def test_from_a_table_links_lead_to_tables(client, served, addresses):
    for address in addresses:
        text = client.get(f"{address}{'&' if '?' in address else '?'}view=table").text
        links = map(unescape, re.findall('<a[^>]* href="(/[^"]*)"', text))
        for link in links:
            if "format=json" not in link and f'href="{link}">Pictures' not in unescape(text):
                assert "view=table" in link, address
        for form in re.findall('<form[^>]*method="get".*?</form>', text, re.DOTALL):
            assert 'name="view" value="table"' in form


def test_marks_of_photos_that_are_not_shown_are_not_lost(client, served):
    """What is wrong goes behind all others, and is marked still when one searches again."""
    key, wrong = (
        key_of(served / f"photos/{name}.png") for name in ("object-00-scene-0", "distractor-00")
    )
    for view in ("", "&view=table"):
        page = client.get(f"/search?q={key}&wrong={wrong}&n=4{view}").text
        form = re.findall('<form[^>]*id="marks">.*?</form>', page, re.DOTALL)[0]
        assert f'<input type="hidden" name="wrong" value="{wrong}">' in form
        assert page.count('type="radio"') == 3 * 4
    shown = client.get(f"/search?q={key}&wrong={wrong}").text
    assert f'name="wrong" value="{wrong}"' not in shown


def test_each_page_says_the_same_as_html_table_and_json(client, served):
    key = key_of(served / "photos/object-00-scene-0.png")
    for address in ("/", f"/search?q={key}", "/groups", "/index", f"/photos/{key}"):
        html = client.get(address)
        assert html.headers["content-type"].startswith("text/html")
        json = client.get(address, headers={"accept": "application/json"})
        assert json.headers["content-type"] == "application/json"
        shown = json.json().get("photos", json.json().get("results", []))
        assert all(photo["name"] in html.text for photo in shown)
    table = client.get(f"/search?q={key}&view=table").text
    n_results = len(client.get(f"/search?q={key}&format=json").json()["results"])
    assert table.count("<tr>") == 1 + n_results


def test_the_description_names_each_address_that_there_is(client):
    described = client.get("/api").json()["paths"]
    served = {
        (route.path.replace("{size}", size), method.lower())
        for route in client.app.routes
        for method in getattr(route, "methods", None) or ()
        for size in ("thumbnail", "view")
    }
    named = {(path, method) for path, item in described.items() for method in item}
    assert {(p, m) for p, m in served if m != "head" and p != "/api"} == {
        (p, m) for p, m in named if m != "parameters"
    }


def test_groups_are_found_in_the_background_and_linked_by_size(served, monkeypatch):
    keys = [key_of(served / f"photos/object-0{i // 4}-scene-{i % 4}.png") for i in range(6)]
    goes_on = threading.Event()

    def find_groups(library):
        with show_progress(None, 9, "verifying", verbose=True) as bar:
            bar.update(3)
            goes_on.wait(30)
        return [keys[:4], keys[4:]]

    monkeypatch.setattr("sklearn_cmac.serve._library.Library.find_groups", find_groups)
    with browser(make_app(served / "photos.cmac")) as client:
        assert client.get("/groups?format=json").json()["state"] == "not begun"
        assert "http-equiv" not in client.get("/groups").text
        assert client.post("/groups", data={"form": form_of(client)}).url.path == "/groups"
        for _ in range(300):
            running = client.get("/groups?format=json").json()
            if running["n"] == 3:
                break
            time.sleep(0.01)
        assert (running["state"], running["doing"], running["of"]) == ("running", "verifying", 9)
        page = client.get("/groups").text
        assert '<noscript><meta http-equiv="refresh"' in page
        assert "data-goes-on" in page  # what the script follows
        goes_on.set()
        while (found := client.get("/groups?format=json").json())["state"] == "running":
            time.sleep(0.01)
        assert [group["size"] for group in found["groups"]] == [4, 2]
        assert found["groups"][1]["link"] == f"/groups/{keys[4]}"
        photos = client.get(f"/groups/{keys[5]}?format=json").json()["photos"]
        assert [photo["photo"] for photo in photos] == keys[4:]
        assert client.get(f"/photos/{keys[1]}?format=json").json()["group"] == f"/groups/{keys[1]}"
        assert (
            client.get(f"/groups/{key_of(served / 'photos/distractor-00.png')}").status_code == 404
        )


# -- one's own photos -----------------------------------------------------------------------------


def test_a_photo_that_is_searched_with_is_stored_nowhere(changing, place, scenes):
    before = {path for path in place.rglob("*") if "sqlite" not in path.name}
    content = as_file(scenes.photos[0].source[20:220, 30:290])
    answer = send(changing, "/photos", ("my cup.png", content))
    assert answer.url.path == f"/photos/{digest_source(content)}"
    assert "my cup.png" in answer.text
    found = changing.get(f"/search?q={digest_source(content)}&format=json").json()
    assert found["results"][0]["name"] == "object-00-scene-0.png"
    assert {path for path in place.rglob("*") if "sqlite" not in path.name} == before
    assert changing.get("/?format=json").json()["total"] == len(scenes.photos)


def test_a_photo_is_added_found_and_removed(changing, place, others):
    content = as_file(others.photos[0].source)
    key = digest_source(content)
    answer = send(changing, "/index/photos", ("../../etc/naïve name.PNG", content))
    assert answer.url.path == "/index"
    assert wait_until_added(changing)["added"] == 1
    (kept,) = (place / "photos.uploads").iterdir()
    assert kept.name == f"naïve-name-{key[:12]}.png"
    assert kept.read_bytes() == content
    found = changing.get(f"/search?q={key}&format=json").json()["results"]
    assert (found[0]["photo"], found[0]["name"]) == (key, kept.name)
    assert send(changing, f"/photos/{key}/remove").url.path == "/"
    assert changing.get(f"/photos/{key}").status_code == 404
    assert changing.get(f"/photos/{key}/view.jpg").status_code == 404
    assert not kept.exists()


def test_a_photo_that_was_lent_can_be_added(changing, others):
    content = as_file(others.photos[1].source)
    send(changing, "/photos", ("lent.png", content))
    send(changing, f"/photos/{digest_source(content)}/add")
    assert wait_until_added(changing)["added"] == 1
    assert changing.get(f"/photos/{digest_source(content)}?format=json").json()["in_index"]


def test_what_is_no_photo_is_told_with_the_reason_and_kept_nowhere(changing, place):
    answer = send(changing, "/index/photos", ("notes.jpg", b"no photo at all"))
    assert "notes.jpg" in answer.text
    assert "not an image" in answer.text
    assert not (place / "photos.uploads").exists()
    refused = send(changing, "/photos", ("notes.jpg", b"no photo at all"))
    assert refused.status_code == 400
    assert "not an image" in refused.text
    assert "view=table" not in refused.text  # which would ask for it with no photo


def test_photos_that_were_not_added_before_the_end_are_at_the_next_start(place, others):
    (place / "photos.uploads").mkdir()
    content = as_file(others.photos[2].source)
    (place / "photos.uploads" / "left.png").write_bytes(content)
    with browser(make_app(place / "photos.cmac")) as client:
        assert wait_until_added(client)["added"] == 1
        assert client.get(f"/photos/{digest_source(content)}?format=json").json()["in_index"]
    with browser(make_app(place / "photos.cmac")) as client:
        assert client.get("/index?format=json").json()["adding"]["total"] == 0


def test_a_photo_whose_file_is_gone_has_a_placeholder(changing, place):
    file = place / "photos/distractor-00.png"
    key = key_of(file)
    file.unlink()
    for size in ("thumbnail", "view"):
        answer = changing.get(f"/photos/{key}/{size}.jpg")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert "distractor-00.png, of which the file is gone" in changing.get("/").text
    assert "is gone" in changing.get(f"/photos/{key}").text
    asked = changing.get(f"/search?q={key}")
    assert asked.status_code == 400
    other = key_of(place / "photos/object-00-scene-0.png")
    found = changing.get(f"/search?q={other}&format=json").json()["results"]
    assert next(r["width"] for r in found if r["photo"] == key) is None


def test_a_photo_that_has_changed_is_not_shown_by_its_old_key(changing, place, others):
    file = place / "photos/distractor-01.png"
    key = key_of(file)
    file.write_bytes(as_file(others.photos[0].source))
    assert changing.get(f"/photos/{key}/view.jpg").headers["content-type"] == "image/svg+xml"


def test_pictures_hold_pixels_and_nothing_else_of_their_file(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x010E], exif[0x8298] = "at home", "somebody"
    content = as_file(pixels, "JPEG", exif=exif, comment=b"secret")
    assert b"at home" in content
    assert b"secret" in content
    picture = make_picture(Photo(content, name="x.jpg"), 64).jpeg
    shown = Image.open(BytesIO(picture))
    assert shown.size == (64, 48)
    assert not dict(shown.getexif())
    assert set(shown.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive",
                               "progression"}  # fmt: skip
    assert b"secret" not in picture


def test_lent_photos_are_forgotten_by_number_bytes_and_age():
    lent = LentPhotos(most=2, most_bytes=100, seconds=3600)
    keys = [lent.put(bytes([i]) * 30, str(i)) for i in range(3)]
    assert [lent.get(key) is not None for key in keys] == [False, True, True]
    large = lent.put(b"x" * 90, "large")
    assert [lent.get(key) is not None for key in [*keys, large]] == [False, False, False, True]
    lent.seconds = 0
    assert lent.get(large) is None


# -- what is refused ------------------------------------------------------------------------------


def test_each_answer_has_the_headers_that_keep_others_out(client, served):
    key = key_of(served / "photos/object-00-scene-0.png")
    refused = client.get("/", headers={"host": "evil.example"})
    for answer in (
        *map(client.get, [*PAGES, f"/photos/{key}/view.jpg", f"/search?q={key}"]),
        client.post("/photos"),
        refused,
    ):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; img-src 'self'; style-src 'self'; script-src")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert "server" not in refused.headers


def test_an_error_of_the_server_has_them_too_and_tells_nothing_of_itself(served, monkeypatch):
    app = make_app(served / "photos.cmac")
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)

    def broken(*args, **named):
        raise RuntimeError("/home/somebody/secret")

    monkeypatch.setattr("sklearn_cmac.serve._library.Library.page", broken)
    with pytest.warns(UserWarning, match="RuntimeError"):
        answer = client.get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "10.0.0.1", "[::2]"]
)
def test_a_host_that_is_not_its_own_is_refused(client, host):
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:8642", "127.0.0.1:1", "[::1]:8642"])
def test_its_own_names_are_not(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "key",
    ["%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..", "0" * 63, "0" * 65, "G" * 64, "0" * 64,
     "a.png", "%00", "photos%2fdistractor-00.png"],
)  # fmt: skip
def test_no_path_leads_to_a_file(client, key):
    for address in (f"/photos/{key}", f"/photos/{key}/view.jpg", f"/groups/{key}", f"/static/{key}",
                    f"/search?q={key}"):  # fmt: skip
        assert client.get(address).status_code in (400, 404), address


def test_a_form_of_another_site_changes_nothing(changing, place):
    key = key_of(place / "photos/distractor-00.png")
    own = {"form": form_of(changing)}
    address = f"/photos/{key}/remove"
    for headers, fields in (
        ({"origin": "http://evil.example"}, own),
        ({"origin": "null"}, own),
        ({"sec-fetch-site": "cross-site"}, own),
        ({"sec-fetch-site": "same-site"}, own),
        ({"sec-fetch-site": "none"}, own),
        ({}, {"form": "guessed"}),
        ({}, {"other": ""}),
    ):
        assert changing.post(address, data=fields, headers=headers).status_code == 403
    assert changing.get(f"/photos/{key}").status_code == 200
    same = {"origin": "null", "sec-fetch-site": "same-origin"}
    assert changing.post(address, data=own, headers=same).url.path == "/"
    assert changing.get(f"/photos/{key}").status_code == 404


def test_other_sites_can_link_to_pages_and_embed_nothing(client):
    cross = {"sec-fetch-site": "cross-site"}
    assert client.get("/", headers={**cross, "sec-fetch-mode": "navigate"}).status_code == 200
    assert client.get("/", headers={**cross, "sec-fetch-mode": "no-cors"}).status_code == 403


def test_a_token_is_needed_once_and_leaves_the_address(served):
    app = make_app(served / "photos.cmac", token="secret-token", hosts=["photos.example"])
    with TestClient(app, base_url="http://photos.example", follow_redirects=False) as client:
        for address in (*PAGES, "/?token=", "/?token=wrong", "/photos/" + "0" * 64 + "/view.jpg"):
            answer = client.get(address)
            assert answer.status_code == 401
            assert "frame-ancestors" in answer.headers["content-security-policy"]
        assert client.post("/photos").status_code == 401
        stranger = client.get('/%2fevil.example/"><script>x</script>?a=1&b=2').text
        assert "<script>" not in stranger
        assert 'href="/evil.example' in stranger
        answer = client.get("/?page=1&token=secret-token")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?page=1")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.get("/").status_code == 200
        client.cookies.clear()
        given = {"authorization": "Bearer secret-token"}
        assert client.get("/", headers=given).status_code == 200
        assert client.get("/", headers={"authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("localhost", True), ("::1", True),
     ("0.0.0.0", False), ("192.168.0.7", False), ("photos.example", False), ("::", False)],
)  # fmt: skip
def test_which_addresses_are_of_this_machine_alone(host, alone):
    assert is_loopback(host) == alone


def test_what_is_too_large_or_too_much_is_refused(changing, monkeypatch, scenes):
    photo = as_file(scenes.photos[0].source)
    monkeypatch.setattr(uploads, "MOST_BYTES", len(photo) - 1)
    assert send(changing, "/photos", ("a.png", photo)).status_code == 413
    monkeypatch.setattr(uploads, "MOST_TOGETHER", 2000)
    assert send(changing, "/photos", ("a.png", photo)).status_code == 413
    monkeypatch.undo()
    assert changing.post("/photos", content=b"{}").status_code == 415
    assert changing.post("/photos", data={"form": "x" * 100_000}).status_code == 413
    monkeypatch.setattr(uploads, "MOST_FILES", 1)
    two = [("a.png", photo), ("b.png", photo)]
    assert send(changing, "/index/photos", *two).status_code == 400
    monkeypatch.setattr("sklearn_cmac.serve._pictures.MAX_PIXELS", 320 * 240 // 4)
    refused = send(changing, "/photos", ("a.png", photo))
    assert refused.status_code == 400
    assert "a.png" in refused.text


def test_so_many_photos_can_be_sent_in_a_minute(served, monkeypatch, scenes):
    monkeypatch.setattr("sklearn_cmac.serve._app._A_MINUTE", 2)
    photo = as_file(scenes.photos[0].source)
    with browser(make_app(served / "photos.cmac")) as client:
        answers = [send(client, "/photos", ("a.png", photo)).status_code for _ in range(3)]
    assert answers == [200, 200, 429]


def test_names_are_text_and_never_markup(place, scenes):
    name = "<script>alert(1)<b>\"'onload=x .png"
    (place / "photos/distractor-00.png").rename(place / "photos" / name)
    with RetrievalIndex.open(place / "photos.cmac") as index:
        index.update(place / "photos")
    with browser(make_app(place / "photos.cmac")) as client:
        key = next(p["photo"] for p in client.get("/?format=json").json()["photos"]
                   if "alert" in p["name"])  # fmt: skip
        answers = [client.get(a) for a in ("/", f"/photos/{key}", f"/search?q={key}")]
        own = as_file(scenes.photos[0].source[:100])
        answers.append(send(client, "/photos", (name, own)))
        answers.append(client.get("/?name=<script>alert(1)</script>"))
        answers.append(client.get("/search?q=<script>alert(1)</script>"))
        for answer in answers:
            assert "alert(1)" in answer.text
            assert "<script>" not in answer.text
            assert 'onload=x"' not in answer.text


def test_pages_hold_no_script_and_no_style_of_their_own(client, served):
    key = key_of(served / "photos/object-00-scene-0.png")
    for address in ("/", f"/search?q={key}@20,20,200,200", "/groups", "/index", f"/photos/{key}"):
        text = client.get(address).text
        assert re.findall("<script[^>]*>", text) == ['<script src="/static/cmac.js" defer>']
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)


def test_each_picture_has_a_text_and_each_field_a_label(client, served):
    key = key_of(served / "photos/object-00-scene-0.png")
    for address in ("/", f"/search?q={key}@20,20,200,200", "/index", f"/photos/{key}"):
        text = client.get(address).text
        assert "<html lang=" in text
        assert all(" alt=" in image for image in re.findall("<img[^>]*>", text))
        for field in re.findall(r"<input(?![^>]*hidden)[^>]*>", text):
            labelled = "aria-label=" in field or 'id="name"' in field
            assert labelled or re.search(
                rf"<label[^>]*>[^<]*(<span>[^<]*</span>\s*)?{re.escape(field)}", text
            ), field


def test_read_only_shows_and_changes_nothing(served):
    key = key_of(served / "photos/object-00-scene-0.png")
    with browser(make_app(served / "photos.cmac", read_only=True)) as client:
        assert "Remove it" not in client.get(f"/photos/{key}").text
        assert "Add photos" not in client.get("/index").text
        for address in (f"/photos/{key}/remove", f"/photos/{key}/add", "/index/photos"):
            assert send(client, address, ("a.png", b"x")).status_code == 403
        assert client.get(f"/search?q={key}").status_code == 200


@pytest.mark.parametrize(
    "asked",
    ["", "q=1", "q=KEY@1,2,3", "q=KEY@nan,0,1,1", "q=KEY@5,5,5,9", "q=KEY@1,2,3,x", "q=KEY&n=0",
     "q=KEY&n=1e3", "q=KEY&combine=sum", "q=KEY&right=1", "photo=KEY&x0=1", "q=KEY&n=99999",
     "q=KEY@0,0,99999,99999"],
)  # fmt: skip
def test_a_search_that_cannot_be_made_is_refused_with_a_reason(client, served, asked):
    key = key_of(served / "photos/object-00-scene-0.png")
    answer = client.get(f"/search?{asked.replace('KEY', key)}")
    assert answer.status_code == 400
    assert "This cannot be asked" in answer.text


def test_a_link_says_the_search_and_the_search_the_link():
    parts = (Part("a" * 64, (1.0, 2.5, 30.0, 40.0)), Part("b" * 64))
    ask = Ask(parts, right=("c" * 64,), wrong=("d" * 64, "e" * 64), n=50, combine="max")
    from starlette.datastructures import QueryParams

    assert read_ask(QueryParams(urlsplit(ask.link).query)) == ask
    assert parse_qs(urlsplit(ask.link).query)["q"] == [f"{'a' * 64}@1,2.5,30,40", "b" * 64]


def test_many_search_while_one_adds(changing, place, others):
    from concurrent.futures import ThreadPoolExecutor

    key = key_of(place / "photos/object-00-scene-0.png")
    files = [(f"{i}.png", as_file(photo.source)) for i, photo in enumerate(others.photos[:9])]
    send(changing, "/index/photos", *files)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: changing.get(f"/search?q={key}&format=json"), range(4)))
    assert {answer.status_code for answer in found} == {200}
    assert {answer.json()["results"][0]["photo"] for answer in found} == {key}
    assert wait_until_added(changing)["added"] == 9


# -- the command ----------------------------------------------------------------------------------


def test_what_cannot_be_served_is_refused_in_one_line(served, tmp_path, capsys):
    assert main(["serve", str(served / "photos"), "--no-open"]) == 2
    assert f"cmac index {served / 'photos'}" in capsys.readouterr().err
    assert main(["serve", str(tmp_path / "nothing"), "--no-open"]) == 2
    assert "is no index" in capsys.readouterr().err
    assert main(["serve", str(served / "photos.cmac"), "--no-open", "--host", "192.0.2.1"]) == 2
    assert "--port" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(served, monkeypatch, capsys):
    import sys

    for name in [name for name in sys.modules if name.startswith("sklearn_cmac.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert main(["serve", str(served / "photos.cmac"), "--no-open"]) == 2
    assert "pip install sklearn-cmac[serve]" in capsys.readouterr().err
