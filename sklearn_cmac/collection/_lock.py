"""One writer at a time, who is known by name."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from sklearn_cmac._printing import printable
from sklearn_cmac.collection._engine import InUseError


class WriterLock:
    """The right to write to a folder.

    Parameters
    ----------
    folder : Path
    timeout : float
        Seconds to wait for another writer.
    """

    def __init__(self, folder: Path, timeout: float):
        self.folder, self.timeout = folder, timeout
        self._lock = FileLock(folder / "lock")

    @property
    def held(self) -> bool:
        """Whether this object has it."""
        return self._lock.is_locked

    def acquire(self) -> None:
        """Take it, or wait, and say for whom.

        Raises
        ------
        InUseError
            If another writer does not end in time.
        """
        if self.held:
            return
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            who = self._owner()
            if self.timeout > 0:
                tqdm.write(printable(f"{self.folder}: waiting for {who}"), file=sys.stderr)
            try:
                self._lock.acquire(timeout=self.timeout)
            except Timeout:
                raise InUseError(
                    f"{self.folder}: is being written by {who}; after {self.timeout:g} seconds it "
                    "still is. Wait until it is done, or end it"
                ) from None
        self._sign()

    def release(self) -> None:
        """Give it back."""
        if self.held:
            (self.folder / "owner").unlink(missing_ok=True)
            self._lock.release()

    def _sign(self) -> None:
        note = {
            "process": os.getpid(),
            "machine": socket.gethostname(),
            "command": Path(sys.argv[0]).name or "python",
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        with suppress(OSError):  # a full disk: the lock holds without a name
            (self.folder / "owner").write_text(json.dumps(note))

    def _owner(self) -> str:
        try:
            note = json.loads((self.folder / "owner").read_text())
            return (
                f"process {note['process']} on {note['machine']} ({note['command']}, since "
                f"{note['since']})"
            )
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
