"""`cmac info`, `check`, `remove` and `compact`: what an index holds, and whether it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sklearn_cmac._printing import print_json, print_lines
from sklearn_cmac.cli._ending import UNCHANGED, Command
from sklearn_cmac.cli._options import INDEX, json_option
from sklearn_cmac.collection import DamageError
from sklearn_cmac.search import RetrievalIndex

FOUND_DAMAGE = 1

_BEGINS_AGAIN = "nothing is lost, and the same command begins again"


@click.command(
    "info",
    cls=Command,
    when_stopped=lambda _: UNCHANGED,
    short_help="Say what an index holds, and what it was made with.",
)
@click.argument("index", type=INDEX)
@json_option
def info_command(index: Path, as_json: bool) -> None:
    """Say how many photos INDEX holds, what describes them, and what it takes on the disk."""
    with RetrievalIndex.open(index, read_only=True) as opened:
        about = opened.info()
    if as_json:
        print_json(about)
        return
    width = max(map(len, about))
    for what, value in about.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {version}" for name, version in value.items())
        print_lines(f"{what:{width}}  {value}")


@click.command(
    "check",
    cls=Command,
    when_stopped=lambda given: _BEGINS_AGAIN if given["repair"] else UNCHANGED,
    short_help="Read all of an index, and name what is damaged.",
)
@click.argument("index", type=INDEX)
@click.option("--repair", is_flag=True, help="Take damaged photos out; the next update adds them.")
@json_option
def check_command(index: Path, repair: bool, as_json: bool) -> int:
    """Read every byte of INDEX, and name the files and photos that are damaged.

    Ends with status 1 if there are any.
    """
    try:
        with RetrievalIndex.open(index, read_only=not repair) as opened:
            n, wrong = len(opened), opened.check(repair, verbose=True)
    except DamageError as error:  # of the catalogue, so that not even names can be read
        n, wrong = 0, [str(error)]
    if as_json:
        print_json({"photos": n, "damage": wrong, "repaired": repair})
    else:
        for sentence in wrong:
            print_lines(sentence)
        print_lines(f"{index}: {n} photos, {f'{len(wrong)} damaged' if wrong else 'whole'}")
    return FOUND_DAMAGE if wrong else 0


@click.command(
    "remove",
    cls=Command,
    when_stopped=lambda _: "either all of these photos were removed, or none",
    short_help="Take photos out of an index.",
)
@click.argument("index", type=INDEX)
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
def remove_command(index: Path, photos: Sequence[str]) -> None:
    """Take each PHOTO, by its name in the index, out of INDEX. Files of photos stay.

    One that is still in its folder is added again by the next update of that folder.
    """
    with RetrievalIndex.open(index) as opened:
        try:
            opened.remove(photos)
        except KeyError as error:
            raise click.UsageError(f"{index}: {error.args[0]}") from None
        print_lines(f"{index}: {len(set(photos))} removed, {len(opened)} photos")


@click.command(
    "compact",
    cls=Command,
    when_stopped=lambda _: _BEGINS_AGAIN,
    short_help="Give the room of removed photos back.",
)
@click.argument("index", type=INDEX)
def compact_command(index: Path) -> None:
    """Give the room of photos that were removed from INDEX back to the file system."""
    with RetrievalIndex.open(index) as opened:
        print_lines(f"{index}: {opened.compact(verbose=True) / 1e6:.1f} MB less")
