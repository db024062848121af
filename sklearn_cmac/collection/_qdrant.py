"""The engine on a Qdrant server, which shards and replicates what it keeps."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from sklearn_cmac.collection._engine import Stamp
from sklearn_cmac.collection._qdrant_points import (
    DESCRIPTOR,
    ID,
    REGIONS,
    PointEngine,
    Search,
    split_address,
)

_STAMP = "sklearn_cmac"  # in the metadata of the collection
_PATIENCE = 60  # seconds for an answer, at least
_NUMBERS = 2**20  # of vectors in one request: as JSON 20 MB, and a server refuses 32


class QdrantEngine(PointEngine):
    """Vectors in a collection of a Qdrant server, which any number of processes use at once.

    The server is release 1.16 or later. Its key, if it asks for one, is read from the environment
    variable ``QDRANT_API_KEY``. An `upsert` of many photos is several requests; if one fails,
    those before it are there.

    It needs qdrant-client: ``pip install sklearn-cmac[qdrant]``.

    Parameters
    ----------
    uri : str
        ``qdrant+http://HOST:PORT/NAME`` or ``qdrant+https://…``, and perhaps options:
        ``?exact=false`` finds descriptors by a graph instead of comparing all. A new collection
        has ``quantization=scalar``, ``shards=N`` and ``replicas=N``.
    stamp : Stamp, optional
        What its vectors are of. Needed where there is no such collection yet.
    read_only : bool, default=False
        Whether to refuse to write.
    timeout : float, default=5.0
        Seconds to wait for an answer, where that is more than a minute.
    client : qdrant_client.QdrantClient, optional
        Who is asked, in the place of the server at the address. An engine with a client of its
        own does not pickle.

    Raises
    ------
    FileNotFoundError
        If there is no such collection, and no `stamp`.
    ValueError
        If the collection holds vectors of another stamp, or none of ours, or an option is not
        known.
    OSError
        If the server is not reached or refuses.
    ImportError
        If qdrant-client is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from qdrant_client import QdrantClient
    >>> from sklearn_cmac.collection import QdrantEngine, Stamp
    >>> engine = QdrantEngine(
    ...     "qdrant+http://localhost/photos",
    ...     Stamp("a pipeline", dimension=2),
    ...     client=QdrantClient(":memory:"),
    ... )
    >>> engine.upsert(["church", "tower"], np.array([[1, 0], [0.6, 0.8]], np.float32))
    >>> engine.kneighbors(np.array([[0.0, 1.0]]), k=1)
    (array([['tower']], dtype=object), array([[0.8]], dtype=float32))
    """

    def __init__(
        self,
        uri: str,
        stamp: Stamp | None = None,
        *,
        read_only: bool = False,
        timeout: float = 5.0,
        client: Any = None,
    ):
        self.uri, self.read_only = uri, read_only
        address, self._options = split_address(uri, ("exact", "quantization", "shards", "replicas"))
        self._server, self.name = _split_server(address)
        self._owns_client = client is None
        self._client = client or self._connect(max(_PATIENCE, math.ceil(timeout)))
        try:
            with self._errors():
                self.stamp = self._open(stamp)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """As for every engine. A client that was handed over stays open."""
        if self._owns_client:
            self._client.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._owns_client:
            raise TypeError(f"{self.uri}: an engine that was handed its client does not pickle")
        return partial(QdrantEngine, self.uri, read_only=self.read_only), ()

    def _connect(self, timeout: int) -> Any:
        qdrant_client = _qdrant_client()
        server = self._server
        return qdrant_client.QdrantClient(
            url=f"{server.scheme.removeprefix('qdrant+')}://{server.netloc}",
            prefix=server.path.rpartition("/")[0] or None,
            api_key=os.environ.get("QDRANT_API_KEY"),
            timeout=timeout,
            check_compatibility=False,
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        exceptions = _qdrant_client().http.exceptions
        try:
            yield
        except exceptions.UnexpectedResponse as error:
            kind: type[Exception] = OSError
            if error.status_code in (401, 403):
                kind = PermissionError
            elif 400 <= error.status_code < 500:
                kind = ValueError
            text = error.content.decode(errors="replace")
            raise kind(f"{self.uri}: the server answers {error.status_code}, {text}") from error
        except exceptions.ResponseHandlingException as error:
            raise ConnectionError(f"{self.uri}: {error}") from error

    def _open(self, asked: Stamp | None) -> Stamp:
        """The stamp that is kept; the first that is asked for will be."""
        if not self._client.collection_exists(self.name):
            if asked is None or self.read_only:
                raise FileNotFoundError(f"{self.uri}: no vectors are kept here")
            self._make(asked)
        metadata = self._client.get_collection(self.name).config.metadata or {}
        try:
            kept = Stamp(**metadata[_STAMP])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{self.uri}: this collection has no stamp; another program made it, or the "
                "server is older than 1.16. Choose another name, or delete it"
            ) from error
        if asked is not None:
            kept.check(asked, self.uri)
        return kept

    def _make(self, stamp: Stamp) -> None:
        models, options = self._models, self._options
        size, distance = stamp.dimension, models.Distance.DOT
        scalar = options.quantization == "scalar"
        vectors = {
            DESCRIPTOR: models.VectorParams(
                size=size,
                distance=distance,
                quantization_config=(
                    models.ScalarQuantization(
                        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8)
                    )
                    if scalar
                    else None
                ),
            )
        }
        if stamp.regions:
            vectors[REGIONS] = models.VectorParams(
                size=size,
                distance=distance,
                datatype=models.Datatype.FLOAT16,
                on_disk=True,
                multivector_config=models.MultiVectorConfig(
                    comparator=models.MultiVectorComparator.MAX_SIM
                ),
                # No graph: all regions are compared, or those of candidates.
                hnsw_config=models.HnswConfigDiff(m=0),
            )
        try:
            self._client.create_collection(
                self.name,
                vectors_config=vectors,
                shard_number=options.shards,
                replication_factor=options.replicas,
                metadata={_STAMP: asdict(stamp)},
            )
        except _qdrant_client().http.exceptions.UnexpectedResponse:
            if not self._client.collection_exists(self.name):  # and nobody else was faster
                raise

    @property
    def _models(self) -> Any:
        return _qdrant_client().models

    def _count(self) -> int:
        return self._client.count(self.name, exact=True).count

    def _search(self, searches: Sequence[Search]) -> list[list[Any]]:
        requests = [self._request(search) for search in searches]
        answers = self._client.query_batch_points(self.name, requests)
        return [answer.points for answer in answers]

    def _request(self, search: Search) -> Any:
        models = self._models
        first = None if search.first is None else models.Prefetch(**self._stage(search.first))
        return models.QueryRequest(
            **self._stage(search), prefetch=first, with_payload=[ID], with_vector=False
        )

    def _stage(self, search: Search) -> dict[str, Any]:
        return {
            "query": search.vector.tolist(),
            "using": search.using,
            "limit": search.limit,
            "filter": self._filter(search.among),
            "params": self._models.SearchParams(exact=self._options.exact),
        }

    def _filter(self, among: Sequence[str] | None) -> Any:
        models = self._models
        if among is None:
            return None
        return models.Filter(must=[models.HasIdCondition(has_id=list(among))])

    def _retrieve(self, points: Sequence[str], vectors: list[str]) -> list[Any]:
        return self._client.retrieve(
            self.name, list(points), with_payload=True, with_vectors=vectors or False
        )

    def _scroll(self, n: int, start: Any) -> tuple[list[Any], Any]:
        return self._client.scroll(
            self.name, limit=n, offset=start, with_payload=[ID], with_vectors=[DESCRIPTOR]
        )

    def _write(self, points: list[dict[str, Any]]) -> None:
        sizes = [sum(vector.size for vector in point["vector"].values()) for point in points]
        filled = np.cumsum(sizes) // _NUMBERS
        for rows in np.split(np.arange(len(points)), np.flatnonzero(np.diff(filled)) + 1):
            self._client.upsert(self.name, [self._row(points[i]) for i in rows], wait=True)

    def _row(self, point: dict[str, Any]) -> Any:
        vector = {name: rows.tolist() for name, rows in point["vector"].items()}
        return self._models.PointStruct(id=point["id"], vector=vector, payload=point["payload"])

    def _remove(self, points: list[str]) -> None:
        self._client.delete(self.name, self._models.PointIdsList(points=points), wait=True)


def _split_server(address: str) -> tuple[Any, str]:
    """The parts of an address, and the collection that it names."""
    server = urlsplit(address)
    name = unquote(server.path.rpartition("/")[2])
    if not (server.hostname and name):
        raise ValueError(f"{address}: is not of the form qdrant+http://HOST:PORT/NAME")
    if "@" in server.netloc:
        raise ValueError(
            f"qdrant+http://…@{server.hostname}: an address holds no keys; set QDRANT_API_KEY"
        )
    return server, name


def _qdrant_client() -> Any:
    try:
        import qdrant_client
    except ImportError as error:
        raise ImportError(
            "qdrant+http: addresses need: pip install sklearn-cmac[qdrant]"
        ) from error
    return qdrant_client
