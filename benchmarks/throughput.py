"""Photos a second of the whole chain, by engine, number format and cores, beside the bare network.

    python benchmarks/throughput.py --data ../shared/data

The chain is what indexing does: read, decode, network, regions, pooling, whitening. Its first
table is in processor seconds of one thread, so that other work on the machine counts little:
milliseconds a photo (median and least over rounds), how many times as fast as the chain in
PyTorch, and the share of it that is the bare network in the same engine: its forward pass on
photos that are decoded. Rounds take turns. The second table is wall time with one thread and with
two. Peers describe the same photos in the same run; those that are not installed are left out, and
named. Needs an otherwise idle machine for the second table.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from scales import scaling
from threadpoolctl import threadpool_limits

from sklearn_cmac._markdown import as_table
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.networks import Runner, choose_arithmetic, get_backbone, installed_engines
from sklearn_cmac.photos import as_photo, read_source
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.pixels import decode
from sklearn_cmac.search import describe_collection

LITE0 = "efficientnet_lite0"
COMPARED = ("rmac", "paper", "cmac", "mixed")
STEPS = {
    "features": "decode, network",
    "pca": "embedding",
    "regions": "regions",
    "pool": "pool",
    "whiten": "whiten",
    "aggregate": "sum",
}
Way = tuple[str, str]
Times = dict[tuple, list[float]]


def ways(engines: Sequence[str], precisions: Sequence[str] = ("float32", "bfloat16")) -> list[Way]:
    """Engines and number formats in which this processor computes natively."""
    backbone = get_backbone(LITE0)
    return [
        (engine, precision)
        for engine in ("torch", *engines)
        for precision in precisions
        if choose_arithmetic(precision, engine, backbone, "cpu") == precision
    ]


def fitted(name: str, sizes: str, photos: Sequence[Path], store: str) -> Corridor:
    features = {f"features__{key}": value for key, value in scaling(sizes).items()}
    pipeline = SYSTEMS[name].make(**features, features__store=store, whiten__shrinkage=1.0)
    pipeline.fit(list(photos)).set_params(features__store=None)
    return Corridor(pipeline)


def measure(
    chains: dict, sizes: str, photos: list[Path], args: argparse.Namespace
) -> tuple[Times, Times]:
    """Seconds a photo, of the processor and by the clock, of chains and networks."""
    processor, clock = defaultdict(list), defaultdict(list)
    decoded = [
        decode(read_source(as_photo(photo)), str(photo), max_size=int(size))[0]
        for photo in photos
        for size in sizes.split("+")
    ]

    def note(key: tuple, work: Callable[[], object]) -> None:
        started, used = time.perf_counter(), time.process_time()
        work()
        processor[key].append((time.process_time() - used) / len(photos))
        clock[key].append((time.perf_counter() - started) / len(photos))

    for _ in range(args.rounds):
        for way in args.ways:
            network = get_backbone(LITE0).runner(way[0], "cpu", way[1])
            note(("network", way, 1), partial(run_each, network, decoded))
            for name, corridor in chains.items():
                for n_jobs in args.jobs if way in args.scaled else (1,):
                    corridor.extractor.set_params(engine=way[0], precision=way[1], n_jobs=n_jobs)
                    describe = partial(describe_collection, corridor.pipeline, photos)
                    note((name, way, n_jobs), describe)
    return processor, clock


def run_each(network: Runner, decoded: list[np.ndarray]) -> None:
    for rgb in decoded:
        network(rgb[None])


def plain_rmac(photos: Sequence[Path], size: int) -> None:
    """R-MAC after its formulas, in nothing but Pillow and PyTorch, with the same network."""
    network = get_backbone(LITE0).forward_on("cpu")
    for photo in photos:
        image = Image.open(photo).convert("RGB")
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()[None] / 255
        with torch.inference_mode():
            x = network((x - 127 / 255) / (128 / 255))
            total = torch.nn.functional.normalize(x.amax((2, 3)))
            height, width = x.shape[2:]
            short = min(height, width)
            for level in (1, 2, 3):
                side = max(1, 2 * short // (level + 1))
                rows = np.linspace(0, height - side, level + (height > width)).astype(int)
                cols = np.linspace(0, width - side, level + (width > height)).astype(int)
                for top in rows:
                    for left in cols:
                        part = x[:, :, top : top + side, left : left + side].amax((2, 3))
                        total = total + torch.nn.functional.normalize(part)
            torch.nn.functional.normalize(total)


def imagededup(photos: Sequence[Path], size: int) -> None:
    """The encoder of imagededup: MobileNetV3 at 224 pixels, its own weights."""
    from imagededup.methods import CNN

    encoder = CNN(verbose=False)
    for photo in photos:
        encoder.encode_image(image_file=photo)


def deep_image_search(photos: Sequence[Path], size: int) -> None:
    """The encoder of DeepImageSearch: VGG19 at 224 pixels, its own weights."""
    from DeepImageSearch import Search_Setup

    setup = Search_Setup(image_list=[str(photo) for photo in photos], model_name="vgg19")
    for photo in photos:
        setup._extract(Image.open(photo))


PEERS = {
    "R-MAC in plain PyTorch": (plain_rmac, "torch"),
    "imagededup, 224 pixels": (imagededup, "imagededup"),
    "DeepImageSearch, 224 pixels": (deep_image_search, "DeepImageSearch"),
}


def peers(photos: list[Path], rounds: int, ours: float) -> str:
    """Processor milliseconds a photo of others' programs, one thread."""
    rows = []
    for name, (encode, module) in PEERS.items():
        try:
            if importlib.util.find_spec(module) is None:
                raise ImportError(f"needs {module}")
            seconds = []
            for _ in range(rounds):
                started = time.process_time()
                encode(photos, 1024)
                seconds.append((time.process_time() - started) / len(photos))
        except Exception as error:  # such as weights that it cannot download
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            rows.append([name, f"not measured: {reason[:60]}", ""])
            continue
        rows.append([name, in_ms(seconds), f"{min(seconds) / ours:.1f}"])
    return as_table(["peer", "ms a photo", "times the time of our R-MAC"], rows)


def in_ms(seconds: list[float]) -> str:
    return f"{1e3 * median(seconds):.0f} ({1e3 * min(seconds):.0f})"


def by_processor(found: Times, sizes: str) -> str:
    rows = []
    for name, way, n_jobs in found:
        if name == "network" or n_jobs != 1:
            continue
        seconds = found[name, way, 1]
        slow, bare = min(found[name, ("torch", "float32"), 1]), min(found["network", way, 1])
        cells = [f"{slow / min(seconds):.1f}", f"{bare / min(seconds):.2f}"]
        rows.append([SYSTEMS[name].label, " ".join(way), in_ms(seconds), *cells])
    rows.sort()
    return as_table([f"chain, {sizes} pixels", "engine", "ms a photo", "x", "network"], rows)


def by_clock(found: Times, jobs: Sequence[int]) -> str:
    rows = []
    for name, way, n_jobs in found:
        if n_jobs != jobs[0] or (name, way, jobs[-1]) not in found or name == "network":
            continue
        best = [min(found[name, way, n]) for n in jobs]
        cells = [f"{1 / seconds:.1f}" for seconds in best]
        rows.append([SYSTEMS[name].label, " ".join(way), *cells, f"{best[0] / best[-1]:.2f}"])
    header = [f"photos a second, {n} thread{'s' * (n > 1)}" for n in jobs]
    return as_table(["chain", "engine", *header, "x"], rows)


def by_step(chains: dict, photos: list[Path]) -> str:
    """Where the time behind the network goes: least processor milliseconds of three rounds."""
    rows = []
    for name, corridor in chains.items():
        corridor.extractor.set_params(engine="auto", precision="float32", n_jobs=1)
        seconds = defaultdict(lambda: np.inf)
        for _ in range(3):
            spent, X = defaultdict(float), photos
            for step, estimator in corridor.pipeline.named_steps.items():
                started = time.process_time()
                X = estimator.transform(X)
                spent[step] = (time.process_time() - started) / len(photos)
            seconds.update({step: min(seconds[step], value) for step, value in spent.items()})
        cells = [f"{1e3 * seconds[step]:.1f}" if step in seconds else "" for step in STEPS]
        rows.append([SYSTEMS[name].label, *cells])
    return as_table(["ms a photo", *STEPS.values()], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(COMPARED))
    parser.add_argument("--sizes", nargs="+", default=["1024", "1024+724+512"])
    parser.add_argument("--engines", nargs="*", default=installed_engines())
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 2])
    args = parser.parse_args()
    if not args.data.is_dir():
        raise SystemExit(f"no photos at {args.data}: pass --data")
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    torch.set_num_threads(1)
    args.ways = ways(args.engines)
    # More than one thread is measured with the way that "auto" takes, and with PyTorch.
    args.scaled = [("torch", "float32"), *[way for way in args.ways if way[0] != "torch"][:1]]

    photos = find_photos(args.data / "landmarks/images")
    photos = photos[:: max(1, len(photos) // args.photos)][: args.photos]
    to_fit = find_photos(args.data / "paris279/jpg")[::6]
    print(f"{len(photos)} photos, {args.rounds} rounds, median (least)\n")
    with tempfile.TemporaryDirectory() as store, threadpool_limits(1, user_api="blas"):
        for sizes in args.sizes:
            chains = {name: fitted(name, sizes, to_fit, store) for name in args.systems}
            processor, clock = measure(chains, sizes, photos, args)
            network = [" ".join(way) + ": " + in_ms(processor["network", way, 1])
                       for way in args.ways]  # fmt: skip
            print(f"The bare network, {sizes} pixels, ms a photo: {', '.join(network)}\n")
            print(by_processor(processor, sizes), end="\n\n")
            print(by_clock(clock, args.jobs), end="\n\n")
            print(by_step(chains, photos), end="\n\n", flush=True)
            if sizes == args.sizes[0] and "rmac" in args.systems:
                best = min(min(processor["rmac", way, 1]) for way in args.ways if "32" in way[1])
                print(peers(photos, args.rounds, best), end="\n\n")
    print(f"threads of PyTorch: {torch.get_num_threads()}", file=sys.stderr)


if __name__ == "__main__":
    main()
