"""What follows describing: an augmentation of the photos, perhaps, and steps behind the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.reranking._augmentation import DatabaseAugmentation
from sklearn_cmac.reranking._step import RerankingStep

Steps = Sequence[tuple[str, RerankingStep]]


class Chain(NamedTuple):
    """What a `Retriever` does besides ranking by descriptors.

    Parameters
    ----------
    steps : sequence of (str, step)
        Names and steps.
    augmentation : DatabaseAugmentation, optional
        Before the first ranking.

    Examples
    --------
    >>> from sklearn_cmac.search import Chain, DatabaseAugmentation, RegionMatching
    >>> Chain([("match", RegionMatching())], DatabaseAugmentation(5)).augmentation
    DatabaseAugmentation(n_neighbors=5)
    """

    steps: Steps = ()
    augmentation: DatabaseAugmentation | None = None

    @property
    def needs(self) -> set[str]:
        """What the steps read besides descriptors: "regions", "maps", "photos"."""
        return set().union(*(step.needs for _, step in self.steps))

    @property
    def key(self) -> str:
        """A hash of all that rankings depend on; what steps are called is no part of it."""
        return fingerprint([step for _, step in self.steps], self.augmentation)
