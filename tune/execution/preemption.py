"""Notices that a spot node is about to be taken away, and how its trials leave it.

Run on each spot node beside Ray: `python -m tune.execution.preemption`. It asks EC2's metadata
service (IMDSv2) every few seconds and, once a notice is there, has Ray drain the node: nothing new
is placed on it, and its trials leave it after the epoch they are in. Such a trial has not failed.
`AWS_EC2_METADATA_SERVICE_ENDPOINT` names another address, as for other clients of AWS.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from tenacity import retry, stop_after_delay, wait_fixed

from refkd.errors import RefKDError
from tune import compat

POLL = 5.0
"""Seconds between two questions, as EC2's documentation recommends."""
ENDPOINT = "http://169.254.169.254"
_TOKEN, _NOTICE = "/latest/api/token", "/latest/meta-data/spot/instance-action"


class NodeLeavingError(RefKDError):
    """A trial leaves a node that is about to be taken away."""


def check_node() -> None:
    """Raise `NodeLeavingError` where the node of this worker is being drained."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    if node in compat.draining_nodes():
        raise NodeLeavingError("its node is about to be taken away")


def notice(endpoint: str) -> datetime | None:
    """Return when this machine is taken away; None while nothing is planned.

    Raises `OSError` where the service does not answer, `ValueError` for a notice without a time.
    """
    token = _ask(endpoint + _TOKEN, "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    try:
        text = _ask(endpoint + _NOTICE, "GET", {"X-aws-ec2-metadata-token": token})
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise
    content = json.loads(text)
    if not isinstance(content, dict) or "time" not in content:
        raise ValueError(f"a notice without a time: {text[:200]}")
    end = datetime.fromisoformat(str(content["time"]))
    return end if end.tzinfo else end.replace(tzinfo=UTC)


@retry(stop=stop_after_delay(60), wait=wait_fixed(2), reraise=True)
def drain(end: datetime) -> None:
    """Have Ray drain this node, which goes at `end`: nothing is placed on it any more.

    Repeated for a minute, since a busy head may not answer at once.
    """
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    node = ray.get_runtime_context().get_node_id()
    ray.shutdown()
    left = max(0, round((end - datetime.now(UTC)).total_seconds()))
    program = str(Path(sys.executable).parent / "ray")
    subprocess.run([program, *compat.drain_arguments(node, "spot notice", left)], check=True)


def watch() -> None:
    """Wait for a notice and drain the node; return then."""
    endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", ENDPOINT).rstrip("/")
    printed = answers = f"{endpoint} answers"
    while True:
        end, state = None, answers
        try:
            end = notice(endpoint)
        except (OSError, ValueError) as error:  # it may answer again
            state = f"no notice can be heard from {endpoint}: {error}"
        if state != printed:
            print(state, flush=True)
            printed = state
        if end is not None:
            break
        time.sleep(POLL)
    print(f"this node is taken away at {end.isoformat()}: draining it", flush=True)
    drain(end)


def _ask(url: str, method: str, headers: dict[str, str]) -> str:
    request = urllib.request.Request(url, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=2) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    watch()
