"""What finds the local features that an index keeps, and of which photos they are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.base import clone

from sklearn_cmac.local import LearnedFeatureExtractor
from sklearn_cmac.persistence import PipelineFileError, load_pipeline
from sklearn_cmac.photos import Item, PhotoError
from sklearn_cmac.search._indexed import IndexedPhotos
from sklearn_cmac.search._retriever import Retriever


def extractors_of(
    retriever: Retriever, features: Sequence[Any] | None
) -> list[LearnedFeatureExtractor]:
    """What finds the local features to be kept, each once."""
    given = retriever.extractors if features is None else features
    if isinstance(given, LearnedFeatureExtractor):
        raise TypeError("features is a sequence of extractors; put a single one into a list")
    for extractor in given:
        if not isinstance(extractor, LearnedFeatureExtractor):
            raise TypeError(
                f"features of a {type(extractor).__name__} cannot be kept; pass "
                "LearnedFeatureExtractor objects"
            )
        extractor._validate_params()
    found = [clone(extractor).set_params(store=None, verbose=0) for extractor in given]
    return list({extractor.kind: extractor for extractor in found}.values())


def extractor_in(file: Path) -> LearnedFeatureExtractor:
    """What finds the local features that are kept under the name of a file."""
    found = load_pipeline(file)
    if not isinstance(found, LearnedFeatureExtractor):
        raise PipelineFileError(f"{file}: holds a {type(found).__name__}, no feature extractor")
    if found.kind != file.stem:
        raise PipelineFileError(
            f"{file}: the features that are kept were found with other weights or code than are "
            "installed; make the index again"
        )
    return found


def find_features(
    extractor: LearnedFeatureExtractor, photos: IndexedPhotos, ids: Sequence[str]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Features of photos by id, as they are kept, and of those that cannot be used why."""
    there: dict[str, Item] = {}
    reasons: dict[str, str] = {}
    for id_ in ids:
        try:
            there[id_] = photos.photo(id_)
        except PhotoError as error:
            reasons[id_] = str(error)
    found = {}
    for id_, record in zip(there, extractor.iter_transform(list(there.values())) if there else ()):
        if isinstance(record, PhotoError):
            reasons[id_] = str(record)
        else:
            found[id_] = extractor.pack(record)
    return found, reasons
