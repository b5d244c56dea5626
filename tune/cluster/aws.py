"""AWS' node types: what Ray hands on to EC2 unread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tune.cluster.commands import commands
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.keys import unknown
from tune.cluster.source import ClusterFile, section

RUN_INSTANCES = {
    *("BlockDeviceMappings", "CapacityReservationSpecification", "CpuOptions"),
    *("CreditSpecification", "DisableApiStop", "DisableApiTermination", "EbsOptimized"),
    *("EnclaveOptions", "HibernationOptions", "IamInstanceProfile", "ImageId"),
    *("InstanceInitiatedShutdownBehavior", "InstanceMarketOptions", "InstanceType", "KeyName"),
    *("LaunchTemplate", "LicenseSpecifications", "MaintenanceOptions", "MetadataOptions"),
    *("Monitoring", "NetworkInterfaces", "Placement", "PrivateDnsNameOptions"),
    *("SecurityGroupIds", "SubnetId", "SubnetIds", "TagSpecifications", "UserData"),
}
"""What EC2's RunInstances takes, and Ray's own SubnetIds."""
INSIDE = {
    "InstanceMarketOptions": {"MarketType", "SpotOptions"},
    "MetadataOptions": {
        *("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "HttpProtocolIpv6"),
        "InstanceMetadataTags",
    },
    "IamInstanceProfile": {"Arn", "Name"},
}
SHAPES = {
    "ImageId": (r"ami-[0-9a-f]{8}([0-9a-f]{9})?", "ami- and 17 hexadecimal digits"),
    "InstanceType": (r"[a-z0-9-]+\.[a-z0-9-]+", "a type such as g4dn.xlarge"),
}
_GROUP = re.compile(r"sg-[0-9a-f]{8}([0-9a-f]{9})?")
_TEMPLATE = "0123456789abcdef"


def check_aws(file: ClusterFile) -> Faults:
    """Yield node types that EC2 would refuse, that never come, or that cost for nothing."""
    content = file.content
    yield from _region(content)
    types = section(content, "available_node_types")
    head = content.get("head_node_type")
    if head not in types:
        yield Fault(
            ("head_node_type",),
            head,
            "is none of available_node_types",
            f"give one of {', '.join(map(str, types)) or 'them a name'}",
        )
    top = content.get("max_workers")
    if top is None:
        yield Fault(
            ("max_workers",), None, "is missing: Ray would start 2 workers at most", "set it"
        )
    for name, node in types.items():
        keys: Keys = ("available_node_types", name)
        yield from _node_config(keys, section(node, "node_config"))
        if name == head:
            yield from _head(keys, section(node))
        else:
            yield from _worker(keys, section(node), top)
    if not any("boto3" in command.text for command in commands(content)):
        yield Fault(
            ("head_setup_commands",),
            None,
            "installs no boto3, with which the head asks AWS for workers",
            "add `pip install boto3==VERSION`",
        )
    for command in commands(content):
        if _TEMPLATE in command.text:
            yield _template(command.keys, command.text)
    spot = any("InstanceMarketOptions" in section(n, "node_config") for n in types.values())
    if spot and section(content, "provider").get("cache_stopped_nodes") is not False:
        yield Fault(
            ("provider", "cache_stopped_nodes"),
            section(content, "provider").get("cache_stopped_nodes"),
            "keeps machines that stopped, which the spot market does not allow",
            "set cache_stopped_nodes: false",
        )


def _region(content: Mapping[str, Any]) -> Faults:
    provider = section(content, "provider")
    region = str(provider.get("region") or "")
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", region):
        yield Fault(("provider", "region"), region, "is no region", "give one such as us-west-2")
        return
    for zone in str(provider.get("availability_zone") or region).split(","):
        if not zone.strip().startswith(region):
            yield Fault(
                ("provider", "availability_zone"),
                zone,
                f"lies in another region than {region}",
                f"give zones such as {region}a",
            )


def _node_config(keys: Keys, config: Mapping[str, Any]) -> Faults:
    place: Keys = (*keys, "node_config")
    for key, value in config.items():
        if key not in RUN_INSTANCES:
            yield unknown((*place, key), RUN_INSTANCES)
        elif key in INSIDE and isinstance(value, Mapping):
            yield from (
                unknown((*place, key, k), INSIDE[key]) for k in value if k not in INSIDE[key]
            )
    for key, (shape, example) in SHAPES.items():
        value = str(config.get(key) or "")
        if not re.fullmatch(shape, value):
            yield Fault((*place, key), value, "is nothing that EC2 knows", f"give {example}")
        elif _TEMPLATE in value:
            yield _template((*place, key), value)
    for position, group in enumerate(config.get("SecurityGroupIds") or []):
        where: Keys = (*place, "SecurityGroupIds", position)
        if not _GROUP.fullmatch(str(group)):
            yield Fault(where, group, "is no security group", "give one such as sg-0a1b2c3d")
        elif _TEMPLATE in str(group):
            yield _template(where, group)
    market = section(config, "InstanceMarketOptions").get("MarketType", "spot")
    if market not in ("spot", "capacity-block"):
        yield Fault(
            (*place, "InstanceMarketOptions", "MarketType"),
            market,
            "is no market of EC2",
            "write spot, or remove InstanceMarketOptions for machines on demand",
        )


def _template(keys: Keys, value: object) -> Fault:
    return Fault(
        keys, value, "is the example of the file that ships", "give your own", level="note"
    )


def _head(keys: Keys, node: Mapping[str, Any]) -> Faults:
    if section(node, "resources").get("CPU") != 0:
        yield Fault(
            (*keys, "resources"),
            node.get("resources"),
            "lets trials run on the head, beside the search and its record",
            "write resources: {CPU: 0}",
        )
    if "InstanceMarketOptions" in section(node, "node_config"):
        yield Fault(
            (*keys, "node_config", "InstanceMarketOptions"),
            None,
            "puts the head on the spot market: the search would end with it",
            "remove it",
        )


def _worker(keys: Keys, node: Mapping[str, Any], top: object) -> Faults:
    least, most = node.get("min_workers", 0), node.get("max_workers")
    if not isinstance(least, int) or (most is not None and not isinstance(most, int)):
        return  # the schema has said so
    if most is not None and most < max(least, 1):
        yield Fault(
            (*keys, "max_workers"), most, "lets no worker come", "set it to the machines you want"
        )
    if isinstance(top, int) and (least if most is None else most) > top:
        yield Fault(
            (*keys, "max_workers"),
            most,
            f"is more than max_workers: {top} at the top, which bounds all types together",
            f"set it to {top}, or raise the one at the top",
        )
