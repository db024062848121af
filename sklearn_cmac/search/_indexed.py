"""The photos of an index as steps behind the first ranking see them, read as they are asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from sklearn_cmac.collection import Engine
from sklearn_cmac.collection._catalogue import Catalogue, CatalogueEntry, file_facts
from sklearn_cmac.collection._database import DamageError
from sklearn_cmac.collection._details import Details
from sklearn_cmac.collection._engine import Ids
from sklearn_cmac.local import LocalFeatures
from sklearn_cmac.photos import Item, PhotoError


class IndexedPhotos:
    """A `Collection` of a catalogue's photos. Their positions are the numbers of their entries.

    Parameters
    ----------
    catalogue : Catalogue
    engine : Engine
    items : mapping from str to photo
        By name, those that are in no file.
    details : Details

    Attributes
    ----------
    told : set of str
        Why photos could not be looked at, as far as that was said.
    """

    def __init__(
        self, catalogue: Catalogue, engine: Engine, items: Mapping[str, Item], details: Details
    ):
        self.catalogue, self.engine, self.items = catalogue, engine, items
        self.details = details
        self.told: set[str] = set()

    def with_engine(self, engine: Engine) -> IndexedPhotos:
        """As for `Collection`."""
        other = IndexedPhotos(self.catalogue, engine, self.items, self.details)
        other.told = self.told
        return other

    def photo(self, id_: str) -> Item:
        """A photo of an id, or a `PhotoError` if it is nowhere to be seen any more."""
        entries = self._of(id_)
        for entry in entries:
            if entry.name in self.items:
                return self.items[entry.name]
            if entry.path and (entry.size, entry.mtime) == file_facts(entry.path):
                return entry.path
        entry = entries[0]
        if not entry.path:
            reason = "was not added from a file, so it cannot be looked at again"
        elif os.path.exists(entry.path):
            reason = "has changed since it was described; update the index"
        else:
            reason = "is not there any more; update the index"
        raise PhotoError(f"{entry.name}: {reason}.")

    def name(self, id_: str) -> str:
        """Its name."""
        return self._of(id_)[0].name

    def features(self, id_: str, extractor: Any) -> LocalFeatures | None:
        """Local features that are kept of a photo, if this extractor found them.

        A `PhotoError` if they are damaged: those of other photos are not.
        """
        name = self.name(id_)
        try:
            return self.details.features(id_, extractor, name)
        except DamageError as error:
            raise PhotoError(
                f"{name}: its local features are damaged ({error}); check the index with repair, "
                "and update it."
            ) from error

    def only_id(self, position: int | None) -> str | None:
        """The id of a photo that has no copy here; None of others, and of none."""
        entry = None if position is None else self.catalogue.numbered(position)
        alone = entry is not None and len(self.catalogue.of_ids([entry.id])[entry.id]) == 1
        return entry.id if entry is not None and alone else None

    def positions(self, ids: Ids, but: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Where ids are among the photos, as for `Collection`."""
        found = self.catalogue.of_ids(ids)
        pairs = [
            (entry.number, i)
            for i, id_ in enumerate(ids)
            for entry in found.get(id_, ())
            if entry.number != but
        ]
        places, which = np.array(pairs, int).reshape(-1, 2).T
        return places, which

    def _of(self, id_: str) -> list[CatalogueEntry]:
        found = self.catalogue.of_ids([id_])
        if id_ not in found:
            raise PhotoError(f"photo {id_[:12]}: is not in the index any more.")
        return found[id_]
