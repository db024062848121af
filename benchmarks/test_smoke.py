"""Every script of this folder runs to its end on a few small made photos.

    pytest -n auto --dist worksteal benchmarks

Numbers that come out mean nothing: what is tested is that the scripts still fit the package. A new
script needs an entry in `ARGUMENTS` that makes it quick.
"""

from __future__ import annotations

import csv
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from sklearn_cmac import Photo
from sklearn_cmac.datasets import make_object_scenes

HERE = Path(__file__).parent
# DATA stands for the folder of made photos.
STORE = ["--data", "DATA", "--store", "DATA/maps"]
# What one script measured is kept for the others.
KEPT = [*STORE, "--out", "DATA/paper"]
NETWORK = [*KEPT, "--networks", "efficientnet_lite0", "--max-size", "256"]
CLUSTERS = [*NETWORK, "--systems", "paper"]
OFFICIAL = [
    "--oxford", "DATA/oxford", "--oxford-annotations", "DATA/oxford_gt",
    "--paris", "DATA/paris279/jpg", "--paris-annotations", "DATA/paris_gt",
    "--distractors", "DATA/landmarks/images",
]  # fmt: skip
ARGUMENTS = {
    "calibration.py": [
        *STORE,
        "--verifiers",
        "XFeat, nearest",
        "--same",
        "10",
        "--others",
        "20",
        "--slow-same",
        "5",
    ],
    "chains.py": [
        *KEPT,
        "--systems",
        "rmac",
        "--sizes",
        "96+64",
        "--columns",
        "L-X",
        "P few",
        "--only",
        "matching",
        "verified",
    ],
    "costs.py": [],
    "distractors.py": ["--photos", "130", "--size", "128", "96"],
    "engine_quality.py": [
        *STORE,
        "--photos",
        "1",
        "--system",
        "rmac",
        "--max-size",
        "96",
        "--engines",
        "openvino",
        "--precisions",
        "float32",
    ],
    "engines.py": ["--networks", "efficientnet_lite0", "--side", "96", "--rounds", "1"],
    "failures.py": [*STORE, "--sheets", "sheets"],
    "first_stage.py": [
        *STORE,
        "--systems",
        "rmac",
        "--shares",
        "0.05",
        "0.2",
        "--objects",
        "2",
        "--pieces",
        "3",
        "--photos",
        "20",
    ],
    "feedback.py": [
        *KEPT,
        "--sizes",
        "96+64",
        "--columns",
        "L-X",
        "--marked",
        "3",
        "--timed",
        "1",
        "--only",
        "matching",
    ],
    "groups.py": [
        *STORE,
        "--indexes",
        "DATA/groups",
        "--system",
        "rmac",
        "--max-size",
        "96",
        "--n-neighbors",
        "5",
        "--min-probability",
        "0.5",
    ],
    "landmarks.py": [*STORE, "--shrinkage", "1"],
    "lobpcg.py": [*STORE, "--cells", "768", "--photos", "1", "--rounds", "1"],
    "ncut.py": [*STORE, "--cells", "768", "--photos", "1", "--rounds", "1"],
    "ncut_cases.py": [*STORE, "--cases", "DATA/ncut_cases", "--sizes", "150", "--photos", "1"],
    "ncut_map.py": STORE,
    "neighbors.py": ["--photos", "2000", "--dimension", "16", "--rounds", "3"],
    "networks.py": ["--networks", "mobilenetv4_conv_small", "--largest", "512"],
    "repeatable.py": ["--data", "DATA", "--photos", "2", "--ways", "one thread"],
    "regions.py": [*STORE, "--only", "paper + shrinkage"],
    "scale.py": ["--rounds", "3", "--adds", "5"],
    "scales.py": [*STORE, "--sizes", "96+64", "--systems", "rmac", "--set", "whiten__power=0.7"],
    "ship_whitening.py": [*STORE, "--max-size", "96", "--components", "8"],
    "size_roles.py": [*STORE, "--sizes", "256+192", "--systems", "cmac"],
    "sizes.py": [*STORE, "--sizes", "96", "--strides", "16", "--plot", "figure.png"],
    "small_collections.py": [
        *STORE,
        "--sets",
        "landmarks",
        "--sizes",
        "12",
        "--photos",
        "12",
        "--system",
        "mac",
    ],
    "startup.py": ["--data", "DATA", "--rounds", "1", "--engines", "--photos", "2"],
    "stores.py": ["--photos", "300", "--dimension", "16", "--queries", "3"],
    "throughput.py": [
        "--data",
        "DATA",
        "--photos",
        "2",
        "--rounds",
        "1",
        "--systems",
        "rmac",
        "--sizes",
        "128",
        "--engines",
        "openvino",
    ],
    "timm_networks.py": ["--networks", "mobilenetv3_small_050", "levit_128s"],
    "verification.py": [
        *KEPT,
        "--size",
        "96+64",
        "--candidates",
        "3",
        "--columns",
        "L-X",
        "R-H",
        "--only",
        "XFeat, nearest",
        "1000 points, 8 bits, 70 kB",
        "500 points, 1 bits, 7 kB",
    ],
    "paper/__main__.py": NETWORK,
    "paper/all_partitions.py": ["--max-size", "256", "--plot", "figure.png"],
    "paper/all_regions.py": [*CLUSTERS, "--plot", "figure.png"],
    "paper/all_steps.py": [*NETWORK, "--systems", "rmac"],
    "paper/all_systems.py": [*NETWORK, "--systems", "rmac", "siamac", "paper"],
    **{f"paper/figure{n}.py": NETWORK for n in (1, 3, 4, 5, 6, 7)},
    "paper/fine_tuned.py": [*NETWORK, *OFFICIAL, "--systems", "rmac"],
    "paper/local.py": ["--data", "DATA", "--max-size", "128"],
    "paper/sweep_components.py": [*CLUSTERS, "--values", "2", "4", "--plot", "figure.png"],
    "paper/sweep_dimensions.py": [*CLUSTERS, "--values", "8", "16"],
    "paper/sweep_places.py": [*CLUSTERS, "--values", "0", "1"],
    "paper/table1.py": [*NETWORK, *OFFICIAL],
    "paper/table2.py": NETWORK,
    "paper/table3.py": NETWORK,
}
PROGRAMS = sorted(
    str(path.relative_to(HERE))
    for path in HERE.rglob("*.py")
    if '\nif __name__ == "__main__":' in path.read_text()
)


def save(photo: Photo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo.source).save(path)


def scenes(n_objects: int, seed: int) -> list[tuple[Photo, str, int]]:
    """Photos with the name of their object and a number: four of each, then six of none."""
    made = make_object_scenes(n_objects, 4, 6, size=(256, 192), random_state=seed)
    return [(photo, label, i) for i, (photo, label) in enumerate(zip(made.photos, made.target))]


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_labelled(folder: Path) -> None:
    """Labelled photos, one of each object with a box."""
    labels, boxes = [], []
    for photo, label, i in scenes(5, seed=1):
        file = f"{label or '_distractors'}/{i}.jpg"
        save(photo, folder / "images" / file)
        labels.append([file, label, 256, 192])
        if photo.box is not None and i % 4 == 0:
            boxes.append([file, *photo.box])
    write_table(folder / "labels.csv", ["filename", "instance", "width", "height"], labels)
    write_table(folder / "boxes.csv", ["filename", "x0", "y0", "x1", "y1"], boxes)


def write_benchmark(photos: Path, official: Path, revisited: Path, prefix: str, seed: int) -> None:
    """Photos with both annotations: of each object one asks, two are right and one is junk."""
    named = [(photo, label, f"{prefix}_{i:06}") for photo, label, i in scenes(3, seed)]
    objects: dict[str, list[tuple[Photo, str]]] = {}
    for photo, label, name in named:
        save(photo, photos / f"{name}.jpg")
        if label:
            objects.setdefault(label, []).append((photo, name))
    asking = [own[0][1] for own in objects.values()]
    listed = [name for _, _, name in named if name not in asking]
    entries = []
    official.mkdir()
    for label, ((photo, query), *others) in objects.items():
        good, ok, junk = (name for _, name in others)
        box = " ".join(map(str, photo.box))
        texts = {"query": f"{query} {box}", "good": f"{query}\n{good}", "ok": ok, "junk": junk}
        for kind, text in texts.items():
            (official / f"{label}_1_{kind}.txt").write_text(text)
        easy, hard, rest = ([listed.index(name)] for name in (good, ok, junk))
        entries.append({"bbx": list(photo.box), "easy": easy, "hard": hard, "junk": rest})
    truth = {"imlist": listed, "qimlist": asking, "gnd": entries}
    revisited.write_bytes(pickle.dumps(truth))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made photos in the layout that the scripts read."""
    folder = tmp_path_factory.mktemp("data")
    truth = folder / "revisited_gt"
    truth.mkdir()
    write_labelled(folder / "landmarks")
    paris = folder / "paris279"
    write_benchmark(
        paris / "jpg", folder / "paris_gt", truth / "gnd_rparis6k.pkl", "paris_tower", seed=2
    )
    scales = [[path.stem, 1.0] for path in (paris / "jpg").iterdir()]
    write_table(paris / "files.csv", ["image", "scale_in_jpg_768"], scales)
    write_benchmark(
        folder / "oxford", folder / "oxford_gt", truth / "gnd_roxford5k.pkl", "college", seed=3
    )
    return folder


def run(command: Sequence[object], place: Path) -> str:
    """What a Python program prints, run in a folder of its own."""
    environment = {
        "SKLEARN_CMAC_CACHE": str(place.parent / "cache"),
        **os.environ,
        "PYTHONPATH": str(HERE.parent),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("script", PROGRAMS)
def test_the_script_measures_something(script: str, data: Path, tmp_path: Path) -> None:
    assert script in ARGUMENTS, f"give {script} an entry in ARGUMENTS that makes it quick"
    arguments = [word.replace("DATA", str(data)) for word in ARGUMENTS[script]]
    printed = run([HERE / script, *arguments], tmp_path)
    assert re.search(r"\d\.\d|\.png|not measured: needs ", printed), printed


@pytest.mark.parametrize(
    ("script", "peer"),
    [("neighbors.py", "faiss"), ("scale.py", "faiss"), ("paper/local.py", "skimage")],
)
def test_a_script_says_which_peer_it_does_without(script: str, peer: str) -> None:
    place, name = (HERE / script).parent, (HERE / script).name
    blocked = f"import runpy, sys; sys.modules[{peer!r}] = None; "
    code = f"{blocked}runpy.run_path({name!r}, run_name='__main__')"
    assert "not measured: needs " in run(["-c", code, *ARGUMENTS[script]], place)
