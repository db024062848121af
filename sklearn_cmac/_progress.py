"""How long work shows how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def show_bar(total: int, doing: str, verbose: bool | int, unit: str = "photo") -> tqdm:
    """A bar on a terminal if `verbose`, unless it is over within a second."""
    return tqdm(total=total, desc=doing, unit=unit, disable=None if verbose else True, delay=1)


def show_progress(photos: Iterable[Any], total: int, doing: str, verbose: int) -> Iterable[Any]:
    """Iterate with a bar if `verbose`, unless it is over within a second."""
    return tqdm(photos, total=total, desc=doing, disable=not verbose, unit="photo", delay=1)
