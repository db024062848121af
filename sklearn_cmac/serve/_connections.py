"""Connections to the server of the pages: who connects must ask soon, since there are so many."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class PromptProtocol(H11Protocol):
    """A connection that is closed where no whole request comes.

    The server itself closes those only that were answered and ask nothing more.
    """

    patience = 10.0  # seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._look_again()

    def _look_again(self) -> None:
        self.loop.call_later(self.patience, self._close_if_idle, self.cycle)

    def _close_if_idle(self, request_before: Any) -> None:
        """Close it, unless a request came since the last look, or is being answered."""
        if self.transport.is_closing():
            return
        answered = self.cycle is None or self.cycle.response_complete
        if answered and self.cycle is request_before:
            self.transport.close()
        else:
            self._look_again()
