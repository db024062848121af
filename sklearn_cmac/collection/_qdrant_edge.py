"""The engine on Qdrant Edge: a shard of Qdrant in this process, in a folder."""

from __future__ import annotations

import json
import os
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from sklearn_cmac.collection._database import DamageError
from sklearn_cmac.collection._engine import InUseError, Stamp
from sklearn_cmac.collection._lock import WriterLock
from sklearn_cmac.collection._qdrant_points import (
    DESCRIPTOR,
    ID,
    REGIONS,
    Options,
    PointEngine,
    Search,
    split_address,
)
from sklearn_cmac.store import written_whole

_STAMP = "stamp.json"


class QdrantEdgeEngine(PointEngine):
    """Vectors in a folder, by Qdrant Edge in this process. No server is needed.

    Only one process at a time has the folder, even to read; engines of one process share it. What
    Qdrant keeps has no checksums: where a file is damaged, opening it fails, or vectors are other
    ones. Regions of queries are rounded to half precision, as the kept ones are.

    It needs qdrant-edge-py: ``pip install sklearn-cmac[qdrant]``.

    Parameters
    ----------
    uri : str
        ``qdrant:FOLDER``, and perhaps ``?exact=false``, which finds descriptors by a graph
        instead of comparing all, or ``?exact=false&quantization=scalar``, which compares bytes.
    stamp : Stamp, optional
        What its vectors are of. Needed where nothing is kept yet.
    read_only : bool, default=False
        Whether to refuse to write.
    timeout : float, default=5.0
        Seconds to wait for another process.

    Raises
    ------
    FileNotFoundError
        If nothing is kept there, and there is no `stamp`.
    InUseError
        If another process has the folder.
    ValueError
        If the folder holds vectors of another stamp, or an option is not known.
    OSError
        If Qdrant cannot do what it is asked.
    ImportError
        If qdrant-edge-py is not installed.
    """

    def __init__(
        self,
        uri: str,
        stamp: Stamp | None = None,
        *,
        read_only: bool = False,
        timeout: float = 5.0,
    ):
        address, self._options = split_address(uri, ("exact", "quantization"))
        _, colon, folder = address.partition(":")
        if not (colon and folder):
            raise ValueError(f"{uri}: is not of the form qdrant:FOLDER")
        self.folder = Path(folder).resolve()
        _, mark, options = uri.partition("?")
        self.uri = f"qdrant:{self.folder}{mark}{options}"
        self.read_only = read_only
        self._edge = _qdrant_edge()
        if not (self.folder / _STAMP).exists() and (stamp is None or read_only):
            raise FileNotFoundError(f"{uri}: no vectors are kept here")
        with self._errors():
            self._opened: _Folder | None = _open(self.folder, stamp, self._options, timeout)
        self.stamp = self._opened.stamp
        if stamp is not None:
            self.stamp.check(stamp, self.uri)

    def close(self) -> None:
        """Let go of the folder, unless another engine of this process has it too."""
        self._opened = None

    def optimize(self) -> None:
        """Build the graph of what was added, and give the room of what was deleted back.

        An engine that is not exact does so before it searches what was written, unless it is
        read only.
        """
        self._check_writable()
        with self._errors():
            self._optimize()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(QdrantEdgeEngine, self.uri, read_only=self.read_only), ()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if type(error) is not Exception:  # all that Edge raises
                raise
            if "WouldBlock" in str(error):
                raise InUseError(f"{self.uri}: another program has it; end that first") from error
            raise OSError(f"{self.uri}: {error}") from error

    @property
    def _folder(self) -> _Folder:
        if self._opened is None:
            raise ValueError(f"{self.uri}: was closed; open it again")
        return self._opened

    def _optimize(self) -> None:
        self._folder.shard.optimize()
        self._folder.has_new = False

    def _count(self) -> int:
        return self._folder.shard.count(self._edge.CountRequest())

    def _search(self, searches: Sequence[Search]) -> list[list[Any]]:
        if self._folder.has_new and not (self._options.exact or self.read_only):
            self._optimize()
        requests = [self._request(search) for search in searches]
        return self._folder.shard.query_batch(self._edge.QueryBatchRequest(requests))

    def _request(self, search: Search) -> Any:
        stages = [] if search.first is None else [self._edge.Prefetch(**self._stage(search.first))]
        return self._edge.QueryRequest(
            **self._stage(search), prefetches=stages, with_payload=[ID], with_vector=False
        )

    def _stage(self, search: Search) -> dict[str, Any]:
        return {
            "query": self._edge.Query.Nearest(search.vector, using=search.using),
            "limit": search.limit,
            "filter": self._filter(search.among),
            "params": self._edge.SearchParams(exact=self._options.exact),
        }

    def _filter(self, among: Sequence[str] | None) -> Any:
        if among is None:
            return None
        return self._edge.Filter(must=[self._edge.HasIdCondition(set(among))])

    def _retrieve(self, points: Sequence[str], vectors: list[str]) -> list[Any]:
        return self._folder.shard.retrieve(
            list(points), with_payload=True, with_vector=vectors or False
        )

    def _scroll(self, n: int, start: Any) -> tuple[list[Any], Any]:
        return self._folder.shard.scroll(
            self._edge.ScrollRequest(
                offset=start, limit=n, with_payload=[ID], with_vector=[DESCRIPTOR]
            )
        )

    def _write(self, points: list[dict[str, Any]]) -> None:
        rows = [self._edge.Point(**point) for point in points]
        self._update(self._edge.UpdateOperation.upsert_points(rows))

    def _remove(self, points: list[str]) -> None:
        self._update(self._edge.UpdateOperation.delete_points(points))

    def _update(self, operation: Any) -> None:
        """Qdrant's log has an operation as a whole or not at all, whatever ends the process."""
        self._folder.shard.update(operation)
        self._folder.shard.flush()
        self._folder.has_new = True


class _Folder:
    """A folder that this process has open: `stamp.json`, and the shard beside it."""

    def __init__(self, path: Path, asked: Stamp | None, options: Options, timeout: float):
        edge = _qdrant_edge()
        path.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(path, timeout)
        lock.acquire()
        try:
            place = path / "shard"
            if (path / _STAMP).exists():
                self.stamp = _read_stamp(path / _STAMP)
                self.shard = edge.EdgeShard.load(str(place), _config(self.stamp, options))
            elif asked is None:
                raise FileNotFoundError(f"{path}: no vectors are kept here")
            elif place.exists():
                raise ValueError(
                    f"{path}: holds a shard without a stamp, which another program made, or a "
                    "process that was ended before it was done; choose another place, or delete it"
                )
            else:
                self.stamp = asked
                self.shard = edge.EdgeShard.create(str(place), _config(asked, options))
                _write_stamp(path / _STAMP, asked)
        except BaseException:
            lock.release()
            raise
        self.has_new = True
        weakref.finalize(self, _close, self.shard, lock, os.getpid())


# What this process has open, so that several engines share it.
_OPEN: weakref.WeakValueDictionary[tuple[Path, int], _Folder] = weakref.WeakValueDictionary()
_OPENING = Lock()


def _open(path: Path, asked: Stamp | None, options: Options, timeout: float) -> _Folder:
    with _OPENING:
        key = path, os.getpid()
        folder = _OPEN.get(key)
        if folder is None:
            folder = _OPEN[key] = _Folder(path, asked, options, timeout)
        return folder


def _close(shard: Any, lock: WriterLock, process: int) -> None:
    if os.getpid() == process:  # and not one that was forked from it
        shard.close()
        lock.release()


def _config(stamp: Stamp, options: Options) -> Any:
    edge = _qdrant_edge()
    scalar = options.quantization == "scalar"
    vectors = {
        DESCRIPTOR: edge.EdgeVectorParams(
            size=stamp.dimension,
            distance=edge.Distance.Dot,
            quantization_config=(
                edge.ScalarQuantizationConfig(edge.ScalarType.Int8) if scalar else None
            ),
        )
    }
    if stamp.regions:
        vectors[REGIONS] = edge.EdgeVectorParams(
            size=stamp.dimension,
            distance=edge.Distance.Dot,
            datatype=edge.VectorStorageDatatype.Float16,
            memory=edge.Memory.Cold,
            multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
            # No graph: all regions are compared, or those of candidates.
            hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000),
        )
    return edge.EdgeConfig(vectors=vectors)


def _write_stamp(path: Path, stamp: Stamp) -> None:
    text = json.dumps(asdict(stamp))
    content = {"stamp": text, "checksum": zlib.crc32(text.encode())}
    with written_whole(path) as file:
        file.write(json.dumps(content).encode())


def _read_stamp(path: Path) -> Stamp:
    try:
        content = json.loads(path.read_bytes())
        if zlib.crc32(content["stamp"].encode()) != content["checksum"]:
            raise ValueError
        return Stamp(**json.loads(content["stamp"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamageError(f"{path}: is damaged") from error


def _qdrant_edge() -> Any:
    try:
        import qdrant_edge
    except ImportError as error:
        raise ImportError("qdrant: addresses need: pip install sklearn-cmac[qdrant]") from error
    return qdrant_edge
