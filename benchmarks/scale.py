"""What an index costs by its size: time, bytes on disk, memory, beside faiss and beside the disk.

    python benchmarks/scale.py --photos 10000 100000 1000000 --regions 100000 \
        --index 100000 1000000 --folder SCRATCH

Descriptors are made, in clusters of 20, of unit length; ids are as long as those of photos. What
opens files is a process of its own, in one thread, and finds them as the one that wrote them has
left them: in the memory of the system, as far as they fit. Milliseconds are median (minimum).
Searches of the engine are processor time but where they say "clock", those by descriptor in turns
with faiss' `IndexFlatIP` on the same rows, which has to find the same photos; all else is time by
the clock, and adding photos takes turns with a bare `fsync` of a kilobyte.
Rows of the model are what `costs.py` predicts, and what was measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from costs import Costs
from sklearn.base import BaseEstimator, TransformerMixin

from sklearn_cmac import RegionVectors
from sklearn_cmac._markdown import as_table
from sklearn_cmac.collection import CatalogueEntry, FlatEngine, RegionTable, Stamp
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.search import RetrievalIndex

BATCH = 1024  # photos that are added at a time
CLUSTER = 20
RESULTS = 10
CANDIDATES = 1000
QUERY_REGIONS = 20
BATCH_QUERIES = 100

# Of a process that does nothing but open and search.
MEMORY = """
import json, sys, time
started = time.perf_counter()
import numpy as np
from sklearn_cmac.collection import FlatEngine
spent = time.perf_counter() - started
def memory():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return [int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "RssFile", "RssAnon")]
imported = memory()
engine = FlatEngine(sys.argv[1], read_only=True)
rng = np.random.default_rng(1)
for _ in range(100):
    engine.kneighbors(rng.standard_normal((1, engine.stamp.dimension), np.float32), 10)
searched = memory()
started = time.perf_counter()
engine.close()
print(json.dumps([spent, imported, searched, time.perf_counter() - started]))
"""


# -- what is made ---------------------------------------------------------------------------------


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def clustered(n: int, dimension: int, seed: int) -> np.ndarray:
    """Rows of unit length, in clusters whose members have dot products of about 0.7."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((-(-n // CLUSTER), dimension), np.float32))
    noise = unit(rng.standard_normal((n, dimension), np.float32))
    return unit(np.repeat(centres, CLUSTER, 0)[:n] + 0.65 * noise)


def ids_of(start: int, n: int) -> list[str]:
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(start, start + n)]


def batches(photos: int, dimension: int, regions: int = 0) -> Iterator[tuple[Any, ...]]:
    """What is added at a time: ids, descriptors and region vectors, if any."""
    for start in range(0, photos, BATCH):
        n = min(BATCH, photos - start)
        table = None
        if regions:
            vectors = clustered(n * regions, dimension, start + 1).astype(np.float16)
            indptr = np.arange(0, n * regions + 1, regions)
            table = RegionTable(vectors, np.ones(len(vectors), np.float32), indptr)
        yield ids_of(start, n), clustered(n, dimension, start), table


class Pixels(TransformerMixin, BaseEstimator):
    """Describes a photo by its first pixels: what is measured is all around it."""

    def __init__(self, dimension: int = 256):
        self.dimension = dimension

    def fit(self, X: Any, y: Any = None) -> Pixels:
        self.fitted_ = True
        return self

    def transform(self, X: Any) -> np.ndarray:
        rows = [np.asarray(photo).ravel()[: self.dimension] for photo in X]
        return unit(np.array(rows, np.float32) - 127)


# -- how it is measured ---------------------------------------------------------------------------


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with get_context("spawn").Pool(1) as process:
        return process.apply(work, arguments)


def seconds_of(work: Callable[..., Any], *arguments: Any) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def ms(seconds: list[float]) -> str:
    return f"{1e3 * median(seconds):.2f} ({1e3 * min(seconds):.2f})"


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of vectors and of the catalogue with its log."""
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    catalogue = sum(size for name, size in files.items() if name.startswith("catalogue"))
    regions = sum(size for name, size in files.items() if name.startswith(("vectors", "weights")))
    vectors = sum(size for name, size in files.items() if name.startswith("descriptors"))
    return {"descriptors": vectors, "regions": regions, "catalogue": catalogue}


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    wide = next((name for name in ("avx512f", "avx2") if name in facts.get("flags", "")), "")
    return f"{facts['model name'].strip()}, family {facts['cpu family'].strip()}, {wide}"


# -- measurements ---------------------------------------------------------------------------------


def fill(folder: Path, photos: int, dimension: int, regions: int = 0) -> tuple[float, float]:
    """Seconds by the clock and of the processor, without those to make what is added."""
    engine = FlatEngine(folder, Stamp("made", dimension, regions=bool(regions)))
    clock = spent = 0.0
    for batch in batches(photos, dimension, regions):
        started, before = time.perf_counter(), time.process_time()
        engine.upsert(*batch)
        clock += time.perf_counter() - started
        spent += time.process_time() - before
    started = time.perf_counter()
    engine.close()
    return clock + time.perf_counter() - started, spent


def search(folder: Path, rounds: int, with_faiss: bool) -> dict[str, list[float]]:
    """Seconds of searches and, in turns, of faiss on the same rows."""
    started = time.perf_counter()
    engine = FlatEngine(folder, read_only=True)
    found = {"open": [time.perf_counter() - started]}
    dimension = engine.stamp.dimension
    queries = clustered(BATCH_QUERIES, dimension, 0)  # members of the first clusters
    found["first"] = [seconds_of(engine.kneighbors, queries[:1], RESULTS)]
    searches = {"ours": lambda some: engine.kneighbors(some, RESULTS)[0]}
    if with_faiss:
        import faiss

        faiss.omp_set_num_threads(1)
        peer, ids = faiss.IndexFlatIP(dimension), []
        for some, rows in engine.scan(BATCH):
            peer.add(rows)
            ids += some
        names = np.array(ids, object)
        searches["faiss"] = lambda some: names[peer.search(some, RESULTS)[1]]
    for kind, size in (("single", 1), ("batch", BATCH_QUERIES)):
        for turn in range(rounds):
            some = queries[np.arange(turn, turn + size) % BATCH_QUERIES]
            answers = {}
            for name, ask in searches.items():
                before = time.process_time()
                answers[name] = ask(some)
                found.setdefault(f"{kind}, {name}", []).append(time.process_time() - before)
            if any((answer != answers["ours"]).any() for answer in answers.values()):
                raise SystemExit("faiss finds other photos")
    return found


def add_singly(folder: Path, photos: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of adding photos one by one and, in turns, of a bare `fsync` of a kilobyte."""
    engine = FlatEngine(folder)
    rows = clustered(rounds, engine.stamp.dimension, photos)
    added, bare = [], []
    with open(folder.with_name("bare"), "wb") as file:

        def write() -> None:
            file.write(bytes(1024))
            file.flush()
            os.fsync(file.fileno())

        for i, id_ in enumerate(ids_of(photos, rounds)):
            added.append(seconds_of(engine.upsert, [id_], rows[i : i + 1]))
            bare.append(seconds_of(write))
    engine.close()
    return added, bare


def use_engine(
    folder: Path, photos: int, rounds: int, adds: int, with_faiss: bool
) -> tuple[Any, ...]:
    return search(folder, rounds, with_faiss), add_singly(folder, photos, adds)


def memory(folder: Path) -> tuple[float, list[float], list[float], float]:
    """Seconds to import; megabytes (all, of files, others) then and after searches; to close."""
    command = [sys.executable, "-c", MEMORY, folder]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def match(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of two stages and of matching all photos, and bytes that the latter takes at most."""
    engine = FlatEngine(folder, read_only=True)
    dimension = engine.stamp.dimension
    found: dict[str, list[float]] = {}

    def note(kind: str, work: Callable[..., Any], *arguments: Any) -> None:
        before = time.process_time()
        found.setdefault(f"{kind}, clock", []).append(seconds_of(work, *arguments))
        found.setdefault(kind, []).append(time.process_time() - before)

    def two_stages(query: RegionVectors, descriptor: np.ndarray) -> None:
        ids, _ = engine.kneighbors(descriptor, CANDIDATES)
        engine.match([query], RESULTS, list(ids))

    for turn in range(rounds + 1):
        query = RegionVectors(clustered(QUERY_REGIONS, dimension, turn))
        note("two", two_stages, query, clustered(BATCH_QUERIES, dimension, turn * BATCH)[:1])
    for _ in range(min(rounds, 5) + 1):
        note("all", engine.match, [query], RESULTS)
    tracemalloc.start()
    engine.match([query], RESULTS)
    found["peak"] = [tracemalloc.get_traced_memory()[1]]
    return found


def fill_index(folder: Path, photos: int, dimension: int) -> float:
    """Seconds, without those to make what is added."""
    pipeline = Pixels(dimension).fit([])
    with RetrievalIndex.create(folder, pipeline) as index:
        parts = list(batches(photos, dimension))
        ids = [id_ for part, _, _ in parts for id_ in part]
        root = folder.absolute().parent
        names = [str(root / f"photos/{i // 1000:04}/{i:08}.jpg") for i in range(photos)]
        entries = [
            (i, CatalogueEntry(name, name, id_, 10**6 + i, 10**18 + i, "described", ""))
            for i, (name, id_) in enumerate(zip(names, ids))
        ]
        descriptors = np.concatenate([rows for _, rows, _ in parts])
        return seconds_of(index.fill, entries, descriptors, None, fingerprint(pipeline))


def use_index(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of what people do with an index."""
    trust = [f"{Pixels.__module__}.{Pixels.__qualname__}"]
    started = time.perf_counter()
    index = RetrievalIndex.open(folder, trust=trust)
    found: dict[str, list[float]] = {"open": [time.perf_counter() - started], "search": []}
    rng = np.random.default_rng(0)
    for _ in range(rounds + 1):
        photo = rng.integers(0, 255, (16, 16, 3), np.uint8)
        found["search"].append(seconds_of(index.search, photo, RESULTS))
    found["len"] = [seconds_of(len, index)]
    found["check"] = [seconds_of(index.check)]
    found["compact"] = [seconds_of(index.compact)]
    found["close"] = [seconds_of(index.close)]
    return found


# -- tables ---------------------------------------------------------------------------------------


def of_engine(folder: Path, photos: int, args: argparse.Namespace) -> dict[str, str]:
    clock, spent = fill(folder, photos, args.dimension)
    kept = sizes(folder)
    found, (added, bare) = alone(use_engine, folder, photos, args.rounds, args.adds, args.faiss)
    spent_importing, imported, searched, closing = memory(folder)
    cost = Costs(photos, args.dimension)
    cells = {
        "filling, s": f"{clock:.1f}, of the processor {spent:.1f}",
        "descriptors, MB": f"{kept['descriptors'] / 1e6:.1f}",
        "catalogue, MB": f"{kept['catalogue'] / 1e6:.1f}",
        "opening, ms": f"{1e3 * found['open'][0]:.1f}",
        "first search, ms": f"{1e3 * found['first'][0]:.1f}",
    }
    kinds = {"single": "one query", "batch": f"{BATCH_QUERIES} queries"}
    for kind, name in kinds.items():
        ours, peer = found[f"{kind}, ours"], found.get(f"{kind}, faiss")
        cells[f"{name}, ms"] = ms(ours)
        if peer:
            cells[f"{name}, faiss, ms"] = ms(peer)
            cells[f"{name}, times faiss"] = f"{median(ours) / median(peer):.2f}"
    cells |= {
        "adding one photo, ms": f"{ms(added)}, worst {1e3 * max(added):.1f}",
        "a bare fsync, ms": f"{ms(bare)}, worst {1e3 * max(bare):.1f}",
        "memory after imports, MB": megabytes(imported),
        "memory after searches, MB": megabytes(searched),
        "importing, s": f"{spent_importing:.1f}",
        "closing, ms": f"{1e3 * closing:.1f}",
    }
    pairs = {
        "descriptors, MB": (cost.descriptors() / 1e6, kept["descriptors"] / 1e6),
        "catalogue, MB": (cost.engine_catalogue / 1e6, kept["catalogue"] / 1e6),
        "memory, MB": (cost.memory / 1e6, searched[0]),
        "first search, ms": (1e3 * cost.first_query, 1e3 * found["first"][0]),
        "one query, ms": (1e3 * cost.query, 1e3 * median(found["single, ours"])),
        "100 queries, ms": (1e3 * cost.batch(BATCH_QUERIES), 1e3 * median(found["batch, ours"])),
    }
    return cells | {f"model: {name}": f"{a:.4g} / {b:.4g}" for name, (a, b) in pairs.items()}


def megabytes(memory: list[float]) -> str:
    return "{:.0f}: files {:.0f}, own {:.0f}".format(*memory)


def of_regions(folder: Path, photos: int, args: argparse.Namespace) -> dict[str, str]:
    clock, spent = fill(folder, photos, args.dimension, args.each)
    found, kept = alone(match, folder, args.rounds), sizes(folder)
    cost = Costs(photos, args.dimension, args.each)
    return {
        "filling, s": f"{clock:.1f}, of the processor {spent:.1f}",
        "regions, MB": f"{kept['regions'] / 1e6:.1f}",
        "two stages, ms": ms(found["two"][1:]),
        "two stages by the clock, ms": ms(found["two, clock"][1:]),
        "the first time, ms": f"{1e3 * found['two, clock'][0]:.0f}",
        "all photos, ms": ms(found["all"][1:]),
        "all photos by the clock, ms": ms(found["all, clock"][1:]),
        "the first time with all, ms": f"{1e3 * found['all, clock'][0]:.0f}",
        "all photos, peak of own memory, MB": f"{found['peak'][0] / 1e6:.0f}",
        "model: regions, MB": f"{cost.region_vectors / 1e6:.4g} / {kept['regions'] / 1e6:.4g}",
        "model: all photos, ms": f"{1e3 * cost.match:.4g} / {1e3 * median(found['all'][1:]):.4g}",
    }


def of_index(folder: Path, photos: int, args: argparse.Namespace) -> dict[str, str]:
    filled = alone(fill_index, folder, photos, args.dimension)
    kept, found = sizes(folder), alone(use_index, folder, args.rounds)
    cost = Costs(photos, args.dimension)
    return {
        "filling, s": f"{filled:.1f}",
        "opening, ms": f"{1e3 * found['open'][0]:.1f}",
        "first search, ms": f"{1e3 * found['search'][0]:.1f}",
        "one search, ms": ms(found["search"][1:]),
        "counting photos, ms": f"{1e3 * found['len'][0]:.1f}",
        "check, s": f"{found['check'][0]:.1f}",
        "compact, s": f"{found['compact'][0]:.1f}",
        "closing, s": f"{found['close'][0]:.2f}",
        "model: catalogue, MB": f"{cost.catalogue / 1e6:.4g} / {kept['catalogue'] / 1e6:.4g}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", nargs="*", type=int, default=[2000], help="of the engine")
    parser.add_argument("--regions", nargs="*", type=int, default=[500], help="photos with regions")
    parser.add_argument("--index", nargs="*", type=int, default=[1000], help="of the index")
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--each", type=int, default=30, help="regions of a photo")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--adds", type=int, default=100)
    parser.add_argument(
        "--folder", type=Path, help="a disk with room; default: for what is passing"
    )
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    print(f"{processor()}; {args.dimension} dimensions, {args.each} regions a photo\n")
    args.faiss = find_spec("faiss") is not None
    if not args.faiss:
        print("faiss not measured: needs pip install faiss-cpu\n")
    parts = {"engine": args.photos, "regions": args.regions, "index": args.index}
    measure = {"engine": of_engine, "regions": of_regions, "index": of_index}
    for part, numbers in parts.items():
        columns = []
        for photos in numbers:
            with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
                columns.append(measure[part](Path(scratch) / part, photos, args))
            print(f"{part}, {photos}: {columns[-1]}", file=sys.stderr, flush=True)
        if columns:
            rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
            print(as_table([part, *(f"{n:,}" for n in numbers)], rows), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
