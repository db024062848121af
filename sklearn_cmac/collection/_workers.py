"""Who describes shards of photos: processes here, or a cluster of Dask or Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import joblib


@contextmanager
def workers(
    backend: str = "loky", n_workers: int | None = None, address: str | None = None
) -> Iterator[None]:
    """Processes or machines to describe photos on, as joblib's backend, while inside.

    Each worker describes one photo at a time, in one thread.

    Parameters
    ----------
    backend : {"loky", "dask", "ray"}, default="loky"
        "loky" are processes of this machine. Dask and Ray run on this machine too, unless there
        is an `address`.
    n_workers : int, optional
        Default: one for each core, of this machine or of the cluster. One worker of "loky" or
        "ray" is this process. All workers of a Dask cluster take part.
    address : str, optional
        Of a cluster that runs already: its scheduler's for Dask, such as "tcp://head:8786", for
        Ray its head's, such as "ray://head:10001", or "auto". It is left running.

    Raises
    ------
    ValueError
        If there is no such backend, or "loky" is given an address.
    ImportError
        If the backend's package is not installed.

    Notes
    -----
    Photos that are given as paths are read by the workers, so all machines have to see them under
    the same paths. To have the same bits on all of them, install the same packages on processors
    of the same kind.

    Examples
    --------
    >>> import joblib
    >>> from sklearn_cmac.collection import workers
    >>> with workers("loky", 2):
    ...     joblib.effective_n_jobs()
    2
    """
    if backend not in _BACKENDS:
        raise ValueError(f"no backend {backend!r}; there are {', '.join(map(repr, _BACKENDS))}")
    with _BACKENDS[backend](n_workers, address):
        yield


@contextmanager
def _loky(n_workers: int | None, address: str | None) -> Iterator[None]:
    if address is not None:
        raise ValueError(
            f"loky's workers are processes of this machine, and have no address; got {address!r}; "
            "choose 'dask' or 'ray'"
        )
    with joblib.parallel_config("loky", n_jobs=n_workers or -1):
        yield


@contextmanager
def _dask(n_workers: int | None, address: str | None) -> Iterator[None]:
    try:
        from distributed import Client, LocalCluster
        from joblib._dask import DaskDistributedBackend
    except ImportError as error:
        raise ImportError("workers of Dask need: pip install sklearn-cmac[dask]") from error

    class Backend(DaskDistributedBackend):
        # Joblib's own is not told of a task that Dask gives up, and waits for ever; leaves tasks
        # with the cluster that nobody waits for; and where one worker is left, works here.
        def submit(self, func: Any, callback: Any = None) -> Any:
            def tell(done: Any) -> None:
                if done.exception() is not None:
                    callback(done.exception())

            future = super().submit(func, callback)
            future.add_done_callback(tell)
            return future

        def abort_everything(self, ensure_ready: bool = True) -> None:
            super().abort_everything(ensure_ready)
            self.client.loop.add_callback(
                self.client.cancel, list(self._results), asynchronous=True, force=True
            )

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))

    with ExitStack() as opened:
        at: Any = address
        if at is None:
            at = opened.enter_context(
                LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None)
            )
        client = opened.enter_context(Client(at, set_as_default=False))
        # A worker that died comes back within seconds, on a busy machine.
        backend = Backend(client=client, wait_for_workers_timeout=30)
        opened.enter_context(joblib.parallel_config(backend))
        yield


@contextmanager
def _ray(n_workers: int | None, address: str | None) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ImportError("workers of Ray need: pip install sklearn-cmac[ray]") from error
    register_ray()
    with ExitStack() as opened:
        if not ray.is_initialized():
            here: dict[str, Any] = (
                {} if address else {"num_cpus": n_workers, "include_dashboard": False}
            )
            opened.enter_context(ray.init(address or "local", **here))
        everywhere = {"scheduling_strategy": "SPREAD"}
        opened.enter_context(
            joblib.parallel_config("ray", n_jobs=n_workers or -1, ray_remote_args=everywhere)
        )
        yield


_BACKENDS = {"loky": _loky, "dask": _dask, "ray": _ray}
