"""No photo, however it is made, harms who opens it.

`CMAC_HOSTILE=10000 pytest tests/hostile` runs so many photos; a sample of them is run otherwise.
`PYTHONPATH=tests python -m hostile 10000` runs the same and prints more.
"""

import itertools
import json
import os
import sys
from collections import Counter

import joblib
import numpy as np
import pytest
from PIL import Image

from hostile import suite
from hostile.case import Case, picture
from hostile.harness import WORDS, Limits, run
from sklearn_cmac import ConvFeatureExtractor, PhotoError
from sklearn_cmac.cli import main

COUNT = int(os.environ.get("CMAC_HOSTILE", 0))
# A machine that does many things at once is slow at each, so a sample is given more time: what is
# without bound takes that, too.
PATIENT = Limits(wall=40, processor=10)

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="the memory of one photo is read from /proc, which Linux has"
)


@pytest.fixture(scope="module")
def outcomes():
    cases = suite.photos(COUNT) if COUNT else suite.sample(240)
    return list(run(cases, limits=Limits() if COUNT else PATIENT))


@pytest.mark.parametrize(
    "word", [pytest.param(word, marks=linux_only if word == "memory" else ()) for word in WORDS]
)
def test_no_photo_has_a_fault(word, outcomes):
    found = [str(o) for o in outcomes if any(fault.startswith(word) for fault in o.faults)]
    assert not found, f"{len(found)} of {len(outcomes)} photos: " + "\n".join(found[:20])


def test_most_valid_pictures_are_opened(outcomes):
    answers = Counter(o.told["answer"] for o in outcomes if o.case.shows == "picture")
    assert answers["decoded"] > 4 * answers["refused"] > 0


def test_a_seed_makes_the_same_photo_each_time():
    for seed in range(20):
        one, again = suite.mutant(seed), suite.mutant(seed)
        assert (one.kind, one.suffix, one.make()) == (again.kind, again.suffix, again.make())


def test_kinds_have_names_of_their_own():
    kinds = [case.kind for case in suite.built()]
    assert len(kinds) == len(set(kinds))


# What the bad door does with a photo of these bytes, and what the harness calls it.
BAD = {
    "crash": "crash: SIGSEGV",
    "exit": "crash",
    "hang": "hang: more than",
    "spin": "hang",
    "memory": "memory: 2",
    "all memory": "memory: asked for more",
    "exception": "exception: IndexError",
    "name": "name",
    "size": "size: said",
    "program": "payload: subprocess.Popen",
    "program of a library": "payload: os.system",
    "file": "payload",
    "other file": "payload: open ('/etc/passwd'",
    "socket": "payload: socket",
    "stderr": "stderr: 'libtiff",
    "warning": "warning: UserWarning: a picture",
    "one colour": "blank",
    "other picture": "picture: differs",
}


@linux_only
def test_the_harness_finds_each_fault_of_a_bad_door():
    cases = [Case(asked, asked.encode, ".jpg", "picture") for asked in BAD]
    limits = Limits(processor=0.5, memory=150, dead=6)
    found = {o.case.kind: o.faults for o in run(cases, limits=limits, door="hostile.bad_door")}
    assert found.keys() == BAD.keys()
    for asked, fault in BAD.items():
        assert any(text.startswith(fault) for text in found[asked]), (asked, found[asked])
    for program in ("gs", "convert"):
        assert any(f"ran ['{program}" in text for faults in found.values() for text in faults)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A folder of a dozen hostile photos between three sound ones."""
    place = tmp_path_factory.mktemp("stranger")
    wanted = (
        "none/empty-named-jpg", "none/postscript-named-jpg", "none/text-named-png",
        "jpeg/size-65500x65500-progressive", "jpeg/scans-20000-of-8000", "png/signature-alone",
        "png/flat-30000x30000-grey", "webp/lossless-16384x16384", "gif/screen-65535-frame-1",
        "tiff/compression-5-strips", "jpeg2000/components-16384",
    )  # fmt: skip
    cases = {case.kind: case for case in suite.built()}
    for kind in wanted:
        case = cases.get(kind)
        if case is not None:  # of a format that this Pillow does not know
            (place / f"{kind.replace('/', '-')}{case.suffix}").write_bytes(case.make())
    turns = (None, *list(Image.Transpose)[:2])
    for i, turn in enumerate(turns):
        image = picture() if turn is None else picture().transpose(turn)
        image.save(place / f"sound-{i}.png")
    return place


def is_sound(path):
    return path.name.startswith("sound")


@pytest.mark.parametrize("how", ["one", "threads", "processes"])
def test_extraction_goes_on_and_names_each_photo(how, stranger):
    photos = sorted(stranger.iterdir())
    extractor = ConvFeatureExtractor(layer="blocks.3", max_size=96)
    if how == "processes":
        parts = photos[::2], photos[1::2]
        tasks = (joblib.delayed(_failures)(extractor, part) for part in parts)
        told = joblib.Parallel(n_jobs=2)(tasks)
    else:
        extractor.set_params(n_jobs={"one": 1, "threads": 2}[how])
        told = [_failures(extractor, photos)]
    failed = {name for names, _ in told for name in names}
    assert failed == {str(path) for path in photos if not is_sound(path)}
    described = list(itertools.chain.from_iterable(maps for _, maps in told))
    assert described == [str(path) for path in photos if is_sound(path)] or how == "processes"
    assert len(described) == 3


def _failures(extractor, photos):
    """Names of photos that failed, and of those that did not."""
    with pytest.raises(PhotoError) as caught:
        extractor.fit_transform(photos)
    for _, name, reason in caught.value.failures:
        assert name in reason
    return [name for _, name, _ in caught.value.failures], [m.name for _, m in caught.value.maps]


@pytest.mark.filterwarnings("ignore:whitening")
def test_an_index_of_a_stranger_folder_is_made_and_tells_what_failed(stranger, capsys):
    asked = ["index", str(stranger), "--layer", "blocks.3", "--max-size", "96", "--system", "rmac"]
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["photos"] == 3
    bad = [str(path) for path in sorted(stranger.iterdir()) if not is_sound(path)]
    assert sorted(name for name, _ in told["failed"]) == bad


def test_pixels_of_a_sound_photo_are_the_same_among_hostile_ones(stranger):
    """Nothing that a damaged photo leaves behind in a library changes the next."""
    from sklearn_cmac.pixels import decode

    for path in sorted(stranger.iterdir()):
        if is_sound(path):
            rgb, _ = decode(path.read_bytes(), path.name)
            np.testing.assert_array_equal(rgb, np.asarray(Image.open(path)))
        else:
            with pytest.raises(PhotoError):
                decode(path.read_bytes(), path.name)
