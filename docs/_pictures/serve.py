"""Pictures of docs/serve.md: pages of an index of made scenes, in Chromium by playwright.

    python docs/_pictures/serve.py

The scenes are indexed as `cmac index` indexes a folder, and a box is drawn with the mouse.
"""

import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from sklearn_cmac.cli import main as cmac
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.serve import make_app

IMAGES = Path(__file__).parents[1] / "images"
ASKED = "object-01-scene-1"
TIMEOUT = 300_000  # milliseconds; the first search loads the networks


@contextmanager
def served(app):
    """The address of a server that runs in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def save(page, name, height):
    """What is on the screen. A palette takes a third of the bytes."""
    page.set_viewport_size({"width": 1000, "height": height})
    page.wait_for_load_state("networkidle")
    file = IMAGES / name
    page.screenshot(path=file)
    with Image.open(file) as shown:
        few = shown.convert("RGB").quantize(160, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
    print(f"{file}: {file.stat().st_size} bytes")


def take(page, box):
    """A box that is drawn, and what is found."""
    page.goto(f"/?name={ASKED}")
    page.click(".wall a")
    drawing = page.locator(".editor svg")
    drawing.wait_for()
    page.wait_for_load_state("networkidle")
    place, width = drawing.bounding_box(), float(page.get_attribute(".editor", "data-width"))
    x0, y0, x1, y1 = (v * place["width"] / width for v in box)
    page.mouse.move(place["x"] + x0, place["y"] + y0)
    page.mouse.down()
    page.mouse.move(place["x"] + x1, place["y"] + y1, steps=4)
    page.mouse.up()
    save(page, "serve-box.png", 660)
    with page.expect_navigation():
        page.click("button.main")
    page.check("#regions")
    save(page, "serve-results.png", 900)


def main():
    """Both."""
    scenes = make_object_scenes(6, 5, 20, object_scale=(0.9, 1.6), random_state=4)
    box = next(photo.box for photo in scenes.photos if photo.name == ASKED)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        photos = Path(folder, "scenes")
        photos.mkdir()
        for photo in scenes.photos:
            Image.fromarray(photo.source).save(photos / f"{photo.name}.jpg", quality=92)
        cmac(["index", str(photos)])
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        with served(make_app(f"{photos}.cmac")) as address:
            page = browser.new_page(base_url=address, color_scheme="light")
            page.set_default_timeout(TIMEOUT)
            page.set_viewport_size({"width": 1000, "height": 900})
            take(page, box)
        browser.close()


if __name__ == "__main__":
    main()
