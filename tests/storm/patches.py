"""The platform on the machines, the storage and the server of a simulated world."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

from storm.process import Lock
from storm.tracking import NoThread
from storm.world import World

from tune.config.study_file import StudyFile
from tune.study import lease as lease_module
from tune.study.launch import Launch
from tune.tracking.cursor import Cursor


@contextmanager
def patched(world: World) -> Iterator[None]:
    """Let the platform run on this world's machines, storage and server."""
    machines, me = world.machines, lambda: world.drivers[world.machines.me.number]
    save = Cursor.save

    def save_if_alive(cursor: Cursor) -> None:
        if not machines.me.dead:
            save(cursor)

    class Held(lease_module._HeldLease):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            machines.me.held = self

    known: dict[str, StudyFile] = {}

    def study_file(launch: Launch) -> StudyFile:
        text = json.dumps(launch.file, sort_keys=True)
        if text not in known:  # to check a file takes longer than to train here
            known[text] = StudyFile.model_validate(launch.file)
        return known[text]

    new: dict[str, Any] = {
        "tune.study.launch.Launch.study_file": study_file,
        "optuna.study.Study.user_attrs": property(_attributes),  # without a deep copy
        "tune.study.lease.log_levels": lambda _: nullcontext(),
        "tune.study.stored_study.log_levels": lambda _: nullcontext(),
        **{f"tune.study.lease.{n}": machines for n in ("time", "os", "socket")},
        "tune.study.lease.user_name": machines.getuser,
        **{f"tune.study.lease.{name}": machines for name in ("secrets", "signal")},
        "tune.study.lease.threading.Thread": NoThread,
        "tune.study.lease._HeldLease": Held,
        "tune.study.lease.open_storage": lambda *_, **__: me().storage,
        "tune.study.lease.driver_lock": lambda *_: Lock(machines, machines.me),
        "tune.study.launches.time": machines,
        "tune.study.stored_study.time": machines,
        "tune.study.holder.time": machines,
        "psutil.Process": machines.Process,
        "tune.tracking.delivery.GATHER": 0.0,
        "tune.tracking.delivery.FIRST_WAIT": 0.0,
        "tune.tracking.delivery.client_settings": ExitStack,
        "tune.tracking.store.connect": lambda _: world.client(me()),
        "tune.tracking.cursor.Cursor.save": save_if_alive,
    }
    with ExitStack() as stack:
        for name, value in new.items():
            stack.enter_context(patch(name, value))
        yield


def _attributes(study: Any) -> dict[str, Any]:
    return dict(study._storage.get_study_user_attrs(study._study_id))
