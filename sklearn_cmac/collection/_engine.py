"""What ranking asks of whoever keeps vectors and finds the nearest: the engine protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sklearn_cmac.collection._regions import RegionTable
from sklearn_cmac.maps import RegionVectors

# Of what engines keep. Raised when the meaning of a kept number changes.
LAYOUT = 1

# Ids as texts.
Ids = Sequence[str] | np.ndarray

# Ids, best first, and their scores, as arrays of one shape.
Hits = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Stamp:
    """What an engine's vectors are of. Vectors of another stamp are refused.

    Parameters
    ----------
    pipeline : str
        Fingerprint of the pipeline that made them.
    dimension : int
        D, the length of descriptors.
    regions : bool
        Whether region vectors are kept too.
    dtype : str
        Of descriptors.
    layout : int
        Version of the layout.

    Examples
    --------
    >>> from sklearn_cmac.collection import Stamp
    >>> Stamp("3f2a91bc", 512).check(Stamp("77aa01de", 512), "index/")
    Traceback (most recent call last):
    ValueError: index/: holds vectors of pipeline 3f2a91bc, and is asked for those of pipeline ...
    """

    pipeline: str
    dimension: int
    regions: bool = False
    dtype: str = "float32"
    layout: int = LAYOUT

    def check(self, asked: Stamp, where: str) -> None:
        """A `ValueError` that names both, if another stamp is asked for."""
        for field in ("layout", "pipeline", "dimension", "dtype", "regions"):
            mine, other = getattr(self, field), getattr(asked, field)
            if mine != other:
                raise ValueError(
                    f"{where}: holds vectors of {field} {str(mine)[:12]}, and is asked for those "
                    f"of {field} {str(other)[:12]}; choose another place, or delete what is there"
                )


class InUseError(OSError):
    """What is kept cannot be written to, since somebody else, whom the message names, does."""


class Engine(Protocol):
    """Keeps one descriptor, and perhaps region vectors, for each id, and finds the nearest.

    Ids are any texts, of which no two are the same that differ in a single code point; vectors are
    rows of float32, of any length. Similarity is the dot product. `ExactEngine` is the oracle;
    `sklearn_cmac.testing.check_engine` holds engines against the rules, and `check_store` those
    that keep their vectors at an address. These pickle as the address, not as the vectors.

    Attributes
    ----------
    stamp : Stamp
        What the vectors are of.
    """

    @property
    def stamp(self) -> Stamp: ...

    def __len__(self) -> int:
        """How many ids there are."""

    def __contains__(self, id_: str) -> bool:
        """Whether there is such an id."""

    def upsert(self, ids: Ids, descriptors: np.ndarray, regions: RegionTable | None = None) -> None:
        """Add vectors, or replace those of ids that are there. Durable when it returns.

        Parameters
        ----------
        ids : sequence of n str
            Each once.
        descriptors : ndarray of shape (n, D)
        regions : RegionTable of n photos, optional
            Needed if the stamp says that regions are kept. They replace all that an id had.

        Raises
        ------
        ValueError
            If an id is there twice, or the vectors do not fit ids or stamp. It says what was
            expected and got, and nothing is changed.
        """

    def delete(self, ids: Ids) -> None:
        """Take ids out; those that are not there are passed over."""

    def kneighbors(self, descriptors: np.ndarray, k: int, among: Ids | None = None) -> Hits:
        """The k most similar ids of each query, or all if there are fewer.

        Parameters
        ----------
        descriptors : ndarray of shape (n_queries, D)
            Perhaps none.
        k : int
            0 or more.
        among : sequence of str, optional
            Ids that may be found; unknown ones are passed over. Default: all.

        Returns
        -------
        ids : ndarray of str of shape (n_queries, k)
            Best first; equal scores in the order of ids as texts, code point by code point.
        scores : ndarray of float32 of shape (n_queries, k)

        Raises
        ------
        ValueError
            If queries have another dimension.
        """

    def match(
        self,
        queries: Sequence[RegionVectors],
        k: int,
        candidates: Sequence[Ids] | None = None,
    ) -> list[Hits]:
        """The k ids whose regions answer those of each query best.

        The score is the sum over the query's regions, by their share of the weights, of the
        similarity to the photo's most similar region. Weights of photos do not count.

        Parameters
        ----------
        queries : sequence of RegionVectors
        k : int
            0 or more.
        candidates : sequence of sequences of str, optional
            For each query, the ids that are scored; equal scores keep this order. Default:
            all, equal scores in the order of ids. Ids that are unknown or have no regions are
            left out.

        Returns
        -------
        list of (ids, scores)
            For each query, of shape (k,), or shorter where fewer candidates have regions.
        """

    def get(self, ids: Ids) -> np.ndarray:
        """Descriptors (n, D) of ids; a `KeyError` names one that is not there."""

    def get_regions(self, ids: Ids) -> RegionTable:
        """Region vectors and weights of ids; a `KeyError` names one that is not there."""

    def scan(self, batch_size: int = 1024) -> Iterator[tuple[list[str], np.ndarray]]:
        """All ids and descriptors, batch by batch, in the order in which they were added."""

    def close(self) -> None:
        """Let go of files or connections."""
