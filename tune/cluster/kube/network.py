"""Who may reach the pods of a RayCluster: NetworkPolicies, services and ingresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from tune.cluster.findings import Fault, Faults, Keys, dotted
from tune.cluster.kube.keys import groups
from tune.cluster.source import ClusterFile, items, section
from tune.cluster.unknown import unknown
from tune.config.yaml_file import YamlFile

POLICY = {"podSelector", "policyTypes", "ingress", "egress"}
RULE = {"from", "ports"}
PEER = {"podSelector", "namespaceSelector", "ipBlock"}
SHIPPED = "write it as in the file that ships"
_CLOSE = "name in `from` who may: podSelector: {matchLabels: {ray.io/cluster: NAME}}"


def check_network(file: ClusterFile) -> Faults:
    """Yield pods that no policy closes, and rules that let everybody in."""
    policies = file.of_kind("NetworkPolicy")
    yield from _pods(file, policies)
    for policy in policies:
        yield from _keys(policy)
        if any(_selects(policy, file, labels) for labels in _labels(file)):
            yield from _rules(policy)
    for document in file.of_kind("Service"):
        kind = section(document.content, "spec").get("type", "ClusterIP")
        if kind != "ClusterIP":
            what = "opens pods to the world outside"
            remedy = "write type: ClusterIP, and use kubectl port-forward"
            yield Fault(("spec", "type"), kind, what, remedy, document=document)
    for document in file.of_kind("Ingress"):
        what = "opens pods to the world outside"
        yield Fault(("kind",), "Ingress", what, "use kubectl port-forward", document=document)


def _pods(file: ClusterFile, policies: list[YamlFile]) -> Faults:
    if not policies:
        yield Fault(
            ("metadata", "name"),
            None,
            "no NetworkPolicy stands in the file: every pod of the Kubernetes cluster reaches Ray",
            "add the one of the file that ships",
        )
        return
    left = []
    for group, labels in zip(groups(file), _labels(file), strict=True):
        mine = [policy for policy in policies if _selects(policy, file, labels)]
        if not mine:
            left.append(dotted(group))
        elif not any(section(policy.content, "spec").get("ingress") for policy in mine):
            what = "lets nobody in, not even the cluster's own pods"
            yield Fault(("spec", "ingress"), None, what, SHIPPED, document=mine[0])
            return
    if left:
        name = section(file.content, "metadata").get("name")
        yield Fault(
            ("spec", "podSelector"),
            section(policies[0].content, "spec").get("podSelector"),
            f"selects no pods of {' and '.join(left)}: every pod of the Kubernetes cluster "
            "reaches Ray there",
            f"write podSelector: {{matchLabels: {{ray.io/cluster: {name}}}}}",
            document=policies[0],
        )


def _labels(file: ClusterFile) -> Iterator[Mapping[str, Any]]:
    """Yield the labels of each group's pods: those that KubeRay sets, and their own."""
    cluster = section(file.content, "metadata").get("name")
    for keys in groups(file):
        group = section(file.content, *keys)
        head = keys[-1] == "headGroupSpec"
        yield {
            **section(group, "template", "metadata", "labels"),
            "ray.io/cluster": cluster,
            "ray.io/is-ray-node": "yes",
            "ray.io/node-type": "head" if head else "worker",
            "ray.io/group": "headgroup" if head else group.get("groupName"),
        }


def _selects(policy: YamlFile, file: ClusterFile, labels: Mapping[str, Any]) -> bool:
    spaces = [section(c, "metadata").get("namespace") for c in (policy.content, file.content)]
    selector = section(policy.content, "spec").get("podSelector")
    if spaces[0] != spaces[1] or not isinstance(selector, Mapping):
        return False
    wanted = section(selector, "matchLabels")
    same = all(key in labels and labels[key] == value for key, value in wanted.items())
    expressions = map(section, items(selector, "matchExpressions"))
    return same and all(_holds(expression, labels) for expression in expressions)


def _holds(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    has, operator = labels.get(str(expression.get("key"))), str(expression.get("operator"))
    if operator in ("Exists", "DoesNotExist"):
        return (has is not None) == (operator == "Exists")
    return (has in items(expression, "values")) == (operator == "In")


def _keys(policy: YamlFile) -> Faults:
    spec: Keys = ("spec",)
    places: list[tuple[Keys, set[str]]] = [(spec, POLICY)]
    for i, rule in enumerate(items(policy.content, "spec", "ingress")):
        places.append(((*spec, "ingress", i), RULE))
        peers = range(len(items(rule, "from")))
        places += [((*spec, "ingress", i, "from", peer), PEER) for peer in peers]
    for keys, known in places:
        for key in section(policy.content, *keys):
            if key not in known:
                yield unknown((*keys, key), sorted(known), document=policy)


def _rules(policy: YamlFile) -> Faults:
    spec = section(policy.content, "spec")
    types = spec.get("policyTypes", ["Ingress"])
    if not isinstance(types, list) or "Ingress" not in types:
        yield Fault(
            ("spec", "policyTypes"),
            types,
            "lets everybody in: it holds for what goes out alone",
            "write policyTypes: [Ingress]",
            document=policy,
        )
    for i, rule in enumerate(items(spec, "ingress")):
        place: Keys = ("spec", "ingress", i)
        peers = items(rule, "from")
        if not peers:
            yield Fault(place, rule, "lets everybody in", _CLOSE, document=policy)
        for j, peer in enumerate(map(section, peers)):
            where: Keys = (*place, "from", j)
            what = _open(peer)
            if what:
                yield Fault(where, peer or "{}", what, _CLOSE, document=policy)
            elif set(peer) == {"podSelector"} and not any(section(peer, "podSelector").values()):
                what = "lets every pod of the namespace in"
                yield Fault(where, peer, what, _CLOSE, level="note", document=policy)


def _open(peer: Mapping[str, Any]) -> str | None:
    """Return in what way a peer is everybody; None where it is not."""
    if not PEER & set(peer):
        return "names nobody, which lets everybody in"
    if "namespaceSelector" in peer and not section(peer, "namespaceSelector"):
        return "lets pods of every namespace in"
    if "ipBlock" not in peer:
        return None
    cidr = section(peer, "ipBlock").get("cidr")
    try:
        wide = ip_network(str(cidr), strict=False).prefixlen == 0
    except ValueError:
        return f"is no range of addresses: {cidr}"
    return "lets the whole world in" if wide else None
