"""What one node type asks of EC2, which Ray hands on unread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import section
from tune.cluster.unknown import unknown

RUN_INSTANCES = {
    *("AdditionalInfo", "BlockDeviceMappings", "CapacityReservationSpecification"),
    *("ClientToken", "CpuOptions", "CreditSpecification", "DisableApiStop"),
    *("DisableApiTermination", "DryRun", "EbsOptimized", "ElasticGpuSpecification"),
    *("ElasticInferenceAccelerators", "EnablePrimaryIpv6", "EnclaveOptions"),
    *("HibernationOptions", "IamInstanceProfile", "ImageId", "InstanceInitiatedShutdownBehavior"),
    *("InstanceMarketOptions", "InstanceType", "Ipv6AddressCount", "Ipv6Addresses", "KernelId"),
    *("KeyName", "LaunchTemplate", "LicenseSpecifications", "MaintenanceOptions", "MaxCount"),
    *("MetadataOptions", "MinCount", "Monitoring", "NetworkInterfaces"),
    *("NetworkPerformanceOptions", "Operator", "Placement", "PrivateDnsNameOptions"),
    *("PrivateIpAddress", "RamdiskId", "SecondaryInterfaces", "SecurityGroupIds"),
    *("SecurityGroups", "SubnetId", "SubnetIds", "TagSpecifications", "UserData"),
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
TEMPLATE = "0123456789abcdef"
_GROUP = re.compile(r"sg-[0-9a-f]{8}([0-9a-f]{9})?")


def check_node_config(place: Keys, config: Mapping[str, Any]) -> Faults:
    """Yield what EC2 would refuse of a node type, and examples that are still in it."""
    for key, value in config.items():
        if key not in RUN_INSTANCES:
            yield unknown((*place, key), RUN_INSTANCES)
        elif key in INSIDE and isinstance(value, Mapping):
            yield from (
                unknown((*place, key, k), INSIDE[key]) for k in value if k not in INSIDE[key]
            )
        elif key in INSIDE:
            example = {"InstanceMarketOptions": "{MarketType: spot}"}.get(key, "keys and values")
            yield Fault((*place, key), value, "is not a section", f"write {key}: {example}")
    for key, (shape, example) in SHAPES.items():
        value = str(config.get(key) or "")
        if not re.fullmatch(shape, value):
            what = "is nothing that EC2 knows" if value else "is missing"
            yield Fault((*place, key), value, what, f"give {example}")
        elif TEMPLATE in value:
            yield template((*place, key), value)
    yield from _security_groups((*place, "SecurityGroupIds"), config.get("SecurityGroupIds"))
    market = section(config, "InstanceMarketOptions").get("MarketType", "spot")
    if market not in ("spot", "capacity-block"):
        yield Fault(
            (*place, "InstanceMarketOptions", "MarketType"),
            market,
            "is no market of EC2",
            "write spot, or remove InstanceMarketOptions for machines on demand",
        )
    if section(config, "MetadataOptions").get("HttpEndpoint", "enabled") != "enabled":
        yield Fault(
            (*place, "MetadataOptions", "HttpEndpoint"),
            section(config, "MetadataOptions")["HttpEndpoint"],
            "switches off the service by which a machine hears of its end and gets its role",
            "remove it; HttpTokens: required protects the service",
        )


def template(keys: Keys, value: object) -> Fault:
    """Return the note that an example has not been replaced."""
    what = "is the example of the file that ships"
    return Fault(keys, value, what, "give your own", level="note")


def _security_groups(place: Keys, value: object) -> Faults:
    if value is None:
        return
    if not isinstance(value, list):
        yield Fault(place, value, "is not a list", f"write SecurityGroupIds: [{value}]")
        return
    for position, group in enumerate(value):
        if not _GROUP.fullmatch(str(group)):
            what = "is no security group"
            yield Fault((*place, position), group, what, "give one such as sg-0a1b2c3d")
        elif TEMPLATE in str(group):
            yield template((*place, position), group)
