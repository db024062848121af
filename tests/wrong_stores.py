"""Engines with an address and one fault each, in a module that other processes can import."""

import time

import numpy as np

from sklearn_cmac.collection import FlatEngine, Stamp


class Wrong(FlatEngine):
    """Of an address ``wrong-...:FOLDER``."""

    def __init__(self, uri, stamp=None, **options):
        self.uri = str(uri)
        super().__init__(self.uri.partition(":")[2], stamp, **options)

    def __reduce__(self):
        return type(self), (self.uri,)


class AcknowledgesTooSoon(Wrong):
    """What is written last is in memory until it is read here."""

    pending = None

    def upsert(self, *given):
        self._flush()
        self.pending = given

    def _flush(self):
        given, self.pending = self.pending, None
        if given:
            super().upsert(*given)

    def _sync(self):
        self._flush()
        super()._sync()

    def __contains__(self, id_):
        self._flush()
        return super().__contains__(id_)

    def close(self):
        if self.pending:
            self._flush()
        super().close()


class RowByRow(Wrong):
    """Each id is a transaction."""

    def upsert(self, ids, descriptors, regions=None):
        for i, id_ in enumerate(ids):
            super().upsert([id_], descriptors[i : i + 1], regions and regions.take([i]))
            time.sleep(0.01)


class WithoutLock(Wrong):
    """Two may write."""

    def _begin_to_write(self):
        self._load()


class Nameless(Wrong):
    """A second writer is not told who the first is."""

    def _begin_to_write(self):
        self._writer._owner = lambda: "somebody"
        super()._begin_to_write()


class OfAnyStamp(Wrong):
    """Vectors of another pipeline are handed out."""

    def _open(self, asked):
        return super()._open(None if asked and self._has_state() else asked)


class MakesAnyway(Wrong):
    """Who asks for what is not there gets an empty store."""

    def __init__(self, uri, stamp=None, **options):
        try:
            super().__init__(uri, stamp, **options)
        except FileNotFoundError:
            super().__init__(uri, Stamp("pipeline A", 12, regions=True), **options)


class Stale(Wrong):
    """What others write is not seen."""

    def _sync(self):
        pass


class PicklesWhole(Wrong):
    """The vectors are in the pickle too."""

    def __reduce__(self):
        rows = np.concatenate([rows for _, rows in self.scan()])
        return type(self), (self.uri,), {"rows": rows}


class BringsBack(Wrong):
    """When it is opened again, what was deleted last is back."""

    last = ()

    def delete(self, ids):
        self.last = [id_ for id_ in ids if id_ in self]
        self.kept = self.get(self.last), self.get_regions(self.last)
        super().delete(ids)

    def close(self):
        if self.last:
            last, self.last = self.last, ()
            super().upsert(last, *self.kept)
        super().close()
