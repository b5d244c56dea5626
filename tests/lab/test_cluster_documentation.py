"""`docs/cluster.md` followed word by word, from `ray up` to `ray down`."""

from __future__ import annotations

import re
import time

import pytest
from documented import LAUNCH, commands
from hosts import WORKERS, Cluster
from laptop import STUDY

pytestmark = [pytest.mark.cluster, pytest.mark.system, pytest.mark.timeout(1800)]
ASK = """\
import base64, sys, time, urllib.error, urllib.request
url, user, password = sys.argv[1:]
word = base64.b64encode(f"{user}:{password}".encode()).decode()
request = urllib.request.Request(url, headers={"Authorization": f"Basic {word}"})
while True:
    try:
        print(urllib.request.urlopen(request).status)
        break
    except urllib.error.HTTPError:
        raise
    except OSError:  # the tunnel is not open yet
        time.sleep(0.5)
"""


def test_every_command_does_what_the_documentation_says(cluster: Cluster) -> None:
    """Nothing else is typed; what a reader has to look at stands in the asserts."""
    said: dict[str, str] = {}
    for line in commands(LAUNCH):
        begun = time.monotonic()
        if line.startswith("ray attach"):
            said[line] = through_the_tunnel(cluster, line, last(said))
        else:
            said[line] = cluster.laptop.run(line, seconds=600)
        print(f"{time.monotonic() - begun:6.1f} s  {line}")
        if line.startswith("ray up"):
            cluster.wait_for_nodes("head", *WORKERS)
    trials = STUDY["budget"]["trials"]
    (checked, checked_there) = (told for line, told in said.items() if "cluster check" in line)
    assert "nothing wrong" in checked
    assert "nothing wrong" in checked_there
    (status,) = (told for line, told in said.items() if "refkd status" in line)
    assert f"{trials} of {trials}" in status
    (answer,) = (told for line, told in said.items() if line.startswith("ray attach"))
    assert answer.strip() == "200"
    cluster.whole = False
    for name in ("head", *WORKERS):
        cluster.gone(name)


def last(said: dict[str, str]) -> str:
    return said[next(reversed(said))]


def through_the_tunnel(cluster: Cluster, line: str, credentials: str) -> str:
    """Return MLflow's answer on the laptop while the connection of `ray attach` is open."""
    lab, laptop = cluster.lab, cluster.laptop
    terminal = f"cd {laptop.root} && sleep 120 | script -qec '{line}' /dev/null"
    open_one = lab.start("laptop", "sh", "-c", terminal, log=lab.folder / "attach.log")
    secret = re.findall(r"^mlflow_tracking_\w+ = (\S+)", credentials, re.MULTILINE)
    asked = lab.on("laptop", "python", "-c", ASK, "http://127.0.0.1:5000/", *secret)
    lab.kill("laptop", "sleep 120", "script -qec", "ray attach", "ssh ")
    open_one.wait()
    assert asked.returncode == 0, asked.stderr + (lab.folder / "attach.log").read_text()
    return asked.stdout
