"""An index of scenes that the tests of its pages share, and what visitors do there."""

import time
from io import BytesIO

from PIL import Image

from sklearn_cmac import make_rmac_pipeline
from sklearn_cmac.photos import digest_source
from sklearn_cmac.search import RegionMatching, RetrievalIndex, Retriever


def make_served(place, scenes):
    """The scenes as files photos/object-00-scene-0.png, …, and photos.cmac beside them."""
    (place / "photos").mkdir()
    for photo in scenes.photos:
        Image.fromarray(photo.source).save(place / "photos" / f"{photo.name}.png")
    # Cut early, the network takes a fifth of the time, and finds made objects as well.
    pipeline = make_rmac_pipeline(
        whiten__shrinkage=1,
        whiten__n_components=32,
        features__layer="blocks.4",
        features__max_size=320,
    )
    retriever = Retriever(pipeline, [("match", RegionMatching())]).fit(scenes.photos)
    with RetrievalIndex.create(place / "photos.cmac", retriever) as index:
        index.update(place / "photos")
    return place


def key_of(path):
    """By which key pages call a photo."""
    return digest_source(path.read_bytes())


def browser(app, **headers):
    """A visitor, and the server with it while it is entered."""
    from starlette.testclient import TestClient

    return TestClient(app, base_url="http://127.0.0.1", headers=headers)


def as_file(pixels, form="PNG", **options):
    content = BytesIO()
    Image.fromarray(pixels).save(content, form, **options)
    return content.getvalue()


def form_of(client):
    """What forms of the server's pages bring back."""
    return client.get("/index?format=json").json()["form"]


def send(client, address, *files, **fields):
    sent = [("photo", file) for file in files]
    return client.post(address, files=sent, data={"form": form_of(client), **fields})


def wait_until_added(client):
    for _ in range(300):
        adding = client.get("/index?format=json").json()["adding"]
        if adding["done"] == adding["total"] > 0:
            return adding
        time.sleep(0.02)
    raise AssertionError("nothing is added")
