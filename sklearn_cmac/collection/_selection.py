"""Some of the photos that an engine keeps, in an order of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sklearn_cmac.collection._engine import Engine, Hits, Ids
from sklearn_cmac.maps import RegionVectors


class Selection:
    """An engine that knows these ids only.

    Parameters
    ----------
    engine : Engine
        That keeps them, and perhaps others, which other runs over the same folder described.
    ids : sequence of str
    """

    def __init__(self, engine: Engine, ids: Sequence[str]):
        self.engine = engine
        self.place = {id_: place for place, id_ in enumerate(ids)}

    def __len__(self) -> int:
        return len(self.place)

    def __contains__(self, id_: str) -> bool:
        return id_ in self.place

    def __getattr__(self, name: str) -> Any:
        if name == "engine":  # not set yet: this is a copy in the making
            raise AttributeError(name)
        return getattr(self.engine, name)

    def kneighbors(self, descriptors: np.ndarray, k: int, among: Ids | None = None) -> Hits:
        """As for every engine."""
        among = list(self.place) if among is None else [id_ for id_ in among if id_ in self.place]
        return self.engine.kneighbors(descriptors, k, among)

    def match(
        self, queries: Sequence[RegionVectors], k: int, candidates: Sequence[Ids] | None = None
    ) -> list[Hits]:
        """As for every engine."""
        if candidates is None:
            candidates = [list(self.place)] * len(queries)
        return self.engine.match(queries, k, candidates)

    def scan(self, batch_size: int = 1024) -> Iterator[tuple[list[str], np.ndarray]]:
        """As for every engine."""
        ids = list(self.place)
        for start in range(0, len(ids), batch_size):
            batch = ids[start : start + batch_size]
            yield batch, self.engine.get(batch)
