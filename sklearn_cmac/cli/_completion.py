"""`cmac completion`: what a shell reads to complete names of commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sklearn_cmac.cli._ending import UNCHANGED, Command


@click.command(
    "completion",
    cls=Command,
    when_stopped=lambda _: UNCHANGED,
    short_help="Print what a shell needs to complete cmac's names.",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print a script for SHELL, to be read when it starts.

    For bash: cmac completion bash > ~/.local/share/bash-completion/completions/cmac
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "cmac", "_CMAC_COMPLETE").source())
