"""How Ray is started: with a token, on the loopback, and so that workers find the head."""

from __future__ import annotations

import re

from tune.cluster.commands import HEAD_START, WORKER_START, Command, commands, ray_starts
from tune.cluster.findings import Fault, Faults
from tune.cluster.source import ClusterFile, items

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BOOTSTRAP = "~/ray_bootstrap_config.yaml"


def check_starts(file: ClusterFile) -> Faults:
    """Yield what is wrong with the start commands of a `ray up` file."""
    starts = list(ray_starts(file.content))
    for name in (HEAD_START, WORKER_START):
        listed = items(file.content, name)
        if name in file.content and not any(s.keys[0] == name for s in starts):
            yield Fault((name,), None, "starts no Ray", "add a command with `ray start`")
        elif listed and "ray stop" not in str(listed[0]):
            yield Fault(
                (name, 0),
                listed[0],
                "does not stop the Ray of an earlier launch first",
                "make `ray stop` the first command",
            )
    for start in starts:
        yield from _token(start)
        yield from _threads(start)
        yield from _head(start, file.kind) if start.keys[0] == HEAD_START else _worker(start)
    yield from _ports(starts)
    setup = [c for c in commands(file.content) if c.keys[0] == "setup_commands"]
    if setup and not any("bashrc" in c.text and c.variable("RAY_AUTH_MODE") for c in setup):
        yield Fault(
            ("setup_commands",),
            None,
            "leave RAY_AUTH_MODE out of ~/.bashrc, which the search on the head reads",
            "append `export RAY_AUTH_MODE=token` to ~/.bashrc in a setup command",
        )


def _token(start: Command) -> Faults:
    mode = start.variable("RAY_AUTH_MODE")
    if mode != "token":
        yield Fault(
            start.keys,
            mode,
            "starts Ray without a token: whoever reaches a port runs code as this user",
            "export RAY_AUTH_MODE=token before `ray start`",
        )


def _threads(start: Command) -> Faults:
    if not start.unsets("OMP_NUM_THREADS"):
        yield Fault(
            start.keys,
            start.text,
            "keeps OMP_NUM_THREADS=1 of `ray up`: every trial computes with one thread",
            "put `unset OMP_NUM_THREADS;` before `ray start`",
        )


def _head(start: Command, kind: str) -> Faults:
    options = start.options()
    if "head" not in options:
        yield Fault(start.keys, start.text, "starts no head", "add --head to `ray start`")
    if options.get("autoscaling-config") != BOOTSTRAP:
        yield Fault(
            start.keys,
            options.get("autoscaling-config"),
            "starts a head that knows no workers",
            f"add --autoscaling-config={BOOTSTRAP}",
        )
    host = options.get("dashboard-host")
    if host not in LOOPBACK:
        yield Fault(
            start.keys,
            host,
            "does not keep the dashboard on the head's loopback",
            "write --dashboard-host=127.0.0.1; reach it by `ray dashboard FILE`",
        )
    if kind == "local" and start.variable("RAY_enable_autoscaler_v2") != "0":
        yield Fault(
            start.keys,
            start.variable("RAY_enable_autoscaler_v2"),
            "uses Ray's second autoscaler, which starts one fixed machine too few",
            "export RAY_enable_autoscaler_v2=0 before `ray start`",
        )


def _worker(start: Command) -> Faults:
    if not re.match(r"\$\{?RAY_HEAD_IP\}?:\d+$", start.options().get("address", "")):
        yield Fault(
            start.keys,
            start.options().get("address"),
            "does not say where the head is",
            "write --address=$RAY_HEAD_IP:6379",
        )


def _ports(starts: list[Command]) -> Faults:
    head = [s.options().get("port", "6379") for s in starts if s.keys[0] == HEAD_START]
    for start in starts:
        port = start.options().get("address", "").rpartition(":")[2]
        if start.keys[0] == WORKER_START and head and port.isdigit() and port != head[0]:
            yield Fault(
                start.keys,
                port,
                f"is another port than the head's {head[0]}: no worker would join",
                f"write --address=$RAY_HEAD_IP:{head[0]}",
            )
