"""Which lines of the loaders of files that are no photos the hostile ones reach.

PYTHONPATH=tests python -m hostile.files_reached 2000
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

LOADERS = (
    "datasets/_tables.py", "datasets/_ground_truth.py", "datasets/_plain_pickle.py",
    "datasets/_matlab.py", "datasets/_ilias.py", "datasets/_instre.py", "datasets/_landmarks.py",
    "datasets/_products.py", "networks/_nesting.py", "networks/_plain_contents.py",
    "_sealed_files.py", "_plain_values.py", "persistence.py", "store.py",
    "collection/_database.py", "collection/_catalogue.py", "collection/_details.py",
    "collection/_flat.py", "collection/_arrays.py", "evaluation/_kept.py", "search/_exchange.py",
)  # fmt: skip


def main(n: int) -> None:
    """Open so many files, all in this process, and print a line for each loader."""
    import coverage

    measured = coverage.Coverage(
        include=[f"*/sklearn_cmac/{name}" for name in LOADERS], data_file=None, branch=True
    )
    measured.start()
    from hostile.test_files import all_kinds, mutants

    with tempfile.TemporaryDirectory() as place:
        os.environ["SKLEARN_CMAC_CACHE"] = f"{place}/cache"
        made = Path(place, "made")
        made.mkdir()
        kinds = all_kinds(made)
        for i, kind in enumerate(kinds):
            for j, (_, content) in enumerate(mutants(kind, -(-n // len(kinds)))):
                file = Path(place, f"{i}-{j}", kind.file)
                file.parent.mkdir()
                file.write_bytes(content)
                with warnings.catch_warnings(), suppress(Exception):
                    warnings.simplefilter("ignore")
                    kind.opened(made, file)
    measured.stop()
    measured.report(show_missing=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
