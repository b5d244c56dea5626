"""Names and addresses: of the cluster, and of fixed machines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.source import ClusterFile, items, section

PLACEHOLDER = re.compile(
    r"[<>{}$]|\b(?:your|change|fill|todo|placeholder|example)\b|example\.(?:com|org|net)|x{3,}"
    r"|\b(?:\d+\.|x\.)+x\b",
    re.IGNORECASE,
)
_DOCUMENTATION = [ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?![\d.-]+$){_LABEL}(?:\.{_LABEL})*\.?")


def check_hosts(file: ClusterFile) -> Faults:
    """Yield bad names, placeholders, and machines that stand twice or not at all."""
    name = str(file.content.get("cluster_name", ""))
    if "cluster_name" in file.content and not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        yield Fault(
            ("cluster_name",),
            name,
            "holds a character that breaks paths and file mounts",
            "use letters, digits, - and _",
        )
    if file.kind == "local":
        yield from _machines(file.content)


def is_placeholder(host: str) -> bool:
    """Return whether a host is one that documentation uses, not one that exists.

    >>> is_placeholder("YOUR_HEAD_IP"), is_placeholder("192.0.2.7"), is_placeholder("10.0.0.7")
    (True, True, False)
    """
    address = _address(host)
    if address is not None:
        return any(address in network for network in _DOCUMENTATION)
    return PLACEHOLDER.search(host.replace("_", " ")) is not None


def _machines(content: Mapping[str, Any]) -> Faults:
    provider = section(content, "provider")
    head, workers = provider.get("head_ip"), items(provider, "worker_ips")
    hosts: list[tuple[Keys, object]] = [(("provider", "head_ip"), head)]
    hosts += [(("provider", "worker_ips", i), host) for i, host in enumerate(workers)]
    if provider.get("worker_ips") in (None, []):
        yield Fault(("provider", "worker_ips"), None, "names no machine", "list the workers")
    seen: set[str] = set()
    for keys, host in hosts:
        text = "" if host is None else str(host).strip()
        same = text.lower().rstrip(".")
        if not text:
            yield Fault(keys, None, "is missing", "give the machine's address")
        elif same in seen:
            what = "is the head as well" if same == str(head).lower() else "stands twice"
            yield Fault(keys, text, what, "name every machine once")
        else:
            yield from _host(keys, text)
        seen.add(same)
    for key in ("min_workers", "max_workers"):
        count = content.get(key)
        if isinstance(count, int) and count != len(workers):
            yield Fault(
                (key,),
                count,
                f"differs from the {len(workers)} machines of provider.worker_ips",
                "remove it: fixed machines are all used, and none comes by demand",
            )


def _host(keys: Keys, text: str) -> Faults:
    address = _address(text)
    if is_placeholder(text):
        yield Fault(keys, text, "is a placeholder", "give the machine's own address")
    elif re.fullmatch(r"[^:]+:\d+", text):
        yield Fault(keys, text, "names a port: `ray up` knows 22 alone", "remove the port")
    elif address is None and not _HOST.fullmatch(text):
        yield Fault(keys, text, "is no address", "give an IP address or a host name")
    elif text.lower() == "localhost" or (address and _is_nobody(address)):
        yield Fault(
            keys,
            text,
            "is another machine on every machine",
            "give the address by which the others reach it",
        )


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_nobody(address: IPv4Address | IPv6Address) -> bool:
    return address.is_loopback or address.is_unspecified or address.is_multicast
