"""AWS in a lab: moto answers for EC2 and IAM, and every instance that it begins is a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import ROOT, Lab
from laptop import provision

HUB, PORT = "192.168.1.1", 5055
EC2 = Path(__file__).with_name("ec2.py")
PACKAGES = ("moto[server]>=5.2,<6", "boto3==1.44.5")
"""What the tests of a cloud need beyond the lock; boto3 as in `cluster.yaml`."""
AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT_URL": f"http://{HUB}:{PORT}",
}


def bring(folder: Path, *requirements: str) -> str | None:
    """Install packages into a folder of their own; return why that cannot be, None where done."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--constraint", ROOT / "constraints.txt", "--target", folder, *requirements],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if told.returncode == 0:
        return None
    reason = told.stderr.strip().splitlines()[-1]
    assert "No matching distribution" in reason or "onnection" in reason, told.stderr
    return reason


@dataclass
class Cloud:
    """What has begun and ended, in that order."""

    lab: Lab
    packages: Path
    seen: list[dict[str, Any]] = field(default_factory=list)

    def alive(self, kind: str) -> list[dict[str, Any]]:
        """Return the machines of a type that run now."""
        ended = {fact["id"] for fact in self.seen if fact["event"] == "ends"}
        began = [fact for fact in self.seen if fact["event"] == "begins"]
        return [f for f in began if f["type"] == kind and f["id"] not in ended]

    def take_away(self, machine: dict[str, Any]) -> None:
        """End a machine as EC2 ends a spot instance."""
        command = self.lab.on_the_network(sys.executable, EC2, machine["id"])
        subprocess.run(command, env=self._environment(), check=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Play EC2 until the end of the body."""
        log = (self.lab.folder / "moto.log").open("wb")
        server = subprocess.Popen(
            self.lab.on_the_network(
                sys.executable, "-m", "moto.server", "-H", HUB, "-p", str(PORT)
            ),
            env={**self._environment(), "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
            stdout=log, stderr=log,
        )  # fmt: skip
        self._wait_for(server)
        watcher = subprocess.Popen(
            self.lab.on_the_network(sys.executable, EC2),
            env=self._environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        hosts = threading.Thread(target=self._follow, args=[watcher])
        hosts.start()
        try:
            yield
        finally:
            watcher.kill()
            hosts.join()
            watcher.communicate()
            server.kill()
            server.wait()
            log.close()

    def _follow(self, watcher: subprocess.Popen[str]) -> None:
        assert watcher.stdout is not None
        for line in watcher.stdout:
            fact = json.loads(line)
            if fact["event"] == "begins":
                self._authorize()
                private, public = fact["addresses"]
                self.lab.boot(fact["name"], f"{private}/32", *([f"{public}/32"] if public else []))
                provision(self.lab, fact["name"], self.packages)
            else:
                self.lab.halt(fact["name"])
            fact["time"] = time.monotonic()
            self.seen.append(fact)

    def _authorize(self) -> None:
        """Let in the key that `ray up` has made, as EC2 does with what is registered there."""
        (key,) = (self.lab.home("laptop") / ".ssh").glob("ray-autoscaler*.pem")
        made = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True)
        self.lab.authorize(made.stdout)

    def _wait_for(self, server: subprocess.Popen[bytes]) -> None:
        ask = f"import urllib.request as u; u.urlopen('http://{HUB}:{PORT}/moto-api/', timeout=5)"
        command = self.lab.on_the_network(sys.executable, "-c", ask)
        while subprocess.run(command, capture_output=True).returncode:
            assert server.poll() is None, (self.lab.folder / "moto.log").read_text()
            time.sleep(0.2)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **AWS, "PYTHONPATH": str(self.packages)}
