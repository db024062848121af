"""An index of scenes that the tests of its pages share."""

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
