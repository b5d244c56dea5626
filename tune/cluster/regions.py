"""AWS' regions and zones, and the file system that must lie in the same one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tune.cluster.commands import commands
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.hosts import is_placeholder
from tune.cluster.source import section
from tune.cluster.storage import mounts

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)*-(central|((north|south)(east|west)?)|east|west)-\d")
_FILES = re.compile(r"fs-(?:[0-9a-f]{8}|[0-9a-f]{17})(?:\.(?:efs|fsx)\.([a-z0-9-]+)\..+)?")
_OF_AWS = re.compile(r"fs-|.*\.(?:efs|fsx)\b|.*\.amazonaws\.com")


def check_regions(content: Mapping[str, Any]) -> Faults:
    """Yield a region that is none, and zones and file systems of another one."""
    provider = section(content, "provider")
    region, zones = provider.get("region"), provider.get("availability_zone")
    place: Keys = ("provider", "region")
    if region is None:
        yield Fault(place, None, "is missing", "give one such as us-west-2")
    if not isinstance(region, str):
        return  # the schema has said so
    if not _REGION.fullmatch(region):
        yield Fault(place, region, "is no region", "give one such as us-west-2")
        return
    named = [zone.strip() for zone in zones.split(",")] if isinstance(zones, str) else []
    wrong = [zone for zone in named if not re.fullmatch(rf"{region}(-[a-z]+-\d)?[a-z]", zone)]
    if wrong:
        yield Fault(
            ("provider", "availability_zone"),
            ", ".join(wrong),
            f"is no zone of {region}, but of another region or none at all",
            f"give zones such as {region}a",
        )
    yield from _file_systems(content, region)


def _file_systems(content: Mapping[str, Any], region: str) -> Faults:
    for command in commands(content):
        for source, _ in mounts(command):
            host = source.partition(":")[0].partition("@")[0]
            known = _FILES.fullmatch(host)
            if known and known[1] not in (None, region):
                yield Fault(
                    command.keys,
                    host,
                    f"lies in {known[1]}, and the machines in {region}: they cannot mount it",
                    f"make the file system in {region}, or change provider.region",
                )
            elif not known and "$" not in host and (_OF_AWS.match(host) or is_placeholder(host)):
                yield Fault(
                    command.keys,
                    host,
                    "is no file system of AWS",
                    f"give your own, such as fs-0a1b2c3d.efs.{region}.amazonaws.com",
                )
