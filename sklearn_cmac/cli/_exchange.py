"""`cmac export` and `import`: an index as plain arrays and tables, or with another engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._ending import Command
from sklearn_cmac.cli._making import trust_option
from sklearn_cmac.cli._options import INDEX, NEW_FOLDER, PATH, TEXT
from sklearn_cmac.search import RetrievalIndex, read_arrays, write_arrays


@click.command(
    "export",
    cls=Command,
    when_stopped=lambda given: f"{given['out']} was not made",
    short_help="Copy an index: to another engine, or as plain arrays.",
)
@click.argument("index", type=INDEX)
@click.argument("out", type=NEW_FOLDER)
@click.option(
    "--vectors",
    type=TEXT,
    metavar="URI",
    help="OUT becomes an index whose vectors are kept there: qdrant:FOLDER, "
    "qdrant+http://HOST:PORT/NAME, postgresql://USER@HOST/DATABASE, or a folder.",
)
@trust_option
@click.option(
    "--table",
    type=click.Choice(["csv", "parquet"]),
    default="csv",
    help="Without --vectors, OUT gets .npy files, and this table of photos.",
)
def export_command(
    index: Path, out: Path, trust: Sequence[str], vectors: str | None, table: str
) -> None:
    """Copy INDEX into the folder OUT, which is new or empty."""
    with RetrievalIndex.open(index, read_only=True, trust=trust) as opened:
        if vectors is None:
            n = write_arrays(opened, out, table)
        else:
            opened.save(out, store=vectors)
            n = len(opened)
    print_lines(f"{out}: {n} photos")


@click.command(
    "import",
    cls=Command,
    when_stopped=lambda given: f"{given['index']} was not made",
    short_help="Make an index of exported arrays.",
)
@click.argument("arrays", type=PATH)
@click.argument("index", type=NEW_FOLDER)
@trust_option
@click.option(
    "--vectors",
    type=TEXT,
    metavar="URI",
    help="Who keeps the vectors. Default: files in the index.",
)
def import_command(arrays: Path, index: Path, trust: Sequence[str], vectors: str | None) -> None:
    """Make INDEX, a folder that is new or empty, of what cmac export wrote into ARRAYS."""
    with read_arrays(arrays, index, vectors, trust, verbose=True) as made:
        print_lines(f"{index}: {len(made)} photos")
        if made.info()["local features"]:
            told = "local features are not among the arrays; cmac index --features finds them again"
            print_lines(told, err=True)
