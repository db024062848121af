"""What an index costs to make, to keep and to search: a model, which `scale.py` checks.

    python benchmarks/costs.py --dimension 256 --regions 60

Bytes follow from the formats of files; a few constants were measured, and say where.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from sklearn_cmac._markdown import as_table

# Bytes of the catalogue for each photo, by scale.py: its row in the engine, that of its name and
# path, and that of where its regions are.
ENGINE_ROW, NAME_ROW, PICTURE_ROW = 175, 330, 188
# Bytes of where the regions of a photo are: clusters at 724 + 512 pixels, packed.
PICTURES = 2344
# Bytes of a photo in a graph (HNSW) of 16 links: twice as many at the ground, ids of 4 bytes.
GRAPH = 2 * 16 * 4
# Seconds of one core, by scale.py on an AMD EPYC with AVX-512.
SEARCH = 0.2e-3  # of any search
READ = 1 / 25e9  # a byte of descriptors, compared with one query
FIRST = 1 / 3e9  # a byte that is read for the first time, with its checksum
MULTIPLY = 1 / 45e9  # a product of numbers and its sum, of many queries
MATCH = 4e-9  # a component of a region that is compared with 20 of a query
PROCESS = 210e6  # bytes of a process before it has read anything
# Seconds of one core to describe a photo at 724 + 512 pixels, from docs/measurements.md.
DESCRIBE = {"OpenVINO bfloat16": 0.118, "OpenVINO": 0.167, "PyTorch": 0.281}


@dataclass(frozen=True)
class Costs:
    """Bytes and seconds of photos.

    Parameters
    ----------
    photos : int
    dimension : int
        D, of descriptors and regions.
    regions : int
        Of each photo; 0 if their vectors are not kept.
    """

    photos: int
    dimension: int = 256
    regions: int = 0

    def descriptors(self, number_bytes: int = 4) -> float:
        """Bytes: 4 for each number in single precision, 2 in half, 1 as int8."""
        return self.photos * self.dimension * number_bytes

    @property
    def region_vectors(self) -> float:
        """Bytes: numbers of 2, and a weight of 4 for each region."""
        return self.photos * self.regions * (2 * self.dimension + 4)

    @property
    def pictures(self) -> float:
        """Bytes of where regions are in photos."""
        return self.photos * PICTURES * bool(self.regions)

    @property
    def engine_catalogue(self) -> float:
        """Bytes of an engine's rows."""
        return self.photos * ENGINE_ROW

    @property
    def catalogue(self) -> float:
        """Bytes of all rows of an index."""
        return self.photos * (ENGINE_ROW + NAME_ROW + PICTURE_ROW * bool(self.regions))

    @property
    def memory(self) -> float:
        """Bytes of a process that has searched, with the descriptors that are mapped."""
        return PROCESS + self.descriptors() + 2 * self.photos

    def graph_memory(self, number_bytes: int = 4) -> float:
        """Bytes that a graph and its descriptors take, all in memory; not measured."""
        return self.descriptors(number_bytes) + self.photos * GRAPH

    @property
    def query(self) -> float:
        """Seconds of one query, compared with all descriptors by one core."""
        return SEARCH + self.descriptors() * READ

    @property
    def first_query(self) -> float:
        """Seconds of the first, which reads files that are in the system's memory."""
        return self.query + self.descriptors() * FIRST

    def batch(self, queries: int) -> float:
        """Seconds of many queries at once."""
        return queries * (SEARCH + 2 * self.photos * self.dimension * MULTIPLY)

    @property
    def match(self) -> float:
        """Seconds to match the regions of all photos with 20 of a query."""
        return self.photos * self.regions * self.dimension * MATCH

    def describe(self, engine: str = "OpenVINO") -> float:
        """Seconds of one core."""
        return self.photos * DESCRIBE[engine]

    def machines(self, hours: float, cores: int = 16, share: float = 0.85) -> float:
        """To describe all in a time; cores do `share` of what one alone does."""
        return self.describe() / (3600 * hours * cores * share)


def short(value: float) -> str:
    """Three digits at most, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(costs: list[Costs]) -> str:
    """A column for each number of photos."""
    lines = {
        "descriptors, float32, GB": [c.descriptors() / 1e9 for c in costs],
        "descriptors, float16, GB": [c.descriptors(2) / 1e9 for c in costs],
        "descriptors, int8, GB": [c.descriptors(1) / 1e9 for c in costs],
        "regions, float16, GB": [c.region_vectors / 1e9 for c in costs],
        "where regions are, GB": [c.pictures / 1e9 for c in costs],
        "catalogue, GB": [c.catalogue / 1e9 for c in costs],
        "memory of a graph, float32, GB": [c.graph_memory() / 1e9 for c in costs],
        "memory of a graph, int8, GB": [c.graph_memory(1) / 1e9 for c in costs],
        "describing, days of a core": [c.describe() / 86400 for c in costs],
        "machines of 16 cores for a day": [c.machines(24) for c in costs],
        "one query of all descriptors, s": [c.query for c in costs],
        "matching regions of all photos, s": [c.match for c in costs],
    }
    rows = [[name, *map(short, values)] for name, values in lines.items()]
    return as_table(["photos", *(f"{c.photos:,}" for c in costs)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [10**n for n in range(4, 9)]
    parser.add_argument("--photos", nargs="+", type=int, default=sizes)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--regions", type=int, default=60)
    args = parser.parse_args()
    print(table([Costs(n, args.dimension, args.regions) for n in args.photos]))


if __name__ == "__main__":
    main()
