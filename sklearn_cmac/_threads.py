"""Algebra of one photo runs in one thread: of this size it is slower in two, and rounds otherwise.

Photos are what runs in parallel.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[None]:
    """BLAS keeps to one thread in here."""
    return _thread_pools().limit(limits=1, user_api="blas")


def one_torch_thread() -> AbstractContextManager[None]:
    """Torch keeps to the thread that calls it in here; other threads have their own number."""
    import torch

    # A thread that uses torch for the first time takes over torch's number, so it comes first.
    torch.get_num_threads()
    return _torch_pools().limit(limits=1, user_api="openmp")


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _torch_pools() -> ThreadpoolController:
    # Pools are found among what is loaded by now, which includes torch.
    return ThreadpoolController()
