"""The `cmac` command: parse, call the library, show. One file for each command."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from sklearn_cmac import __version__
from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._care import (
    check_command,
    compact_command,
    info_command,
    remove_command,
)
from sklearn_cmac.cli._completion import completion_command
from sklearn_cmac.cli._demo import demo_command
from sklearn_cmac.cli._evaluate import evaluate_command
from sklearn_cmac.cli._exchange import export_command, import_command
from sklearn_cmac.cli._fit import fit_command
from sklearn_cmac.cli._index import index_command
from sklearn_cmac.cli._search import search_command
from sklearn_cmac.cli._tune import tune_command


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # before click answers it with an empty line
            raise click.Abort from None


@click.group(
    cls=_Commands,
    epilog="Exit status: 0 done; 1 check found damage; 2 it cannot be done, for the reason in the "
    "one line on standard error; 130 stopped by Ctrl-C.",
    no_args_is_help=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "max_content_width": 100,
    },
)
@click.version_option(__version__, message="cmac %(version)s")
def cmac() -> None:
    """Find every photo of the object that you point at."""


for _command in (
    demo_command,
    index_command,
    search_command,
    info_command,
    check_command,
    remove_command,
    compact_command,
    export_command,
    import_command,
    fit_command,
    evaluate_command,
    tune_command,
    completion_command,
):
    cmac.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: those the program was started with.

    Returns
    -------
    int
        Exit status: 0; 1 if `cmac check` found damage; 2 on input that cannot be used, with one
        line on standard error that says why; 130 if it was stopped by Ctrl-C.
    """
    try:
        with warnings.catch_warnings():
            # A folder of photos seldom has the ten region vectors per dimension that whitening
            # without shrinkage needs, and being told so helps nobody here.
            warnings.filterwarnings("ignore", "whitening .* dimensions")
            status = cmac.main(argv, "cmac", standalone_mode=False)
    except click.Abort:
        # On a terminal, the bar that was shown has not ended its line.
        click.echo(nl=sys.stderr.isatty(), err=True)
        _complain("stopped; the same command goes on where it was (tune, fit: with --store)")
        return 130
    except click.UsageError as error:
        asked = error.ctx.command_path if error.ctx else "cmac"
        _complain(f"{error.format_message()} (see {asked} --help)")
        return 2
    except (ValueError, OSError, ImportError) as error:
        _complain(str(error))
        return 2
    return status or 0


def _complain(message: str) -> None:
    """Say what is wrong, in one line."""
    line = " ".join(part.strip() for part in message.splitlines())
    print_lines(f"cmac: {line}", err=True)
