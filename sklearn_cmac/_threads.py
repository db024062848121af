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


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()
