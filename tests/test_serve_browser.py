"""The pages of an index in a browser: boxes by mouse, touch and keys, marks, links, uploads."""

import shutil
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from contrast import faint
from PIL import Image
from serving import key_of
from sklearn.frozen import FrozenEstimator

from sklearn_cmac import make_rmac_pipeline
from sklearn_cmac.inspection import write_results
from sklearn_cmac.pipelines import fit_to_search
from sklearn_cmac.pixels import photo_size
from sklearn_cmac.search import RegionMatching, RetrievalIndex, Retriever

serve = pytest.importorskip("sklearn_cmac.serve", reason="it needs: sklearn-cmac[serve]")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: sklearn-cmac[serve]")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: sklearn-cmac[test]"
)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install chromium"),
    pytest.mark.filterwarnings("ignore:whitening"),
]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def running(app):
    """The address of a server that runs in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def address(served, tmp_path_factory):
    place = tmp_path_factory.mktemp("shown") / "scenes"
    shutil.copytree(served, place)
    with running(serve.make_app(place / "photos.cmac")) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, address):
    """A page of a desktop, which complains of nothing."""
    context = chromium.new_context(base_url=address, viewport={"width": 1000, "height": 800})
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert not said


def follow(page, selector):
    """Click, and wait until all of the page that follows is there."""
    with page.expect_navigation():
        page.click(selector)


def open_photo(page, name):
    page.goto(f"/?name={name}")
    follow(page, ".wall a")
    page.locator(".editor svg").wait_for()


def on_screen(page, x, y):
    """Where a pixel of the photo is, if that has 320 by 240."""
    box = page.locator(".editor svg").bounding_box()
    return box["x"] + x * box["width"] / 320, box["y"] + y * box["height"] / 240


def drag(page, start, end):
    page.mouse.move(*on_screen(page, *start))
    page.mouse.down()
    page.mouse.move(*on_screen(page, *((a + b) / 2 for a, b in zip(start, end))))
    page.mouse.move(*on_screen(page, *end))
    page.mouse.up()


def fields(page):
    return [float(page.input_value(f"[name={side}]") or "nan") for side in ("x0", "y0", "x1", "y1")]


def found(page):
    return [text.removesuffix(".png") for text in page.locator(".results .name").all_inner_texts()]


def test_a_box_is_drawn_moved_and_resized_with_the_mouse_and_the_object_is_found(page, scenes):
    open_photo(page, "object-00-scene-0")
    x0, y0, x1, y1 = scenes.photos[0].box
    drag(page, (x0 - 60, y0 + 30), (x1 - 60, y1 + 30))
    assert fields(page) == pytest.approx([x0 - 60, y0 + 30, x1 - 60, y1 + 30], abs=1)
    middle = (x0 + x1) / 2 - 60, (y0 + y1) / 2 + 30
    drag(page, middle, (middle[0] + 60, middle[1] - 30))
    assert fields(page) == pytest.approx([x0, y0, x1, y1], abs=1)
    drag(page, (x1, y1), (x1 + 20, y1 + 10))
    drag(page, (x1 + 20, y1 + 10), (x1, y1))
    assert fields(page) == pytest.approx([x0, y0, x1, y1], abs=1)
    follow(page, "button.main")
    assert found(page)[0] == "object-00-scene-0"
    assert found(page)[1].startswith("object-00")
    link, before = page.url, found(page)
    assert page.locator(".asked svg path").count()
    # Numbered regions lie on the part of the photo that they are of.
    part, outlines = (page.locator(f".close {each}") for each in (".part", ".outlines"))
    page.locator("#regions").set_checked(False)
    assert not part.is_visible()
    page.locator("#regions").check()
    assert part.bounding_box() == pytest.approx(outlines.bounding_box(), abs=0.5)
    assert page.locator(".results > li:first-child .number").count() == 3

    # Marks bring what is right forward, and the link says all of it.
    right = next(i for i, name in enumerate(before) if i > 1 and name.startswith("object-00"))
    wrong = next(i for i, name in enumerate(before) if not name.startswith("object-00"))
    for i, mark in ((right, "right"), (wrong, "wrong")):
        page.locator(".results > li").nth(i).get_by_label(mark, exact=True).check()
    follow(page, ".again button")
    after = found(page)
    assert after.index(before[right]) < right
    assert after.index(before[wrong]) > wrong
    assert page.url.startswith(f"{link}&right=")
    page.goto(page.url)
    assert found(page) == after
    follow(page, "text=Forget them")
    assert found(page) == before


def test_a_box_is_made_moved_and_resized_with_keys(page):
    open_photo(page, "object-01-scene-1")
    page.focus(".editor svg")
    page.keyboard.press("ArrowRight")
    assert fields(page) == [80, 60, 240, 180]  # the middle half
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert fields(page) == pytest.approx([86.4, 66.4, 246.4, 186.4], abs=0.5)
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    assert fields(page) == pytest.approx([86.4, 66.4, 240, 192.8], abs=0.5)
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    assert fields(page)[:2] == pytest.approx([0, 66.4], abs=0.5)  # it stays in the photo
    assert "from 0, 66" in page.get_attribute(".editor svg", "aria-label")
    page.keyboard.press("Escape")
    assert page.input_value("[name=x0]") == ""
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")  # not a button: nothing is sent by chance
    page.fill("[name=x0]", "10")
    assert "from 10, 60" in page.get_attribute(".editor svg", "aria-label")
    page.focus("button.main")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith("@10,60,240,180")
    assert page.locator(".results > li").count()


def test_a_box_is_drawn_with_a_finger_on_a_phone(chromium, address):
    context = chromium.new_context(
        base_url=address, viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    open_photo(page, "object-02-scene-0")
    page.locator(".editor").scroll_into_view_if_needed()
    (x, y), (to_x, to_y) = on_screen(page, 40, 30), on_screen(page, 200, 150)
    finger = context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [(x, y)]),
        ("touchMove", [((x + to_x) / 2, (y + to_y) / 2)]),
        ("touchMove", [(to_x, to_y)]),
        ("touchEnd", []),
    ):
        places = [{"x": a, "y": b} for a, b in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
    assert fields(page) == pytest.approx([40, 30, 200, 150], abs=2)
    for place in ("/", page.url, "/index", "/groups"):
        page.goto(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
    context.close()


def test_an_own_photo_is_searched_with_added_and_found(page, others, tmp_path):
    Image.fromarray(others.photos[0].source).save(tmp_path / "my own.png")
    page.goto("/")
    page.set_input_files(".lend input[type=file]", tmp_path / "my own.png")
    page.locator("h1:has-text('my own.png')").wait_for()
    follow(page, "text=Add it to the index")
    page.evaluate("window.stays = true")
    page.locator("text=Done: 1 of 1 added").wait_for()
    assert page.evaluate("window.stays")  # progress is told without the page being loaded anew
    open_photo(page, "my-own")
    follow(page, "button.main")
    assert found(page)[0].startswith("my-own-")


def test_a_search_is_made_marked_and_made_again_with_keys_alone(page):
    """From the first page, by Tab, arrows and Enter; what has the focus is never below the bar."""

    def tab_to(selector):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("(s) => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"Tab does not lead to {selector}")

    def enter():
        with page.expect_navigation():
            page.keyboard.press("Enter")

    page.goto("/?name=object-01-scene-0")
    tab_to(".wall a")
    enter()
    page.locator(".editor svg").wait_for()
    tab_to(".editor svg")
    page.keyboard.press("ArrowRight")
    tab_to("button.main")
    enter()
    tab_to(".marks input")
    focused, bar = (page.locator(each).bounding_box() for each in (":focus", ".again"))
    assert focused["y"] + focused["height"] <= bar["y"]
    page.keyboard.press("ArrowRight")
    enter()  # of a mark too
    assert "&right=" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_text_and_control_stands_out_from_what_is_behind_it(
    chromium, address, served, scenes, tmp_path, scheme
):
    """As browsers show the pages of the server, and the one that a search writes."""
    context = chromium.new_context(base_url=address, color_scheme=scheme)
    page = context.new_page()
    key = key_of(served / "photos/object-00-scene-0.png")
    box = ",".join(f"{v:g}" for v in scenes.photos[0].box)
    with RetrievalIndex.open(served / "photos.cmac", read_only=True) as index:
        query = served / "photos/object-00-scene-0.png"
        write_results(tmp_path / "page.html", index, query, index.search(query, 9))
    marked = f"right={key}&wrong={key_of(served / 'photos/distractor-00.png')}"
    for place in ("/", f"/photos/{key}", f"/search?q={key}@{box}&{marked}", "/index", "/groups",
                  "/nothing", "/?view=table", (tmp_path / "page.html").as_uri()):  # fmt: skip
        page.goto(place)
        assert faint(page) == [], place
    context.close()


def test_without_script_a_box_is_typed(chromium, address):
    context = chromium.new_context(base_url=address, java_script_enabled=False)
    page = context.new_page()
    page.goto("/?name=object-03-scene-0")
    follow(page, ".wall a")
    for side, value in zip(("x0", "y0", "x1", "y1"), (20, 30, 200, 180)):
        page.fill(f"[name={side}]", str(value))
    assert page.locator(".without-script").first.is_visible()
    assert not page.locator(".with-script").first.is_visible()
    follow(page, "button.main")
    assert page.url.endswith("@20,30,200,180")
    context.close()


def test_the_fountain_of_the_landmarks_is_found(chromium, landmarks, tmp_path):
    """A box on a real photo, among photos of other fountains, castles and streets."""
    boxes = (landmarks / "boxes.csv").read_text().splitlines()
    name, _, *box = next(line for line in boxes if "aix_fontaine" in line).split(",")[:6]
    images = landmarks / "images"
    own = sorted((images / "aix_fontaine_rotonde").iterdir())[:6]
    photos = [images / name, *own, *sorted(images.rglob("*.jpg"))[::40]]
    pipeline = make_rmac_pipeline(whiten__n_components=256, features__max_size=384)
    fitted = FrozenEstimator(fit_to_search(pipeline, photos))
    retriever = Retriever(fitted, [("match", RegionMatching())]).fit([])
    with RetrievalIndex.create(tmp_path / "some.cmac", retriever) as index:
        index.add([str(photo) for photo in photos])
    with running(serve.make_app(tmp_path / "some.cmac")) as address:
        context = chromium.new_context(base_url=address)
        page = context.new_page()
        open_photo(page, Path(name).stem)
        width, height = photo_size(images / name)
        x0, y0, x1, y1 = np.array(box, float) * ([320 / width, 240 / height] * 2)
        drag(page, (x0, y0), (x1, y1))
        follow(page, "button.main")
        assert all(each.startswith("aix_fontaine_rotonde") for each in found(page)[:4])
        context.close()
