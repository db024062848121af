"""The program `cmac`. Until its command line is imported, which takes seconds, it can be stopped.

It stands beside the package because importing anything of the package imports all of it.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_SIGNALS = [getattr(signal, s) for s in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, s)]


def main() -> int:
    """Run the command line that the program was started with, and return its exit status."""
    for s in _SIGNALS:
        if signal.getsignal(s) is not signal.SIG_IGN:  # as with nohup
            signal.signal(s, _stop)
    from sklearn_cmac.cli import main as run

    return run()


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, b"cmac: stopped; nothing was done\n")
    os._exit(128 + number)
