"""The one place that knows where in a pipeline photos become maps, regions, vectors, descriptors.

Whoever stands beside the corridor (collections, steps behind the first ranking, pictures,
evaluation) asks here, and nobody counts steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_cmac._flow import Threads
from sklearn_cmac._threads import one_thread
from sklearn_cmac.aggregation import L2Aggregator
from sklearn_cmac.maps import ActivationMap, RegionVectors
from sklearn_cmac.photos import Item
from sklearn_cmac.pooling import Pooler

Record = TypeVar("Record")


class Corridor:
    """A fitted pipeline, taken apart.

    Parameters
    ----------
    pipeline : Pipeline, or any transformer with one descriptor per photo
        Of one that is no pipeline, only descriptors can be asked for.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.corridor import Corridor
    >>> Corridor(make_rmac_pipeline()).extractor
    ConvFeatureExtractor()
    """

    def __init__(self, pipeline: Any):
        while isinstance(pipeline, FrozenEstimator):
            pipeline = pipeline.estimator
        self.pipeline = pipeline

    @property
    def steps(self) -> list[Any]:
        """The steps, those that are left out not counted."""
        if not isinstance(self.pipeline, Pipeline):
            return []
        return [step for _, step in self.pipeline.steps if step not in (None, "passthrough")]

    @property
    def extractor(self) -> Any:
        """The step that photos come in by, or None."""
        return next(iter(self.steps), None)

    @property
    def reads_annotations(self) -> bool:
        """Whether some step looks at a photo's name or box, which describing ignores else."""
        return any(self._values("reads_annotations"))

    @property
    def draws(self) -> bool:
        """Whether some step draws from a generator: what it draws depends on who comes first."""
        return any(isinstance(s, np.random.RandomState) for s in self._values("random_state"))

    @property
    def n_jobs(self) -> int | None:
        """Photos that are worked on at once, as the extractor says; joblib reads it."""
        return 1 if self.draws or self.photos_at_once is None else self.extractor.n_jobs

    @property
    def photos_at_once(self) -> int | None:
        """Photos that one thread takes together; None if the extractor spreads them itself."""
        return getattr(self.extractor, "photos_at_once", None)

    def with_extractor(self, extractor: Any) -> Pipeline:
        """The same fitted pipeline with another step that photos come in by."""
        (name, _), *rest = self.pipeline.steps
        return Pipeline([(name, extractor), *rest])

    @property
    def proposing(self) -> Pipeline:
        """The steps from photos to activation maps with regions."""
        return self.pipeline[: self._pooler()]

    def descriptors(self, photos: Sequence[Item]) -> np.ndarray:
        """From photos to descriptors (n, D)."""
        return np.asarray(self.pipeline.transform(photos))

    @property
    def dimension(self) -> int | None:
        """D, the length of descriptors, if the last step says."""
        names = getattr((self.steps or [self.pipeline])[-1], "get_feature_names_out", None)
        return None if names is None else len(names())

    def records(self, photos: Sequence[Item]) -> list[Any]:
        """From photos to what the extractor makes of them; of no pipeline, themselves."""
        return list(self.pipeline[:1].transform(photos) if self.steps else photos)

    def maps(self, photos: Sequence[Item]) -> list[ActivationMap]:
        """From photos to activation maps."""
        return self._checked(self.records(photos), ActivationMap)

    def proposals(self, photos: Sequence[Item]) -> list[ActivationMap]:
        """From photos to activation maps with regions."""
        return self._checked(self.proposing.transform(photos), ActivationMap)

    def pooled(self, proposals: Sequence[ActivationMap]) -> list[RegionVectors]:
        """From maps with regions to region vectors, as they are summed or matched."""
        vectors = self._through(self.pipeline[self._pooler() : -1], proposals)
        return self._checked(vectors, RegionVectors)

    def vectors(self, maps: Sequence[ActivationMap]) -> list[RegionVectors]:
        """From activation maps to region vectors."""
        maps = self._checked(maps, ActivationMap)
        return self._checked(self._through(self.pipeline[1:-1], maps), RegionVectors)

    def summed(self, vectors: Sequence[RegionVectors]) -> np.ndarray:
        """From region vectors to descriptors (n, D)."""
        return np.asarray(self.pipeline[-1].transform(vectors))

    def described(self, records: Sequence[Any]) -> np.ndarray:
        """From the extractor's records to descriptors (n, D)."""
        if not self.steps:
            return np.asarray(self.pipeline.transform(records))
        return np.asarray(self._through(self.pipeline[1:], records))

    @property
    def pools(self) -> bool:
        """Whether regions are pooled, so that there are maps with regions, and their vectors."""
        return any(isinstance(step, Pooler) for step in self.steps)

    @property
    def sums(self) -> bool:
        """Whether the last step sums region vectors, so that these can be matched too."""
        before = self.steps[:-1]
        return self.pools and not any(isinstance(step, L2Aggregator) for step in before)

    def _values(self, name: str) -> Iterator[Any]:
        """This attribute of each part of the pipeline that has it."""
        parts = self.pipeline.get_params().values() if self.steps else ()
        return (getattr(part, name) for part in parts if hasattr(part, name))

    def _through(self, steps: Pipeline, photos: Sequence[Any]) -> list[Any]:
        """What steps make of photos, several at once."""
        with one_thread(), Threads(self.n_jobs) as threads:
            if threads.n == 1:
                return list(steps.transform(photos))
            return [row for (row,) in threads.each(lambda photo: steps.transform([photo]), photos)]

    def _pooler(self) -> int:
        for i, (_, step) in enumerate(self.pipeline.steps):
            if isinstance(step, Pooler):
                return i
        raise ValueError(f"the pipeline of {self._names()} has no step that pools regions")

    def _names(self) -> str:
        return ", ".join(getattr(self.pipeline, "named_steps", [type(self.pipeline).__name__]))

    def _checked(self, records: Sequence[Any], kind: type[Record]) -> list[Record]:
        if not all(isinstance(record, kind) for record in records):
            raise ValueError(
                f"a step behind the first ranking reads {kind.__name__}, and this pipeline of "
                f"{self._names()} makes {type(records[0]).__name__}; take that step out, or use a "
                "pipeline of activation maps"
            )
        return list(records)
