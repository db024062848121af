"""What a benchmark with 100,000 distractors costs, from a dry run on 1,000 generated photos.

    python benchmarks/distractors.py --photos 1000

A folder of scenes is made, 96 of them labelled and boxed, the others distractors. The scenes are
described into a folder of arrays with their region vectors, and ranked by the boxed queries
with region matching of the first 1,000. Prints processor time, bytes and the process's memory on
the way, and what that comes to for 105,134 photos. No photos are needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

from PIL import Image

from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import add_distractors, as_benchmark, make_object_scenes
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.reranking import make_chain

COMPARED = ("rmac", "cmac")
HEADER = ("photos", "seconds", "memory in MB", "bytes on disk")
OXFORD105K = 105_134


def resident() -> float:
    """Memory of this process in MB, files that are only mapped not counted."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024


class Watched(list):
    """Photos that note the state of the run whenever a sixth of them has been asked for."""

    def __init__(self, photos: list, folder: Path):
        super().__init__(photos)
        self.folder, self.started = folder, time.process_time()
        self.rows: list[tuple[str, ...]] = []

    def __getitem__(self, which):
        every = max(1, len(self) // 6 // 32) * 32
        if isinstance(which, slice) and which.start and which.start % every == 0:
            self.note(which.start)
        return super().__getitem__(which)

    def note(self, n: int) -> float:
        """Note the state with n photos described, and return the processor time for each."""
        files = [*self.folder.rglob("*.f32"), *self.folder.rglob("*.f16")]
        on_disk = sum(file.stat().st_size for file in files)
        seconds = time.process_time() - self.started
        self.rows.append((str(n), f"{seconds:.1f}", f"{resident():.0f}", str(on_disk)))
        print(*self.rows[-1], file=sys.stderr, flush=True)
        return seconds / n


def write_scenes(folder: Path, n: int, size: tuple[int, int]) -> None:
    """Photos without objects, a few hundred made at a time."""
    for start in range(0, n, 200):
        some = make_object_scenes(0, 0, min(200, n - start), size=size, random_state=1 + start)
        for i, photo in enumerate(some.photos, start):
            Image.fromarray(photo.source).save(folder / f"scene-{i:06}.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 768), metavar=("W", "H"))
    parser.add_argument("--systems", nargs="+", default=COMPARED, choices=COMPARED)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    size = tuple(args.size)
    labelled = make_object_scenes(random_state=0, size=size, n_distractors=0, n_objects=16)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "distractors"
        folder.mkdir()
        write_scenes(folder, args.photos - len(labelled.photos), size)
        benchmark = add_distractors(as_benchmark(labelled), folder)
        print(benchmark.DESCR)
        fit_on = make_object_scenes(random_state=2, size=size).photos
        for name in args.systems:
            label = SYSTEMS[name].label
            pipeline = SYSTEMS[name].make(whiten__shrinkage=1.0).fit(fit_on)
            place = Path(scratch) / name
            benchmark.photos = Watched(benchmark.photos, place)
            evaluation = evaluate(
                benchmark,
                {label: pipeline},
                steps={"plain": make_chain(), "matching": make_chain("matching")},
                folder=place,
            )
            seconds = benchmark.photos.note(len(benchmark.photos))
            table = as_table(HEADER, benchmark.photos.rows)
            print(f"\n{label}\n\n{table}\n\n{evaluation}\n", flush=True)
            plain, matching = evaluation.rows
            print(
                f"{OXFORD105K} photos: {seconds * OXFORD105K / 3600:.1f} hours of "
                f"one core, {plain.bytes_per_photo * OXFORD105K / 1e9:.2f} GB of descriptors, "
                f"{matching.bytes_per_photo * OXFORD105K / 1e9:.1f} GB with region vectors"
            )


if __name__ == "__main__":
    main()
