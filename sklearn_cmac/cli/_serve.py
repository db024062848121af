"""`cmac serve`: an index as web pages."""

from __future__ import annotations

import ipaddress
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click

from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._ending import Command
from sklearn_cmac.cli._making import trust_option
from sklearn_cmac.cli._options import NEW_FOLDER, PATH, TEXT, Count
from sklearn_cmac.collection import is_kept


@click.command(
    "serve",
    cls=Command,
    at_once=True,
    when_stopped=lambda _: (
        "the index is whole, and photos that wait to be added are added at the next start"
    ),
    short_help="Show an index as web pages.",
)
@click.argument("index", type=PATH)
@click.option("--host", type=TEXT, default="127.0.0.1", help="Address to listen at.")
@click.option(
    "--port", type=Count(min=0, max=65535), default=8642, help="Port to listen at; 0: any free one."
)
@click.option(
    "--name",
    "names",
    type=TEXT,
    multiple=True,
    help="Another name by which browsers may call this machine; once for each.",
)
@click.option("--read-only", is_flag=True, help="Let nobody add or remove photos.")
@click.option(
    "--uploads",
    type=NEW_FOLDER,
    help="Where photos are kept that are added on the pages. Default: beside the index.",
)
@click.option("--open/--no-open", "opens", default=True, help="Open the page in a browser.")
@trust_option
def serve_command(
    index: Path,
    host: str,
    port: int,
    names: Sequence[str],
    read_only: bool,
    uploads: Path | None,
    opens: bool,
    trust: Sequence[str],
) -> None:
    """Show INDEX as web pages: draw a box on a photo, and see where else the object is.

    Only this machine can open them. With another --host others can, who know the token in the
    address that is printed. Ctrl-C ends it.
    """
    if not is_kept(index):
        what = "is no index"
        if index.is_dir():
            what = f"is a folder without an index in it; make one with: cmac index {index}"
        raise click.UsageError(f"{index}: {what}")
    from sklearn_cmac.serve import is_loopback, make_app

    token = None if is_loopback(host) else secrets.token_urlsafe(32)
    hosts = [*names, *_own_names(host)]
    app = make_app(
        index, token=token, hosts=hosts, read_only=read_only, uploads=uploads, trust=trust
    )
    with _listening(host, port) as listener:
        port = listener.getsockname()[1]
        place = f"http://{_in_address(_called(host))}:{port}/"
        print_lines(f"{index}: {place}{f'?token={token}' if token else ''}")
        if token:
            print_lines(
                "whoever has this address can see all photos; it is not encrypted", err=True
            )
        if opens:
            webbrowser.open(f"{place}{f'?token={token}' if token else ''}")
        threading.Thread(target=app.state.library.warm_up, daemon=True).start()
        _run(app, listener)


def _run(app: Any, listener: socket.socket) -> None:
    import uvicorn

    from sklearn_cmac.serve._connections import PromptProtocol

    config = uvicorn.Config(
        app, http=PromptProtocol, log_level="warning", access_log=False, server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5, limit_concurrency=200,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with _ended_by_hangup(server):
        server.run(sockets=[listener])


@contextmanager
def _ended_by_hangup(server: Any) -> Iterator[None]:
    """SIGHUP ends a server as SIGTERM does, of which alone uvicorn knows."""
    hangup = getattr(signal, "SIGHUP", None)
    in_main = threading.current_thread() is threading.main_thread()
    if hangup is None or not in_main or signal.getsignal(hangup) in (signal.SIG_IGN, None):
        yield
        return
    heard = []

    def end(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        server.should_exit = True

    before = signal.signal(hangup, end)
    try:
        yield
    finally:
        signal.signal(hangup, before)
    for number in heard:
        signal.raise_signal(number)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # a browser that is quicker than the server waits
    except OSError as error:
        raise click.UsageError(
            f"{host}, port {port}: cannot be listened at ({error.strerror}); choose another "
            "--port, or 0 for any free one"
        ) from None
    return listener


def _own_names(host: str) -> list[str]:
    """By what names browsers call a server that listens at an address."""
    from sklearn_cmac.serve import LOOPBACK

    if host in ("0.0.0.0", "::"):
        name = socket.gethostname()
        return [*LOOPBACK, name, socket.getfqdn(), _address_of(name)]
    return [host.lower(), *LOOPBACK]


def _called(host: str) -> str:
    return _address_of(socket.gethostname()) if host in ("0.0.0.0", "::") else host


def _address_of(name: str) -> str:
    """The address by which others reach this machine, or else its name."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect(("192.0.2.1", 9))  # nothing is sent; it is an address of documentation
        return towards.getsockname()[0]
    with suppress(OSError):
        return socket.gethostbyname(name)
    return name


def _in_address(host: str) -> str:
    """A host as addresses write it."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
