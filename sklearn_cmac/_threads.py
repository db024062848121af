"""Algebra of one photo runs in one thread: of this size it is slower in two, and rounds otherwise.

Photos are what runs in parallel.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[None]:
    """BLAS keeps to one thread in here."""
    return _thread_pools().limit(limits=1, user_api="blas")


class _OneTorchThread(AbstractContextManager):
    """Torch's number of threads is one of each thread, and one that new threads take over.

    Who comes first notes it, and each who leaves puts it back: for itself, and for new threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = 1

    def __enter__(self) -> None:
        import torch

        with self._lock:
            if not self._inside:
                self._before = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        import torch

        with self._lock:
            self._inside -= 1
            torch.set_num_threads(self._before)


one_torch_thread = _OneTorchThread()


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()
