"""What a process of a search does to itself in a test: die at a place, or write its epochs down.

Nothing of the project knows of this. A test puts a `sitecustomize.py` that calls `install` on the
`PYTHONPATH` of a search, so that driver and workers alike are changed as their modules load.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

Place = Literal["host", "node"]
"""The machine's name, or the number that Ray gave to its node."""


class Hook(Protocol):
    """A change to a module, made once the module is loaded."""

    @property
    def module(self) -> str: ...
    def apply(self, module: ModuleType) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Kill:
    """SIGKILL of the process before or after a call of `name`, once in all processes."""

    module: str
    name: str
    """The function in the module, such as `Class.method`."""
    before: bool
    marker: str
    """File that tells that it has happened."""
    call: int = 1
    """Which call of those that count, within a process."""
    match: str = ""
    """Text among the call's arguments or their paths; only then it counts."""

    def apply(self, module: ModuleType) -> None:
        """Put the function that kills in the place of the other."""
        seen = 0

        def die(*arguments: Any) -> None:
            nonlocal seen
            seen += self.match in " ".join(str(getattr(a, "path", a)) for a in arguments)
            if seen == self.call and not Path(self.marker).exists():
                Path(self.marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)

        def changed(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                if self.before:
                    die(*arguments)
                    return original(*arguments, **named)
                result = original(*arguments, **named)
                die(*arguments)
                return result

            return call

        _change(module, self.name, changed)


@dataclass(frozen=True, kw_only=True)
class Slow:
    """Sleeps before each call of `name`, so that a test can come in between."""

    module: str
    name: str
    seconds: float

    def apply(self, module: ModuleType) -> None:
        """Put the slow function in the place of the other."""

        def changed(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                time.sleep(self.seconds)
                return original(*arguments, **named)

            return call

        _change(module, self.name, changed)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Touches a file as a call of `name` begins, so that whoever looks from outside knows."""

    module: str
    name: str
    path: str

    def apply(self, module: ModuleType) -> None:
        """Put the function that leaves the mark in the place of the other."""

        def changed(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                Path(self.path).touch()
                return original(*arguments, **named)

            return call

        _change(module, self.name, changed)


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """Writes `trial epoch process place` to a file as a student's epoch begins, and delays it."""

    path: str
    seconds: float = 0.0
    first: int = 1
    """The first epoch that is delayed."""
    place: Place = "host"
    module: str = "tune.execution.worker"

    def apply(self, module: ModuleType) -> None:
        """Watch the trainer of whatever trial runs in this process."""
        from refkd.training.trainer import Trainer

        trial: int | None = None

        def job(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(config: dict[str, Any], **named: Any) -> Any:
                nonlocal trial
                folder: Path = config["job"].folder
                trial = int(folder.name) if folder.parent.name == "trials" else None
                return original(config, **named)

            return call

        def epoch(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(trainer: Trainer, number: int) -> Any:
                if trial is None:  # a teacher's, or a finalist's
                    return original(trainer, number)
                with Path(self.path).open("a", encoding="ascii") as file:
                    file.write(f"{trial} {number + 1} {os.getpid()} {_where(self.place)}\n")
                if number + 1 >= self.first:
                    time.sleep(self.seconds)
                return original(trainer, number)

            return call

        _change(module, "train_job", job)
        _change(module, "Trainer._one_epoch", epoch)


def _where(place: Place) -> str:
    if place == "host":
        return socket.gethostname()
    import ray

    return str(ray.get_runtime_context().get_node_id())


def install(*hooks: Hook) -> None:
    """Apply each hook to its module, now or as soon as it is loaded."""
    for hook in hooks:
        if hook.module in sys.modules:
            hook.apply(sys.modules[hook.module])
    sys.meta_path.insert(0, _Watcher(hooks))


class _Watcher(importlib.abc.MetaPathFinder):
    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = hooks

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's own spec, with the hooks behind its loading."""
        hooks = [hook for hook in self._hooks if hook.module == fullname]
        spec = importlib.machinery.PathFinder.find_spec(fullname, path) if hooks else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def execute(module: ModuleType) -> None:
            load(module)
            for hook in hooks:
                hook.apply(module)

        spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec


def _change(
    module: ModuleType, name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    *owners, last = name.split(".")
    owner = functools.reduce(getattr, owners, module)
    original = getattr(owner, last)
    setattr(owner, last, functools.wraps(original)(change(original)))
