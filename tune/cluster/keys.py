"""Keys that Ray does not know, and values of a wrong type, by its schema and beyond it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tune.cluster.commands import HEAD_START, WORKER_START
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import ClusterError, ClusterFile, section, value_at

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
    yield from _against_schema(file)
    known = PROVIDER_KEYS[file.kind]
    for key in section(file.content, "provider"):
        if key not in known:
            yield unknown(("provider", key), known)


def unknown(keys: Keys, known: Iterable[str]) -> Fault:
    """Return the fault of a key that nobody reads, with the nearest one that is."""
    close = get_close_matches(str(keys[-1]), list(known), n=1)
    remedy = f"did you mean {close[0]!r}?" if close else "remove it"
    return Fault(keys, keys[-1], "is a key that nobody reads", remedy)


def _against_schema(file: ClusterFile) -> Faults:
    from jsonschema import Draft7Validator

    content = dict(file.content)
    if file.kind == "local":
        content.pop("min_workers", None)  # of fixed machines alone, and not in the schema
        if "available_node_types" in content:
            yield Fault(
                ("available_node_types",),
                None,
                "belongs to clouds: fixed machines are all of one type",
                "remove it; name the machines in provider.worker_ips",
            )
    for error in Draft7Validator(ray_schema()).iter_errors(content):
        keys = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            known = error.schema.get("properties", {})
            for key in _extra(error.instance, known):
                yield unknown((*keys, key), known)
        elif error.validator == "required" and not keys:
            continue  # what `ray up` fills in
        else:
            found = value_at(file.content, keys)
            yield Fault(keys, found, error.message, "give a value of the kind that Ray expects")


def ray_schema() -> dict[str, Any]:
    """Return the schema of cluster files of the installed Ray, without importing Ray."""
    spec = find_spec("ray")
    if spec is None or spec.origin is None:
        raise ClusterError("Ray is not installed; run: pip install 'refkd[tune]'")
    path = Path(spec.origin).parent / "autoscaler" / "ray-schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def _extra(instance: Any, known: Collection[str]) -> list[str]:
    return [str(key) for key in instance if key not in known]
