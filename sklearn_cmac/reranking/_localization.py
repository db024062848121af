"""Where in a photo the object is, found on its activation map: AML of the R-MAC paper.

G. Tolias, R. Sicre, H. Jégou, "Particular Object Retrieval with Integral Max-Pooling of CNN
Activations", ICLR 2016, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any

import joblib
import numpy as np

from sklearn_cmac._flow import in_order
from sklearn_cmac._progress import show_progress
from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.collection import Collection
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.maps import ActivationMap
from sklearn_cmac.photos import PhotoError
from sklearn_cmac.reranking._step import (
    DescribedQuery,
    RankedList,
    RerankingStep,
    askers,
    look_again,
    tell_of,
)

Window = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class IntegralMap:
    """Sums of a power of activations over any window of a map, by four look-ups.

    Parameters
    ----------
    sums : ndarray of float64 of shape (H + 1, W + 1, D)
        Of ``(activations / peak) ** exponent`` over the cells above and to the left.
    peak : ndarray of shape (D,)
        Largest activation of each channel, so that no power overflows.
    exponent : float
    """

    sums: np.ndarray
    peak: np.ndarray
    exponent: float

    @classmethod
    def of(cls, activations: np.ndarray, exponent: float = 10.0) -> IntegralMap:
        """Of activations of shape (H, W, D); negative ones count as 0."""
        positive = np.maximum(np.asarray(activations, np.float64), 0)
        peak = positive.max(axis=(0, 1))
        sums = np.zeros((positive.shape[0] + 1, positive.shape[1] + 1, positive.shape[2]))
        share = np.divide(positive, peak, out=np.zeros_like(positive), where=peak > 0)
        sums[1:, 1:] = (share**exponent).cumsum(axis=0).cumsum(axis=1)
        return cls(sums, peak.astype(np.float32), exponent)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return self.sums.shape[0] - 1, self.sums.shape[1] - 1

    def pooled(self, windows: np.ndarray) -> np.ndarray:
        """Approximate maximum over windows.

        Parameters
        ----------
        windows : ndarray of int of shape (n, 4)
            (row0, col0, row1, col1), the ends excluded.

        Returns
        -------
        ndarray of float32 of shape (n, D)
            ``(sum x ** exponent) ** (1 / exponent)``. What is below a fortieth of the channel's
            peak is lost to rounding where the rest of the map has that peak.
        """
        top, left, bottom, right = windows.T
        sums = self.sums
        inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        with np.errstate(divide="ignore"):
            root = np.exp(np.log(np.maximum(inside, 0).astype(np.float32)) / self.exponent)
        return root * self.peak

    def scores(self, windows: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Cosine of each window's approximate maximum with a target of shape (D,)."""
        pooled = self.pooled(windows)
        norms = np.linalg.norm(pooled, axis=1) * np.linalg.norm(target)
        return np.divide(pooled @ target, norms, out=np.zeros(len(pooled)), where=norms > 0)


def start_windows(
    height: int, width: int, aspect: float, step: int = 3, tolerance: float = 1.1
) -> np.ndarray:
    """Windows on a grid whose width over height is within a factor of `aspect`.

    Parameters
    ----------
    height, width : int
        Of the map.
    aspect : float
    step : int
        Cells between corners.
    tolerance : float

    Returns
    -------
    ndarray of int of shape (n, 4)
        (row0, col0, row1, col1), the ends excluded; the whole map if no window is of such
        proportions.
    """
    rows = np.unique([*range(0, height, step), height])
    cols = np.unique([*range(0, width, step), width])
    tops, bottoms = (rows[i] for i in np.triu_indices(len(rows), 1))
    lefts, rights = (cols[i] for i in np.triu_indices(len(cols), 1))
    ratio = (rights - lefts)[None] / (bottoms - tops)[:, None] / aspect
    # A hair of slack: a factor of exactly `tolerance` is within it.
    i, j = np.nonzero(np.abs(np.log(ratio)) <= np.log(tolerance) + 1e-9)
    if not len(i):
        return np.array([[0, 0, height, width]])
    return np.stack([tops[i], lefts[j], bottoms[i], rights[j]], axis=1)


def locate(
    integral: IntegralMap,
    target: np.ndarray,
    aspect: float,
    step: int = 3,
    tolerance: float = 1.1,
    n_sweeps: int = 5,
) -> tuple[Window, float]:
    """The window of a map that is most like a target.

    Parameters
    ----------
    integral : IntegralMap
    target : ndarray of shape (D,)
        The query's maximum activations (MAC).
    aspect : float
        The query's width over height.
    step : int
        Cells between the corners of windows that are tried first. The best is then refined:
        each side is moved by `step` cells, step - 1, …, 1, as long as that helps.
    tolerance : float
        Factor between the proportions of the query and of the first windows.
    n_sweeps : int
        At most so many rounds over the four sides for each step.

    Returns
    -------
    window : (row0, col0, row1, col1)
        In cells, the ends excluded.
    score : float
        Cosine with the target.
    """
    windows = start_windows(*integral.shape, aspect, step, tolerance)
    scores = integral.scores(windows, target)
    window, best = windows[scores.argmax()], scores.max()
    for move in range(step, 0, -1):
        for _ in range(n_sweeps):
            before = best
            for side in range(4):
                moved = _moved(window, side, move, integral.shape)
                if len(moved):
                    scores = integral.scores(moved, target)
                    if scores.max() > best:
                        window, best = moved[scores.argmax()], scores.max()
            if best == before:
                break
    top, left, bottom, right = window.tolist()
    return (top, left, bottom, right), float(best)


def _moved(window: np.ndarray, side: int, move: int, shape: tuple[int, int]) -> np.ndarray:
    """The window with one side moved out and in, as far as that leaves a window."""
    moved = np.stack([window, window])
    moved[:, side] += [move, -move]
    top, left, bottom, right = moved.T
    fits = (top >= 0) & (left >= 0) & (bottom <= shape[0]) & (right <= shape[1])
    return moved[fits & (top < bottom) & (left < right)]


class Localization(RerankingStep):
    """R: find the query's object in the first photos, and sort these by what is found.

    The window whose approximate maximum activations are most like the query's is described by
    the same pipeline, and the photos are sorted by these descriptors. Activation maps are read
    from the extractor's store; without one, the network runs again.

    Parameters
    ----------
    n_candidates : int, default=1000
        So many of the photos ranked first.
    step : int, default=3
        Cells between the corners of the windows tried first, and the largest move of a side
        when the best of them is refined.
    tolerance : float, default=1.1
        Factor between the proportions of the query and of the windows tried first.
    n_sweeps : int, default=5
        Rounds over the four sides for each move.
    exponent : float, default=10
        Of the approximate maximum ``(sum x ** exponent) ** (1 / exponent)``.
    n_jobs : int, optional
        Photos looked through at once.
    verbose : bool or int, default=False
        Whether to show a progress bar.

    References
    ----------
    G. Tolias, R. Sicre, H. Jégou, "Particular Object Retrieval with Integral Max-Pooling of CNN
    Activations", ICLR 2016.

    Examples
    --------
    >>> from sklearn_cmac.search import Localization
    >>> Localization(n_candidates=100).needs
    frozenset({'maps'})
    """

    needs = frozenset({"maps"})
    _parameter_constraints: dict = {
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "step": [Interval(Integral, 1, None, closed="left")],
        "tolerance": [Interval(Real, 1, None, closed="left")],
        "n_sweeps": [Interval(Integral, 0, None, closed="left")],
        "exponent": [Interval(Real, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_candidates: int = 1000,
        step: int = 3,
        tolerance: float = 1.1,
        n_sweeps: int = 5,
        exponent: float = 10.0,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ):
        self.n_candidates = n_candidates
        self.step = step
        self.tolerance = tolerance
        self.n_sweeps = n_sweeps
        self.exponent = exponent
        self.n_jobs = n_jobs
        self.verbose = verbose

    def prepare(self, collection: Collection, pipeline: Any) -> Any:
        """The pipeline, taken apart."""
        return Corridor(pipeline)

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        corridor: Corridor = prepared
        asking = askers([ranked.ids[: self.n_candidates].tolist() for ranked in rankings])
        targets = [_target(query) for query in queries]
        # Photo by photo: each map is read, and its sums are taken, once for all queries.
        tasks = (
            joblib.delayed(
                look_again(
                    collection,
                    photo,
                    partial(self._describe_windows, [targets[q] for q in asked], corridor),
                )
            )()
            for photo, asked in asking.items()
        )
        found = in_order(tasks, self.n_jobs, prefer="threads")
        windows: list[dict[str, np.ndarray]] = [{} for _ in queries]
        bar = show_progress(found, len(asking), "localizing", self.verbose)
        gone = set()
        for descriptors, (photo, asked) in zip(bar, asking.items()):
            if isinstance(descriptors, PhotoError):
                tell_of(descriptors, collection)
                gone.add(photo)
                descriptors = collection.engine.get([photo] * len(asked))
            for q, descriptor in zip(asked, descriptors):
                windows[q][photo] = descriptor
        results = []
        for ranked, mine in zip(rankings, windows):
            first = ranked.ids[: self.n_candidates].tolist()
            if first:
                descriptors = np.stack([mine[photo] for photo in first])
                stay = np.array([photo in gone for photo in first])
                ranked = ranked.resorted(descriptors @ ranked.query, descriptors, stay)
            results.append(ranked)
        return results

    def _describe_windows(
        self, targets: list[tuple[np.ndarray, float]], corridor: Corridor, photo: Any
    ) -> np.ndarray:
        """Descriptors (n, D) of where each target is in a photo."""
        (record,) = corridor.maps([photo])
        integral = IntegralMap.of(record.activations, self.exponent)
        windows = [
            locate(integral, target, aspect, self.step, self.tolerance, self.n_sweeps)[0]
            for target, aspect in targets
        ]
        # Several queries may have found one window.
        places = {window: i for i, window in enumerate(dict.fromkeys(windows))}
        crops = [record.crop(record.box_of(*window)) for window in places]
        descriptors = corridor.described(crops)
        return descriptors[[places[window] for window in windows]]


def _target(query: DescribedQuery) -> tuple[np.ndarray, float]:
    """The query's maximum activations, and its width over height in cells."""
    record: ActivationMap | None = query.map
    if record is None:
        raise ValueError("Localization needs the queries' activation maps")
    height, width = record.shape
    return np.asarray(record.activations, np.float32).max(axis=(0, 1)), width / height
