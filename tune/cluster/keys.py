"""Keys that Ray does not know, and values of a wrong type, by its schema and beyond it."""

from __future__ import annotations

from tune.cluster.commands import HEAD_START, WORKER_START
from tune.cluster.findings import Fault, Faults
from tune.cluster.schema import check_schema
from tune.cluster.source import ClusterFile, section
from tune.cluster.unknown import unknown

REQUIRED = ("cluster_name", "file_mounts", "setup_commands", HEAD_START, WORKER_START)
PROVIDER_KEYS = {
    "local": {"type", "head_ip", "worker_ips", "external_head_ip"},
    "aws": {
        *("type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips"),
        *("security_group", "key_pair", "cloudwatch", "aws_credentials", "disable_node_updaters"),
    },
}
"""What a provider understands: Ray's schema lets any key pass."""


def check_keys(file: ClusterFile) -> Faults:
    """Yield unknown keys, wrong types, and lists of commands left to Ray's defaults."""
    for key in REQUIRED:
        if key not in file.content:
            yield Fault(
                (key,),
                None,
                "is missing, so that Ray's own default would take its place",
                "write it out; copy the section from the file that ships",
            )
    yield from check_schema(file)
    if file.kind == "local" and "available_node_types" in file.content:
        yield Fault(
            ("available_node_types",),
            None,
            "belongs to clouds: fixed machines are all of one type",
            "remove it; name the machines in provider.worker_ips",
        )
    known = PROVIDER_KEYS[file.kind]
    for key in section(file.content, "provider"):
        if key not in known:
            yield unknown(("provider", key), known)
