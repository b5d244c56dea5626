"""What a tracking server that is down or slow takes from a search: it should be nothing."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.measure import seconds, timed, wall_seconds
from benchmarks.proxy import slow_proxy
from benchmarks.rows import Aim, Row, row
from benchmarks.server import free_port, mlflow_server
from tune.launch import search

DELAY = 1.0
"""Seconds by which every answer of the slow server is late."""
AIM = Aim(at="<=", bound=1.02)


def run(smoke: bool) -> Iterator[Row]:
    """Yield the wall time of a whole search beside such a server over that beside a healthy one.

    The same trials every time, on one worker; both teachers are trained before. The driver's
    processor time is told beside it.
    """
    delay = DELAY / 10 if smoke else DELAY
    repeats, size = (1, {"epochs": 1, "trials": 1}) if smoke else (3, {"epochs": 20, "trials": 4})
    with (
        tempfile.TemporaryDirectory() as name,
        mlflow_server(Path(name)) as healthy,
        slow_proxy(healthy, delay) as slow,
    ):
        servers = {"healthy": healthy, "down": f"http://127.0.0.1:{free_port()}", "slow": slow}
        studies = _Studies(Path(name), servers, **size)
        studies.search("healthy", "warm")
        for turn in range(repeats):
            order = list(servers) if turn % 2 == 0 else list(reversed(servers))
            for server in order:
                studies.search(server, f"turn-{turn}")
    yield from _rows(studies.wall, studies.cpu, size, delay)


class _Studies:
    """Searches of one small study under new names, and the seconds that each took."""

    def __init__(
        self, folder: Path, servers: Mapping[str, str], *, epochs: int, trials: int
    ) -> None:
        self._folder, self._servers = folder, servers
        self._settings: dict[str, Any] = {
            "dataset": str(folder / "dataset"),
            "workspace": str(folder / "runs"),
            "simulate": {"videos": 150, "feature_dim": 64, "word_dim": 32},
            "backbone": {"hidden": 32, "heads": 4, "char_dim": 8},
            "training": {"epochs": epochs},
            "distill": {"warmup_epochs": 0},
            "space": {"distill.lambda_id": {"float": [0.01, 1.0], "log": True}},
            "budget": {"trials": trials},
            "sampler": {"name": "random"},
            "pruning": {"name": "none"},
            "workers": 1,
        }
        self.wall: dict[str, list[float]] = {name: [] for name in servers}
        self.cpu: dict[str, list[float]] = {name: [] for name in servers}

    def search(self, server: str, turn: str) -> None:
        """Search once; the turn `warm` is not counted."""
        study = self._folder / f"{server}-{turn}.yaml"
        settings = {**self._settings, "name": study.stem}
        settings["tracking"] = {"uri": self._servers[server]}
        study.write_text(yaml.safe_dump(settings), encoding="utf-8")
        begun = _own_cpu()
        wall = timed(lambda: search(study), wall_seconds)
        if turn != "warm":
            self.wall[server].append(wall)
            self.cpu[server].append(_own_cpu() - begun)


def _rows(
    wall: Mapping[str, list[float]],
    cpu: Mapping[str, list[float]],
    size: Mapping[str, int],
    delay: float,
) -> Iterator[Row]:
    told = {"down": "server down", "slow": f"server {delay:g} s late with every answer"}
    work = f"{size['trials']} trials x {size['epochs']} epochs"
    for server, what in told.items():
        case = f"{what} / healthy, {work}"
        note, ratios = _compared(wall, server)
        yield row("outage", case, ratios, clock="wall", aim=AIM, note=note)
        note, ratios = _compared(cpu, server)
        yield row("outage", f"{case}, driver alone", ratios, clock="cpu", note=note)


def _compared(taken: Mapping[str, list[float]], server: str) -> tuple[str, list[float]]:
    bad, well = taken[server], taken["healthy"]
    note = f"{seconds(median(bad))} against {seconds(median(well))}"
    return note, [b / w for b, w in zip(bad, well, strict=True)]


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
