"""AWS' node types: those that never come, or that cost for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune.cluster.commands import WORKER_START, commands
from tune.cluster.ec2 import TEMPLATE, check_node_config, template
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.numbers import whole
from tune.cluster.regions import check_regions
from tune.cluster.source import ClusterFile, section

TYPES = "available_node_types"
WATCHER = "tune.execution.preemption"
MARKET = "InstanceMarketOptions"


def check_aws(file: ClusterFile) -> Faults:
    """Yield node types that EC2 would refuse, that never come, or that cost for nothing."""
    content = file.content
    yield from check_regions(content)
    yield from _types(content)
    if "max_workers" not in content:
        what = "is missing: Ray would start 2 workers at most"
        yield Fault(("max_workers",), None, what, "set it")
    for name, node in section(content, TYPES).items():
        keys: Keys = (TYPES, name)
        yield from check_node_config((*keys, "node_config"), section(node, "node_config"))
        yield from _resources((*keys, "resources"), section(node, "resources"))
        if name == content.get("head_node_type"):
            yield from _head(keys, section(node))
        else:
            yield from _worker(keys, section(node), content.get("max_workers"))
    if not any("boto3" in command.text for command in commands(content)):
        yield Fault(
            ("head_setup_commands",),
            None,
            "installs no boto3, with which the head asks AWS for workers",
            "add `pip install boto3==VERSION`",
        )
    for command in commands(content):
        yield from (template(command.keys, w) for w in command.text.split() if TEMPLATE in w)
    if any(MARKET in section(node, "node_config") for node in section(content, TYPES).values()):
        yield from _spot(content)


def _types(content: Mapping[str, Any]) -> Faults:
    types, head = list(section(content, TYPES)), content.get("head_node_type")
    if head not in types:
        yield Fault(
            ("head_node_type",),
            head,
            "is none of available_node_types",
            f"give one of {', '.join(map(str, types)) or 'them a name'}",
        )
    elif types == [head]:
        what = "holds the head alone: no worker could come, and the head runs no trials"
        yield Fault((TYPES,), None, what, "add a type of workers, such as gpu_spot")


def _spot(content: Mapping[str, Any]) -> Faults:
    cached = section(content, "provider").get("cache_stopped_nodes")
    if cached is not False:
        yield Fault(
            ("provider", "cache_stopped_nodes"),
            cached,
            "keeps machines that stopped, which the spot market does not allow",
            "set cache_stopped_nodes: false",
        )
    if not any(c.keys[0] == WORKER_START and WATCHER in c.text for c in commands(content)):
        yield Fault(
            (WORKER_START,),
            None,
            "start no watcher: a spot machine's trials would not hear of its end",
            f"add `python -m {WATCHER}`, as the file that ships does",
            level="note",
        )


def _resources(keys: Keys, resources: Mapping[str, Any]) -> Faults:
    for name in resources:
        right = str(name).upper()
        if right in ("CPU", "GPU") and name != right:
            what = "is a resource that no trial asks for"
            yield Fault((*keys, name), name, what, f"write {right}")


def _head(keys: Keys, node: Mapping[str, Any]) -> Faults:
    if section(node, "resources").get("CPU") != 0:
        yield Fault(
            (*keys, "resources"),
            node.get("resources"),
            "lets trials run on the head, beside the search and its record",
            "write resources: {CPU: 0}",
        )
    if MARKET in section(node, "node_config"):
        yield Fault(
            (*keys, "node_config", MARKET),
            None,
            "puts the head on the spot market: the search would end with it",
            "remove it",
        )


def _worker(keys: Keys, node: Mapping[str, Any], top: object) -> Faults:
    least, most = whole(node.get("min_workers", 0)), whole(node.get("max_workers", top))
    if least is None or most is None:
        return  # the schema has said so
    place: Keys = (*keys, "max_workers")
    if most < least:
        remedy = f"set it to {least}, or lower min_workers"
        yield Fault(place, most, f"is less than min_workers, which is {least}", remedy)
    elif most < 1:
        yield Fault(place, most, "lets no worker come", "set it to the machines you want")
    elif isinstance(top, int) and max(least, most) > top:
        yield Fault(
            place,
            most,
            f"is more than max_workers: {top} at the top, which bounds all types together",
            f"set it to {top}, or raise the one at the top",
        )
