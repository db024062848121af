"""Regions that follow the photo: clusters of its activations and of its colours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClusterMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_cmac._flow import Threads
from sklearn_cmac._progress import show_progress
from sklearn_cmac._scikit_learn import Interval, StrOptions, _fit_context
from sklearn_cmac._steps import Seed, is_table
from sklearn_cmac._threads import one_thread
from sklearn_cmac.maps import ActivationMap, Records, Regions
from sklearn_cmac.photos import PhotoError
from sklearn_cmac.regions._spectral import normalized_cut
from sklearn_cmac.regions._step import RegionStep, cell_points, embedding_of, widened

# Similarities that a batch on a device holds at most: 512 MB in single precision.
_BATCH_ENTRIES = 2**27


class NCutClusterer(ClusterMixin, RegionStep):
    """Normalized Cut into one or several numbers of clusters.

    On a sequence of activation maps it proposes regions, the clusters of each photo's
    embedding and of its colours; `fit_predict` gives the labels of the embedding's cells. On a
    table it is a clusterer of its rows.

    Parameters
    ----------
    n_clusters : int or sequence of int, default=(5, 20)
        Numbers of clusters. All come from one eigenproblem.
    n_color_clusters : int or sequence of int, default=5
        The same for the colours of the map's cells; 0 is none. Not used on a table.
    scale : float, default=0.05
        z, the distance at which two points cease to be alike, as a share of the largest
        distance between two points of the photo.
    kernel : {"gaussian", "exponential"}, default="gaussian"
        Similarity ``exp(-(d / z)^2)``, that of Shi's program, or ``exp(-2 d / z)``, as the
        paper prints it.
    regularization : float, default=0.5
        Offset of the similarity matrix's diagonal and degrees. Without it the cut peels off
        single points.
    spatial_weight : float, default=0
        What a cell's place in the map counts for beside its embedding. At 1, places have
        the same total variance as the embedding of the photo. Not used on a table.
    grow : float, default=0
        By how much of the map's shorter side clusters are widened in all directions before
        they are regions. They overlap then. Not used on a table.
    precision : {"float32", "float64"}, default="float32"
        Arithmetic of the eigenproblem. Single precision is many times as fast for many points.
        Where it cannot tell clusters as double precision does, that is used all the same.
    device : str, optional
        A torch device, such as "cuda", on which photos of one map size are cut together, in
        single precision. Default: NumPy. Not used on a table.
    random_state : int, RandomState instance or None, default=0
        Draws the row from which the discretisation starts. An integer gives each photo the
        same draw, whatever photos come before it.
    n_jobs : int, optional
        Photos cut at once, each in one thread. None is 1 unless a `joblib.parallel_config`
        says otherwise.
    verbose : bool or int, default=0
        Whether to show a progress bar over photos.

    Attributes
    ----------
    labels_ : ndarray of shape (N,) or (L, N)
        The cluster of each row of the table, for one or for L numbers of clusters. Only
        of a table.
    eigenvalues_ : ndarray of shape (max(n_clusters),)
        Of the table's normalised similarity, descending. Only of a table.
    n_features_in_ : int
        Columns of the table, or dimensions of the embedding.

    References
    ----------
    J. Shi, J. Malik, "Normalized Cuts and Image Segmentation", PAMI 2000.
    S. X. Yu, J. Shi, "Multiclass Spectral Clustering", ICCV 2003.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_cmac import NCutClusterer
    >>> X, _ = make_blobs(60, centers=[[0, 0], [9, 0], [0, 9]], random_state=0)
    >>> NCutClusterer(n_clusters=3).fit_predict(X)[:5].shape
    (5,)
    >>> NCutClusterer(n_clusters=(2, 3)).fit(X).labels_.shape
    (2, 60)

    Of activation maps:

    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, ActivationPCA
    >>> rng = np.random.default_rng(0)
    >>> maps = [ActivationMap.from_arrays(rng.random((6, 8, 32))) for _ in range(3)]
    >>> embedded = ActivationPCA().fit_transform(maps)
    >>> [labels.shape for labels in NCutClusterer((5, 10)).fit_predict(embedded)]
    [(2, 6, 8), (2, 6, 8), (2, 6, 8)]
    """

    _parameter_constraints: dict = {
        "n_clusters": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "n_color_clusters": [Interval(Integral, 0, None, closed="left"), "array-like"],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "kernel": [StrOptions({"gaussian", "exponential"})],
        "regularization": [Interval(Real, 0, None, closed="left")],
        "spatial_weight": [Interval(Real, 0, None, closed="left")],
        "grow": [Interval(Real, 0, 1, closed="both")],
        "precision": [StrOptions({"float32", "float64"})],
        "device": [str, None],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    _needs = "embedding"

    def __init__(
        self,
        n_clusters: int | Sequence[int] = (5, 20),
        n_color_clusters: int | Sequence[int] = 5,
        scale: float = 0.05,
        kernel: str = "gaussian",
        regularization: float = 0.5,
        spatial_weight: float = 0.0,
        grow: float = 0.0,
        precision: str = "float32",
        device: str | None = None,
        random_state: Seed = 0,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.n_clusters = n_clusters
        self.n_color_clusters = n_color_clusters
        self.scale = scale
        self.kernel = kernel
        self.regularization = regularization
        self.spatial_weight = spatial_weight
        self.grow = grow
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike | Records, y: object = None) -> NCutClusterer:
        """Cut the rows of a table; on activation maps there is nothing to learn.

        Parameters
        ----------
        X : array-like of shape (N, C), or sequence of ActivationMap with an embedding
        y : ignored

        Returns
        -------
        self
        """
        if is_table(X):
            with np.errstate(over="ignore", invalid="ignore"):  # the sum that it looks at first
                points = validate_data(self, X, dtype=[np.float64, np.float32])
            rng = check_random_state(self.random_state)
            labels, self.eigenvalues_ = self._cut(points, _counts(self.n_clusters), rng)
            self.labels_ = self._squeezed(labels)
        else:
            self.n_features_in_ = embedding_of(self._read(X)[0]).shape[-1]
            self._forget("labels_", "eigenvalues_", "feature_names_in_")
        return self

    def fit_predict(self, X: ArrayLike | Records, y: object = None) -> Any:
        """Labels of the rows of a table, or of the cells of each photo's embedding.

        Parameters
        ----------
        X : array-like of shape (N, C), or sequence of ActivationMap with an embedding
        y : ignored

        Returns
        -------
        ndarray of int, or list of ndarray of int
            For a table, of shape (N,) for one number of clusters, (L, N) for several. For
            records, one array each, of shape (H, W) or (L, H, W). Colours are not clustered, and
            clusters not widened, as those are that `transform` makes regions of.

        Raises
        ------
        PhotoError
            If a photo's embedding is not finite.
        """
        self.fit(X)
        if is_table(X):
            return self.labels_
        records = self._read(X)
        labels = self._partitions(records, with_colors=False)
        maps = [rows.reshape(-1, *embedding_of(r).shape[:2]) for r, rows in zip(records, labels)]
        return [self._squeezed(partitions) for partitions in maps]

    def _squeezed(self, labels: np.ndarray) -> np.ndarray:
        """Labels (L, ...), without the first axis if one number of clusters was asked for."""
        return labels if np.ndim(self.n_clusters) else labels[0]

    def transform(self, X: ArrayLike | Records) -> Any:
        """Propose regions.

        Parameters
        ----------
        X : sequence of ActivationMap with an embedding, or array-like of shape (N, C)

        Returns
        -------
        list of ActivationMap, or ndarray of shape (N, M)
            For records, copies that have `regions`: the clusters of the first count, of the
            second, …, of the colours. For a table, which of the M clusters of all counts
            each row belongs to, 1 or 0. The table's rows are clustered as one set.

        Raises
        ------
        PhotoError
            If a photo's embedding is not finite, or colours are asked for and not known.
        """
        check_is_fitted(self, "n_features_in_")
        if not is_table(X):
            return self._with_regions(self._read(X))
        self._check_params()
        with np.errstate(over="ignore", invalid="ignore"):
            points = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        rng = check_random_state(self.random_state)
        labels = self._cut(points, _counts(self.n_clusters), rng)[0]
        regions = Regions.from_labels(labels, (1, len(points)))
        return regions.masks()[:, 0].T.astype(points.dtype)

    def _validate_params(self) -> None:
        super()._validate_params()
        _counts(self.n_clusters)
        _color_counts(self.n_color_clusters)

    def _propose_each(self, records: list[ActivationMap]) -> Iterator[Regions]:
        for record, labels in zip(records, self._partitions(records, with_colors=True)):
            regions = Regions.from_labels(labels, embedding_of(record).shape[:2])
            yield widened(regions, self.grow)

    def _partitions(self, records: list[ActivationMap], with_colors: bool) -> list[np.ndarray]:
        """Labels (L, N) of each photo's cells, by its embedding and then by its colours."""
        rng = check_random_state(self.random_state)
        # A seed is the same for every photo; a generator gives each photo the next draw.
        seeds: list[int] = [
            int(self.random_state)
            if isinstance(self.random_state, Integral)
            else rng.randint(np.iinfo(np.int32).max)
            for _ in records
        ]
        cut = self._cut_each if self.device is None else self._cut_batches
        found = cut(records, seeds, with_colors)
        labels = dict(show_progress(found, len(records), "cutting maps", self.verbose))
        return [labels[i] for i in range(len(records))]

    def _cut_each(
        self, records: list[ActivationMap], seeds: list[int], with_colors: bool
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Photo by photo, in parallel: (position, labels)."""
        cut = partial(self._cut_map, with_colors=with_colors)
        with one_thread(), Threads(self.n_jobs) as threads:
            yield from enumerate(threads.each(cut, zip(records, seeds)))

    def _cut_map(self, seeded: tuple[ActivationMap, int], with_colors: bool) -> np.ndarray:
        record, seed = seeded
        rng = check_random_state(seed)
        sets = self._point_sets(record, with_colors)
        return np.vstack([self._cut(points, counts, rng)[0] for points, counts in sets])

    def _cut_batches(
        self, records: list[ActivationMap], seeds: list[int], with_colors: bool
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Photos of one map size together, on a device: (position, labels)."""
        from sklearn_cmac.regions._batched import normalized_cuts

        sizes = defaultdict(list)
        for i, record in enumerate(records):
            sizes[embedding_of(record).shape[:2]].append(i)
        for shape, members in sizes.items():
            at_once = max(1, _BATCH_ENTRIES // (shape[0] * shape[1]) ** 2)
            for batch in np.split(np.array(members), range(at_once, len(members), at_once)):
                rngs = [check_random_state(seeds[i]) for i in batch]
                labels = []
                for sets in zip(*(self._point_sets(records[i], with_colors) for i in batch)):
                    counts = sets[0][1]
                    rows = [
                        _draw_start_rows(len(points), counts, r)
                        for (points, _), r in zip(sets, rngs)
                    ]
                    labels.append(
                        normalized_cuts(
                            [points for points, _ in sets],
                            counts,
                            rows,
                            scale=self.scale,
                            kernel=self.kernel,
                            regularization=self.regularization,
                            device=str(self.device),
                        )
                    )
                yield from zip(batch.tolist(), np.concatenate(labels, axis=1))

    def _point_sets(
        self, record: ActivationMap, with_colors: bool
    ) -> list[tuple[np.ndarray, list[int]]]:
        """What of a photo is cut, and into how many clusters: its embedding, its colours."""
        sets = [(cell_points(record, self.spatial_weight), _counts(self.n_clusters))]
        color_counts = _color_counts(self.n_color_clusters) if with_colors else []
        if color_counts:
            if record.colors is None:
                raise PhotoError(
                    f"{record.name}: its colours are not known; give them to "
                    "ActivationMap.from_arrays, or set n_color_clusters=0"
                )
            sets.append((np.asarray(record.colors, np.float64).reshape(-1, 3), color_counts))
        return sets

    def _cut(
        self, points: np.ndarray, counts: list[int], rng: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        return normalized_cut(
            points,
            counts,
            _draw_start_rows(len(points), counts, rng),
            scale=self.scale,
            kernel=self.kernel,
            regularization=self.regularization,
            precision=self.precision,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = True  # these are its tags on tables
        tags.no_validation = False
        tags.input_tags.two_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _draw_start_rows(n: int, counts: list[int], rng: np.random.RandomState) -> list[int]:
    """The row of n from which the discretisation of each count starts."""
    return rng.randint(n, size=len(counts)).tolist()


def _counts(n_clusters: int | Sequence[int], name: str = "n_clusters") -> list[int]:
    """Numbers of clusters as a list."""
    counts = np.atleast_1d(n_clusters)
    if counts.ndim != 1 or counts.dtype.kind not in "ui" or len(counts) == 0 or counts.min() < 1:
        raise ValueError(f"{name} is one or several whole numbers above 0, got {n_clusters!r}")
    return counts.tolist()


def _color_counts(n_color_clusters: int | Sequence[int]) -> list[int]:
    """Numbers of clusters of colours; one 0 is an empty list."""
    if np.array_equal(np.atleast_1d(n_color_clusters), [0]):
        return []
    return _counts(n_color_clusters, "n_color_clusters")
