"""Another process that opens a store, writes and reads there, and can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from sklearn_cmac.collection import STORES, open_store
from sklearn_cmac.testing._engine_case import Case, Kept, photo_of

_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from sklearn_cmac.testing._another_process import obey
obey(json.loads(sys.argv[2]))
"""


def batch_of(number: int) -> dict[str, Kept]:
    """The photos of a write: eight that are new, and three that each write replaces."""
    rng = np.random.default_rng(number)
    ids = [*(f"photo {i} of {number}" for i in range(8)), *(f"changed {i}" for i in range(3))]
    return {id_: photo_of(rng) for id_ in ids}


def batches_of(numbers: Sequence[int]) -> dict[str, Kept]:
    """What there is after these writes."""
    return {id_: kept for number in numbers for id_, kept in batch_of(number).items()}


class AnotherProcess:
    """A process that does what it is told, and knows the engines that are known here.

    It is killed, as by ``kill -9``, when the ``with`` block ends.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-c", _CODE, json.dumps(sys.path), json.dumps(STORES)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> AnotherProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ask(self, *command: Any) -> Any:
        """The answer to a command: None, or the error's type and message."""
        self.tell(*command)
        return self.hear()

    def tell(self, *command: Any) -> None:
        """Give a command; its answers are to be heard."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """The next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "another process ended that opened the store; what it wrote stands above"
        return json.loads(line)

    def kill(self) -> list[Any]:
        """End it at once, and return the answers that were not heard yet."""
        self._process.kill()
        left, _ = self._process.communicate()
        # The last line counts if it is complete.
        return [json.loads(line) for line in left.split("\n")[:-1]]


def obey(stores: dict[str, list[str]]) -> None:
    """Read commands, one a line, and answer each by a line."""
    STORES.update({scheme: (module, name) for scheme, (module, name) in stores.items()})
    opened: list[Case] = []
    for line in sys.stdin:
        command, *given = json.loads(line)
        try:
            if command == "open":
                uri, options = given
                opened.append(Case(open_store(uri, **options), 1e-5))
            elif command == "check":
                written, deleted, claim = given
                kept = batches_of(written)
                opened[-1].kept = {id_: kept[id_] for id_ in kept if id_ not in deleted}
                opened[-1].check(claim)
            elif command == "write":
                opened[-1].put(batch_of(given[0]))
            elif command == "write on":
                for number in count(given[0]):
                    opened[-1].put(batch_of(number))
                    _answer(number)
            elif command == "close":
                opened.pop().engine.close()
        except Exception as error:
            _answer([type(error).__name__, str(error)])
        else:
            _answer(None)


def _answer(answer: Any) -> None:
    print(json.dumps(answer), flush=True)
