"""The `cmac` command: parse, call the library, show. One file for each command."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import click

from sklearn_cmac import __version__
from sklearn_cmac.cli._care import (
    check_command,
    compact_command,
    info_command,
    remove_command,
)
from sklearn_cmac.cli._completion import completion_command
from sklearn_cmac.cli._demo import demo_command
from sklearn_cmac.cli._ending import (
    Stopped,
    debug_option,
    end_at_once,
    plain_warnings,
    status_of,
    stopped_by_signals,
)
from sklearn_cmac.cli._evaluate import evaluate_command
from sklearn_cmac.cli._exchange import export_command, import_command
from sklearn_cmac.cli._fit import fit_command
from sklearn_cmac.cli._groups import groups_command
from sklearn_cmac.cli._index import index_command
from sklearn_cmac.cli._search import search_command
from sklearn_cmac.cli._serve import serve_command
from sklearn_cmac.cli._tune import tune_command


@click.group(
    epilog="Exit status: 0 done; 1 check found damage; 2 it cannot be done, for the reason in the "
    "one line on standard error; 70 an error of cmac itself, or memory ran out; 130 stopped by "
    "Ctrl-C, 143 by SIGTERM; 141 nobody reads its output any more.",
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


cmac.params.append(debug_option())
for _command in (
    demo_command,
    index_command,
    search_command,
    serve_command,
    groups_command,
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
        Default: those the program was started with; the process is then to end with the status.

    Returns
    -------
    int
        Exit status: 0; 1 if `cmac check` found damage; 2 on input that cannot be used; 70 on an
        error of the program itself; 130 if it was stopped by Ctrl-C, and 128 and its number by
        another signal. One line on standard error says why.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with stopped_by_signals(for_good=argv is None), plain_warnings(), warnings.catch_warnings():
        # A folder of photos seldom has the ten region vectors per dimension that whitening
        # without shrinkage needs, and being told so helps nobody here.
        warnings.filterwarnings("ignore", "whitening .* dimensions")
        try:
            return cmac.main(arguments, "cmac", standalone_mode=False) or 0
        except SystemExit:  # of a shell's completion
            raise
        except BaseException as error:
            status = status_of(error, debug="--debug" in arguments)
            if argv is None and isinstance(error, Stopped) and error.at_once:
                end_at_once(status)
            return status
