"""How Ray is started: on the loopback, with all threads, and so that workers find the head."""

from __future__ import annotations

import re
from difflib import get_close_matches

from tune.cluster.commands import HEAD_START, WORKER_START, Command, ray_starts
from tune.cluster.findings import Fault, Faults
from tune.cluster.numbers import number
from tune.cluster.source import ClusterFile, items

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BOOTSTRAP = "~/ray_bootstrap_config.yaml"
OPTIONS = {
    *("address", "autoscaling-config", "block", "cgroup-path", "dashboard-agent-grpc-port"),
    *("dashboard-agent-listen-port", "dashboard-host", "dashboard-port", "disable-usage-stats"),
    *("enable-object-reconstruction", "enable-resource-isolation", "head", "help"),
    *("include-dashboard", "include-log-monitor", "labels", "labels-file", "log-color"),
    *("log-style", "max-worker-port", "memory", "metrics-export-port", "min-worker-port"),
    *("no-monitor", "no-redirect-output", "node-ip-address", "node-manager-port", "node-name"),
    *("num-cpus", "num-gpus", "object-manager-port", "object-spilling-directory"),
    *("object-store-memory", "plasma-directory", "port", "proxy-server-url"),
    *("ray-client-server-port", "ray-debugger-external", "redis-password", "redis-shard-ports"),
    *("redis-username", "resources", "runtime-env-agent-port", "system-config"),
    *("system-reserved-cpu", "system-reserved-memory", "temp-dir", "tracing-startup-hook"),
    *("verbose", "worker-port-list"),
}
"""What `ray start` of Ray 2.60 takes; to import Ray for it would take seconds."""


def check_starts(file: ClusterFile) -> Faults:
    """Yield what is wrong with the start commands of a `ray up` file."""
    starts = list(ray_starts(file.content))
    for name in (HEAD_START, WORKER_START):
        listed = items(file.content, name)
        if name in file.content and not any(s.keys[0] == name for s in starts):
            commented = any("ray start" in str(text) for text in listed)
            remedy = "remove the # before" if commented else "add a command with"
            yield Fault((name,), None, "starts no Ray", f"{remedy} `ray start`")
        elif listed and "ray stop" not in str(listed[0]):
            yield Fault(
                (name, 0),
                listed[0],
                "does not stop the Ray of an earlier launch first",
                "make `ray stop` the first command",
            )
    for start in starts:
        yield from _options(start)
        yield from _threads(start)
        yield from _head(start, file.kind) if start.keys[0] == HEAD_START else _worker(start)
    yield from _ports(starts)


def _options(start: Command) -> Faults:
    options = start.options()
    for name in options:
        if name not in OPTIONS:
            close = get_close_matches(name, sorted(OPTIONS), n=1)
            remedy = f"did you mean --{close[0]}?" if close else "remove it"
            yield Fault(start.keys, f"--{name}", "is no option of `ray start`", remedy)
    for name in ("num-cpus", "num-gpus"):
        value = options.get(name)
        if value is not None and number(value) is None and "$" not in value:
            yield Fault(
                start.keys, f"--{name}={value}", "is no number", f"write --{name}=4 or the like"
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
    if "ray-client-server-port" in options:
        yield Fault(
            start.keys,
            f"--ray-client-server-port={options['ray-client-server-port']}",
            "opens a further port, by which whoever has the token runs code on the head",
            "remove it; a search runs on the head and does not need Ray's client",
            level="note",
        )
    if kind == "local" and start.given("RAY_enable_autoscaler_v2") != "0":
        yield Fault(
            start.keys,
            start.given("RAY_enable_autoscaler_v2"),
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
