"""How the launcher and the head get into machines: the user, and the key."""

from __future__ import annotations

from pathlib import Path

from tune.cluster.files import check_secret
from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.hosts import is_placeholder
from tune.cluster.source import ClusterFile, section

USER: Keys = ("auth", "ssh_user")
KEY: Keys = ("auth", "ssh_private_key")
PERSONAL = ("id_rsa", "id_ed25519", "id_ecdsa", "id_dsa", "id_ed25519_sk", "id_ecdsa_sk")
"""The names that ssh uses by itself."""


def check_access(file: ClusterFile) -> Faults:
    """Yield a user that is not named, and keys that are missing, public, or personal."""
    auth = section(file.content, "auth")
    user, key = auth.get("ssh_user"), auth.get("ssh_private_key")
    if (user is None and (auth or file.kind == "local")) or user == "":
        yield Fault(USER, None, "is missing: `ray up` would end with an error", "name the user")
    elif user is not None and is_placeholder(str(user)):
        yield Fault(USER, user, "is a placeholder", "name the machines' user")
    if key is not None:
        yield from _key(str(key))
    elif file.kind == "local":
        yield Fault(
            KEY,
            None,
            "is missing: `ray up` copies no key to the head, which cannot reach the workers",
            "name a key made for this cluster alone, such as ~/.ssh/refkd-cluster",
        )
    if file.kind == "aws":
        yield from _pairs(file, key)


def _key(key: str) -> Faults:
    name = Path(key).name
    if name.endswith(".pub"):
        what = "is the public half of a key"
        yield Fault(KEY, key, what, f"write {key.removesuffix('.pub')}")
        return
    remedy = f"make a key for this cluster alone: ssh-keygen -t ed25519 -f {key}"
    yield from check_secret(KEY, key, "the key", remedy)
    if name in PERSONAL:
        yield Fault(
            KEY,
            key,
            "is copied to the head: whoever gets in there gets in wherever this key opens",
            "make a key for this cluster alone: ssh-keygen -t ed25519 -f ~/.ssh/refkd-cluster",
            level="note",
        )


def _pairs(file: ClusterFile, key: object) -> Faults:
    """Ray makes a key pair of its own, or uses one that both places name."""
    for name, node in section(file.content, "available_node_types").items():
        config = section(node, "node_config")
        place: Keys = ("available_node_types", name, "node_config", "KeyName")
        if key is None and "KeyName" in config:
            yield Fault(
                place,
                config["KeyName"],
                "stands without auth.ssh_private_key: Ray puts a key pair of its own in its place",
                "name the private key in auth.ssh_private_key, or remove KeyName",
            )
        elif key is not None and not {"KeyName", "UserData"} & set(config):
            yield Fault(
                place,
                None,
                "is missing beside auth.ssh_private_key: `ray up` would end with an error",
                "name the key's pair in EC2, or remove auth.ssh_private_key",
            )
