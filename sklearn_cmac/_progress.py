"""How long work shows how far it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def show_progress(
    photos: Iterable[Any] | None, total: int, doing: str, verbose: bool | int, done: int = 0
) -> tqdm:
    """A bar if `verbose`, unless it is over within a second.

    It is for people: on a terminal or in a notebook, and not in a log.

    Parameters
    ----------
    photos : iterable, optional
        What is iterated over. Without it, the bar is moved by its `update`.
    total : int
    doing : str
        What happens to the photos.
    verbose : bool or int
    done : int, default=0
        How many a run before this one has done.
    """
    unless_terminal = None  # tqdm looks whether standard error is one
    hidden = not verbose or (False if "ipykernel" in sys.modules else unless_terminal)
    return tqdm(photos, doing, total, unit="photo", delay=1, disable=hidden, initial=done)
