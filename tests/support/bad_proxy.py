"""A proxy on loopback that passes requests on to a server and spoils some of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.proxy import Relay, proxy

Mode = str
"""`well`, `error` (500, not passed on), `lost` (passed on, the answer is lost), `slow`."""


class BadProxy:
    """Spoils requests as `choose` says of the nth one; seconds of `slow` are `delay`."""

    def __init__(self, server: str, choose: Callable[[int], Mode], *, delay: float = 0.0) -> None:
        self.choose, self.delay = choose, delay
        self.spoiled = 0
        self._count = itertools.count()
        self._open = ExitStack()
        spoiling = type("Spoiling", (_Spoiling,), {"proxy": self})
        self.uri = self._open.enter_context(proxy(server, spoiling))

    def __enter__(self) -> BadProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def mode(self) -> Mode:
        """Return what becomes of the next request."""
        mode = self.choose(next(self._count))
        self.spoiled += mode != "well"
        return mode


class _Spoiling(Relay):
    proxy: BadProxy

    def relay(self, body: bytes) -> None:
        mode = self.proxy.mode()
        if mode == "error":
            self.send_error(500)
            return
        if mode == "slow":
            time.sleep(self.proxy.delay)
        answer = self.ask(body)
        if mode == "lost":
            self.close_connection = True
        else:
            self.reply(answer)
