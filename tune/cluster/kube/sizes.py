"""How many pods of a RayCluster come, and what each of them asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.kube.keys import containers, groups
from tune.cluster.numbers import quantity, whole
from tune.cluster.source import ClusterFile, section
from tune.config.yaml_file import YamlFile

GPU = "nvidia.com/gpu"
RESOURCES = ("cpu", "memory", "ephemeral-storage", GPU, "amd.com/gpu")
COUNTS = ("minReplicas", "replicas", "maxReplicas")
_NAME = re.compile(
    r"cpu|memory|ephemeral-storage|hugepages-\S+|nvidia\.com/(gpu(\.shared)?|mig-\S+)"
    r"|(?!nvidia\.)[a-z0-9-]+(\.[a-z0-9-]+)+/[A-Za-z0-9._-]+"
)
_SMALL = 2.0**20
"""Bytes; whoever asks for less memory has left out the unit."""


def check_sizes(file: ClusterFile) -> Faults:
    """Yield counts that let no pod come, and resources that Kubernetes would not give."""
    for keys in groups(file)[1:]:
        yield from _replicas(keys, section(file.content, *keys))
    for keys, container in containers(file):
        yield from _resources((*keys, "resources"), section(container, "resources"))
    for document in file.of_kind("PersistentVolumeClaim"):
        requests: Keys = ("spec", "resources", "requests")
        storage = section(document.content, *requests).get("storage")
        yield from _quantity((*requests, "storage"), "storage", storage, document)


def limits(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the limits of a pod's first container, in which Ray runs."""
    return section(pod, "containers", 0, "resources", "limits")


def _replicas(keys: Keys, group: Mapping[str, Any]) -> Faults:
    counts = {key: group.get(key, 0) for key in COUNTS}
    wrong = {key: value for key, value in counts.items() if (whole(value) or 0) < 0}
    wrong |= {key: value for key, value in counts.items() if whole(value) is None}
    for key, value in wrong.items():
        what = "is empty" if value is None else "is no whole number"
        yield Fault((*keys, key), value, what, f"write a number without quotes, such as {key}: 1")
    if wrong:
        return
    least, now, most = counts.values()
    if not least <= now <= most or most < 1:
        yield Fault(
            (*keys, "maxReplicas"),
            f"{least} <= {now} <= {most}",
            "minReplicas, replicas and maxReplicas are out of order, or let no pod come",
            "write them so that they rise, the last at least 1",
        )


def _resources(place: Keys, resources: Mapping[str, Any]) -> Faults:
    asked, most = section(resources, "requests"), section(resources, "limits")
    for part, amounts in (("requests", asked), ("limits", most)):
        for name, value in amounts.items():
            if not _NAME.fullmatch(str(name)):
                close = get_close_matches(f"nvidia.com/{name}", RESOURCES, n=1, cutoff=0.8)
                close += get_close_matches(str(name), RESOURCES, n=1)
                remedy = f"did you mean {close[0]!r}?" if close else "remove it"
                yield Fault((*place, part, name), name, "is no resource of a pod", remedy)
            else:
                yield from _quantity((*place, part, name), str(name), value)
    for name, value in asked.items():
        wants, bound = quantity(value), quantity(most.get(name))
        key: Keys = (*place, "limits", name)
        if not _NAME.fullmatch(str(name)):
            continue
        if "/" in str(name) and most.get(name) != value and wants != bound:
            what = f"differs from the {value} of requests, which Kubernetes refuses"
            yield Fault(key, most.get(name), what, "write the same number in both")
        elif wants is not None and bound is not None and bound < wants:
            what = f"is less than the {value} of requests, which Kubernetes refuses"
            yield Fault(key, most[name], what, f"write {value} or more")


def _quantity(keys: Keys, name: str, value: object, document: YamlFile | None = None) -> Faults:
    amount = quantity(value)
    example = {"cpu": '"4" or 500m'}.get(name, '"1"' if "/" in name else "16Gi")
    if amount is None:
        what = "is missing" if value is None else "is no quantity of Kubernetes"
        yield Fault(keys, value, what, f"write {example}", document=document)
    elif name in ("memory", "storage") and amount < _SMALL:
        what = f"is {amount:g} bytes, with which nothing starts"
        yield Fault(keys, value, what, f"write a unit, such as {example}", document=document)
    elif "/" in name and amount % 1:
        yield Fault(keys, value, "is no whole number", f"write {example}", document=document)
