"""The guide's certificates, and a cluster whose own traffic is encrypted with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from documented import commands
from hosts import Cluster, on_three_hosts
from lab import ADDRESSES, HOME, STRICT, Lab, require_lab
from searches import Search
from support.chaos import assert_sound

pytestmark = [
    pytest.mark.cluster, pytest.mark.nightly, pytest.mark.timeout(1800),
]  # fmt: skip
SWITCH = (
    "RAY_USE_TLS=1 RAY_TLS_CA_CERT=~/.ray/tls/ca.crt "
    "RAY_TLS_SERVER_CERT=~/.ray/tls/node.crt RAY_TLS_SERVER_KEY=~/.ray/tls/node.key"
)
"""As the comment in the cluster file has it, over two lines."""
ASK = ("ray", "status", "--address", f"{ADDRESSES['head']}:6379")


@pytest.fixture
def encrypted() -> Iterator[Cluster]:
    require_lab()
    with Lab() as lab:
        cluster = on_three_hosts(lab)
        laptop = cluster.laptop
        for word in SWITCH.split():
            assert word in laptop.file.read_text(encoding="utf-8")
        laptop.change('# "~/.ray/tls": "./tls"', '"~/.ray/tls": "./tls"')
        laptop.change("RAY_AUTH_MODE=token RAY_USAGE", f"RAY_AUTH_MODE=token {SWITCH} RAY_USAGE")
        laptop.change("export RAY_AUTH_MODE=token", f"export RAY_AUTH_MODE=token {SWITCH}")
        cluster.prepare()
        laptop.run("\n".join(commands("TLS")))
        yield cluster


def test_a_search_goes_through_and_plain_traffic_is_refused(encrypted: Cluster) -> None:
    lab = encrypted.lab
    encrypted.variables = with_certificates(HOME / ".ray" / "tls")
    encrypted.make_whole()
    search = Search.prepare(lab, "tls", seconds=0.1, budget={"trials": 2}, workers=3)
    search.start(**encrypted.variables)
    search.finish()
    assert_sound(search.workspace, trials=2)

    plain = lab.on("laptop", *ASK, seconds=300, **STRICT)
    assert plain.returncode != 0
    assert "Active:" not in plain.stdout
    ours = with_certificates(encrypted.laptop.root / "tls")
    seen = lab.on("laptop", *ASK, seconds=300, **STRICT, **ours)
    assert seen.returncode == 0, seen.stderr
    assert "Active:" in seen.stdout


def with_certificates(folder: Path) -> dict[str, str]:
    """Return the switch with the certificates of a folder, as variables."""
    words = SWITCH.replace("~/.ray/tls", str(folder)).split()
    return dict(word.split("=") for word in words)
