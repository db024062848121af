"""Photos that are ranked: who they are, and the engine that keeps their vectors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from sklearn_cmac.collection._engine import Engine, Ids
from sklearn_cmac.local import LocalFeatures
from sklearn_cmac.photos import Item, PhotoError


@dataclass(frozen=True, eq=False)
class Collection:
    """Photos in an order, as far as rankings need to know them.

    Copies of a photo have one id, and are described once.

    Parameters
    ----------
    photos : sequence of photos
        As they were given, to be looked at again.
    names : list of str
    ids : list of str
        Of each photo the id by which the engine knows it; "" if it could not be described.
    engine : Engine
        Descriptors, and perhaps region vectors, by id.
    failed : dict from int to str
        Why a photo, by its position, could not be described. Such photos are in no ranking.
    seconds : float
        That describing took.
    n_described : int
        How many photos were described now.
    """

    photos: Sequence[Item]
    names: list[str]
    ids: list[str]
    engine: Engine
    failed: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    n_described: int = 0

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        places = defaultdict(list)
        for position, id_ in enumerate(self.ids):
            if id_:
                places[id_].append(position)
        return dict(places)

    def photo(self, id_: str) -> Item:
        """The first photo of an id."""
        return self.photos[self._places[id_][0]]

    def name(self, id_: str) -> str:
        """Its name."""
        return self.names[self._places[id_][0]]

    def with_engine(self, engine: Engine) -> Collection:
        """The same photos by another engine."""
        return replace(self, engine=engine)

    def features(self, id_: str, extractor: Any) -> LocalFeatures | None:
        """Local features that are kept of a photo, as an extractor finds them: none are here."""
        return None

    def only_id(self, position: int | None) -> str | None:
        """The id of a photo that has no copy here; None of others, and of none."""
        id_ = "" if position is None else self.ids[position]
        return id_ if len(self._places.get(id_, ())) == 1 else None

    def positions(self, ids: Ids, but: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Where ids are among the photos, copies one after the other.

        Parameters
        ----------
        ids : sequence of str
        but : int, optional
            A position that is left out.

        Returns
        -------
        positions : ndarray of int
        which : ndarray of int
            For each of them, the position of its id in `ids`.
        """
        found = [(place, i) for i, id_ in enumerate(ids) for place in self._places[id_]]
        pairs = np.array([pair for pair in found if pair[0] != but], int).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def descriptors(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the photos that did not fail, and their descriptors (n, D)."""
        positions = np.array([i for i, id_ in enumerate(self.ids) if id_], int)
        return positions, self.engine.get([self.ids[i] for i in positions])

    def bytes_per_photo(self, regions: bool = True) -> float:
        """What descriptors take, and region vectors if they are counted, of a thousand photos."""
        dimension = self.engine.stamp.dimension
        total = 4.0 * dimension
        if regions and self.engine.stamp.regions and len(self.engine):
            table = self.engine.get_regions(list(self._places)[:1000])
            total += (table.vectors.nbytes + table.weights.nbytes) / len(table)
        return total

    def raise_failures(self) -> None:
        """A `PhotoError` that names all photos that failed, if any did."""
        if self.failed:
            reasons = [f"  photo {i}: {reason}" for i, reason in sorted(self.failed.items())]
            raise PhotoError(
                "\n".join([f"{len(reasons)} of {len(self)} photos cannot be used:", *reasons]),
                [(i, self.names[i], reason) for i, reason in sorted(self.failed.items())],
            )
