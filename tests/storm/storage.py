"""The study's storage as one driver sees it: each write may fail, and is known by its writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna.storages import BaseStorage

WRITES = {
    "create_new_study",
    "create_new_trial",
    *(f"set_study_{what}_attr" for what in ("user", "system")),
    *(f"set_trial_{what}" for what in ("param", "state_values", "intermediate_value")),
    *(f"set_trial_{what}_attr" for what in ("user", "system")),
}
Called = Callable[[str, Sequence[Any], Callable[[], Any]], Any]


def _request(name: str) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        def action() -> Any:
            found = getattr(self.shared, name)(*arguments, **named)
            return dict(found) if isinstance(found, dict) else found

        return self.called(name, [*arguments, *named.values()], action)

    return call


def storage_of(shared: BaseStorage, called: Called) -> BaseStorage:
    """Return a storage whose every request goes through `called`."""
    names = [n for n in vars(BaseStorage) if not n.startswith("_")]
    kind = type("DriverStorage", (BaseStorage,), {name: _request(name) for name in names})
    made: Any = kind()
    made.shared, made.called = shared, called
    return made
