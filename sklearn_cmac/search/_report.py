"""What became of photos that were to be added, or were looked for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from sklearn_cmac._printing import printable
from sklearn_cmac.datasets import left_out


@dataclass
class IndexReport:
    """What became of the photos that were to be added.

    Parameters
    ----------
    added : list of str
        Names of the photos that are now in the index.
    failed : list of (name, reason)
        Photos that could not be used.
    n_described : int
        How many had to be described; the others were known.
    """

    added: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    n_described: int = 0

    def __str__(self) -> str:
        lines = [f"{len(self.added)} photos indexed, {len(self.failed)} could not be used"]
        return "\n  ".join(lines + [printable(reason) for _, reason in self.failed])


@dataclass
class UpdateReport:
    """What an index found in folders.

    Parameters
    ----------
    added, changed, moved, copied, removed : list of str
        Names of photos that are new, are another photo than before, have another name than
        before, have the content of another, and are there no more.
    unchanged : int
        How many are as they were.
    failed : list of (name, reason)
        Photos that could not be used, now or the last time.
    skipped : Counter
        Files that are no photos, by their ending, or by what they are.
    unreadable : list of (path, reason)
        Folders that cannot be searched, and broken links; what the index knows of photos there
        stays in it.
    n_described : int
        How many photos were described; of a content that was known, none.
    seconds : float
        That all of it took.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    n_described: int = 0
    seconds: float = 0.0

    def counts(self) -> dict[str, int]:
        """How many photos each of these are."""
        parts = {
            "new": self.added,
            "changed": self.changed,
            "moved": self.moved,
            "copied": self.copied,
            "removed": self.removed,
        }
        return {
            **{what: len(names) for what, names in parts.items()},
            "unchanged": self.unchanged,
            "failed": len(self.failed),
            "skipped": self.skipped.total(),
            "unreadable": len(self.unreadable),
            "described": self.n_described,
        }

    def reasons(self) -> Counter[str]:
        """Why photos could not be used, without names and what else is of one photo only."""
        reasons = (reason.removeprefix(f"{name}: ") for name, reason in self.failed)
        return Counter(re.split(r" \(|\. ", reason)[0].rstrip(".") for reason in reasons)

    def lines(self) -> list[str]:
        """What was found, and why photos could not be used; `left_out` tells of the rest."""
        found = self.counts()
        kinds = ("new", "changed", "moved", "copied", "removed", "unchanged")
        line = ", ".join(f"{found[what]} {what}" for what in kinds if found[what])
        rate = f", {found['described'] / self.seconds:.1f} a second" if self.seconds else ""
        lines = [f"{line or 'no photos'}; {found['described']} described{rate}"]
        if self.failed:
            parts = ", ".join(f"{n} {reason}" for reason, n in self.reasons().most_common())
            lines.append(f"{found['failed']} failed: {printable(parts)}")
        return lines

    def left_out(self) -> list[str]:
        """What was left out and may be wanted, in lines, as `find_photos` warns of it."""
        return left_out(self.skipped, self.unreadable)

    def __str__(self) -> str:
        return "\n".join(self.lines() + self.left_out())
