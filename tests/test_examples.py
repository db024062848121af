"""What the gallery shows is credited; that its examples run is what building the docs tests."""

import re
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
AUTHOR = {
    "palace": "danielbuechele",
    "flower": "vultilion",
    "data.coffee": "Rachel Michetti",
    "data.chelsea": "Stefan van der Walt",
    "data.astronaut": "NASA",
    "data.hubble_deep_field": "NASA",
    "data.rocket": "SpaceX",
}


def test_the_authors_of_all_photos_in_the_gallery_are_on_its_first_page():
    first_page = " ".join((EXAMPLES / "README.rst").read_text().split())
    used = {"palace", "flower"}  # both come with `load_sample_images`
    for example in EXAMPLES.rglob("plot_*.py"):
        used |= set(re.findall(r"\bdata\.\w+", example.read_text()))
    assert used <= AUTHOR.keys()
    assert [AUTHOR[photo] for photo in used if AUTHOR[photo] not in first_page] == []
