"""Tell what machines a cloud wants to run: a line of JSON for each that begins or ends.

Runs beside moto's server, which plays EC2 but has no machines behind its instances.
"""

from __future__ import annotations

import json
import sys
import time

import boto3

ec2 = boto3.client("ec2")
alive: set[str] = set()


def tell(event: str, instance: dict) -> None:
    facts = {
        "event": event,
        "name": instance["InstanceId"][-8:],
        "id": instance["InstanceId"],
        "addresses": [instance["PrivateIpAddress"], instance.get("PublicIpAddress")],
        "type": instance["InstanceType"],
        "market": instance.get("InstanceLifecycle", "on demand"),
    }
    print(json.dumps(facts), flush=True)


def look() -> None:
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            state, number = instance["State"]["Name"], instance["InstanceId"]
            if state in ("pending", "running") and number not in alive:
                alive.add(number)
                tell("begins", instance)
            elif state in ("shutting-down", "terminated") and number in alive:
                alive.remove(number)
                tell("ends", instance)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ec2.terminate_instances(InstanceIds=sys.argv[1:])
    else:
        while True:
            look()
            time.sleep(1)
