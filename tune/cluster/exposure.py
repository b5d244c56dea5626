"""What a cluster leaves open to others: ports, security groups, and secrets written out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tune.cluster.commands import commands
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.secret import secret_in, texts
from tune.cluster.source import ClusterFile, items, section
from tune.cluster.starts import LOOPBACK

WORLD = ("0.0.0.0/0", "::/0")
CREDENTIALS: Keys = ("provider", "aws_credentials")
_SERVER = re.compile(r"(?:REFKD_HOST=|mlflow server\b[^;&|]*--host[= ])(\S+)")
_OPEN = re.compile(r"\bREFKD_AUTH=[\"']?none\b")


def check_doors(file: ClusterFile) -> Faults:
    """Yield servers that listen to strangers, groups open to the world, and written secrets."""
    for command in commands(file.content):
        host = _SERVER.search(command.text)
        if host and host[1].strip("'\"") not in LOOPBACK:
            yield Fault(
                command.keys,
                host[1],
                "lets MLflow's server listen outside the head",
                "remove it; reach MLflow by `ray attach -p 5000 FILE`",
            )
        if _OPEN.search(command.text):
            yield Fault(
                command.keys,
                "REFKD_AUTH=none",
                "lets MLflow's server ask for no password",
                "remove it; head.sh makes a password",
            )
    for keys, text in texts(file.content):
        secret = secret_in(text)
        if secret and keys[:2] != CREDENTIALS:
            yield Fault(
                keys,
                secret,
                "is a secret written into the file",
                "take it from a file that file_mounts brings, or from the machine's role",
            )
    if file.kind == "aws":
        yield from _groups(file.content)


def _groups(content: Mapping[str, Any]) -> Faults:
    if section(content, *CREDENTIALS):
        yield Fault(
            CREDENTIALS,
            "***",
            "is a secret written into the file, which `ray up` copies to the head",
            "remove it: the launcher's environment and the head's role are used",
        )
    rules: Keys = ("provider", "security_group", "IpPermissions")
    for position, rule in enumerate(items(content, *rules)):
        if any(world in str(rule) for world in WORLD):
            yield Fault(
                (*rules, position),
                rule,
                "opens ports to the whole world",
                "name your own address, such as 203.0.113.7/32, or remove the rule",
            )
    for name, node in section(content, "available_node_types").items():
        config = section(node, "node_config")
        if not config.get("SecurityGroupIds") and not config.get("NetworkInterfaces"):
            yield Fault(
                ("available_node_types", name, "node_config", "SecurityGroupIds"),
                None,
                "is missing: Ray would make a security group that lets in SSH from everywhere",
                "make a group of your own (docs/cluster.md) and name it here",
            )
