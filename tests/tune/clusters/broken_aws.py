"""Faults planted in the file for AWS, beyond those that all files share."""

from __future__ import annotations

from broken_clusters import Broken
from shipped_clusters import AWS

SPOT, HEAD = "available_node_types.gpu_spot", "available_node_types.head"
MOUNT = "initialization_commands[2]"
SYSTEM = "fs-0123456789abcdef0.efs.us-west-2.amazonaws.com:/ /shared"
ZONES = "us-west-2a,us-west-2b,us-west-2c"


def config(written: str, field: str, what: str, remedy: str) -> Broken:
    """Return a fault of the workers' node_config."""
    return Broken(
        AWS, "      InstanceType: *worker", f"      {written}\n      InstanceType: *worker",
        f"{SPOT}.node_config.{field}", what, remedy
    )  # fmt: skip


BROKEN_AWS = {
    # What cannot be counted
    "workers that are no number": Broken(
        AWS, "    max_workers: 8", "    max_workers: many", f"{SPOT}.max_workers",
        "not a whole number", "whole number",
    ),
    "workers that are empty": Broken(
        AWS, "    max_workers: 8", "    max_workers:", f"{SPOT}.max_workers", "is empty",
        "whole number",
    ),
    "top that is no number": Broken(
        AWS, "\nmax_workers: 8", "\nmax_workers: many", "max_workers", "not a whole number",
        "whole number",
    ),
    "CPUs in quotes": Broken(
        AWS, "{CPU: 4, GPU: 1}", '{CPU: "4"}', f"{SPOT}.resources.CPU", "not a whole number",
        "whole number",
    ),
    "GPUs in quotes": Broken(
        AWS, "{CPU: 4, GPU: 1}", '{GPU: "1"}', f"{SPOT}.resources.GPU", "not a whole number",
        "whole number",
    ),
    "resources in small letters": Broken(
        AWS, "{CPU: 4, GPU: 1}", "{cpu: 4, GPU: 1}", f"{SPOT}.resources.cpu", "no trial asks for",
        "write CPU",
    ),
    "head type that is a list": Broken(
        AWS, "head_node_type: head", "head_node_type: [head]", "head_node_type", "not text",
        "write text",
    ),
    "type without resources": Broken(
        AWS, "    resources: {CPU: 4, GPU: 1}", "    # ", f"{SPOT}.resources", "is missing",
        "write it out",
    ),
    "fewer than the least": Broken(
        AWS, "min_workers: 0\n    max_workers: 8", "min_workers: 4\n    max_workers: 2",
        f"{SPOT}.max_workers", "less than min_workers, which is 4", "lower min_workers"
    ),
    # Regions
    "zone that is none": Broken(
        AWS, ZONES, "us-west-2x1", "provider.availability_zone", "no zone of us-west-2",
        "us-west-2a",
    ),
    "a region for a zone": Broken(
        AWS, ZONES, "us-west-2", "provider.availability_zone", "no zone of us-west-2", "us-west-2a"
    ),
    "zones in a list": Broken(
        AWS, ZONES, "[us-west-2a, us-west-2b]", "provider.availability_zone", "not text",
        "us-west-2a,us-west-2b",
    ),
    "misspelt region": Broken(
        AWS, "region: us-west-2", "region: us-wset-2", "provider.region", "no region", "us-west-2"
    ),
    "no region": Broken(
        AWS, "  region: us-west-2", "  # region:", "provider.region", "is missing", "us-west-2",
    ),
    "file system of another region": Broken(
        AWS, SYSTEM, SYSTEM.replace("us-west-2", "us-east-1"), MOUNT, "lies in us-east-1",
        "provider.region",
    ),
    "file system of dots": Broken(
        AWS, SYSTEM, "fs-….efs.us-west-2.amazonaws.com:/ /shared", MOUNT, "no file system",
        "your own",
    ),
    "placeholder of a file system": Broken(
        AWS, SYSTEM, "<your-fs>:/ /shared", MOUNT, "no file system", "your own",
    ),
    "file system mounted elsewhere": Broken(
        AWS, SYSTEM, SYSTEM.replace(" /shared", " /data"), "metadata.shared",
        "mounted by no command", "mount",
    ),
    # EC2
    "market that is a word": Broken(
        AWS, "{MarketType: spot}", "spot", f"{SPOT}.node_config.InstanceMarketOptions",
        "not a section", "{MarketType: spot}",
    ),
    "nothing to hear of the end": Broken(
        AWS,
        "MetadataOptions: {HttpTokens: required}\n      BlockDeviceMappings:\n"
        "        - DeviceName: /dev/sda1\n"
        "          Ebs: {VolumeSize: 100, VolumeType: gp3, Encrypted: true}\n\nfile_mounts",
        "MetadataOptions: {HttpEndpoint: disabled}\n\nfile_mounts",
        f"{SPOT}.node_config.MetadataOptions.HttpEndpoint", "hears of its end", "remove it",
    ),
    "no watcher": Broken(
        AWS, "tune.execution.preemption", "tune.execution.sport", "worker_start_ray_commands",
        "hear of its end", "python -m tune.execution.preemption", "note",
    ),
    "groups that are a text": Broken(
        AWS, "SecurityGroupIds: [*security_group]", "SecurityGroupIds: *security_group",
        f"{HEAD}.node_config.SecurityGroupIds", "not a list",
        "SecurityGroupIds: [sg-0123456789abcdef0]",
    ),
    "pair without its key": config(
        "KeyName: mine", "KeyName", "without auth.ssh_private_key", "remove KeyName",
    ),
    "key without its pair": Broken(
        AWS, "  ssh_user: ubuntu", "  ssh_private_key: ~/.ssh/refkd-cluster\n  ssh_user: ubuntu",
        f"{SPOT}.node_config.KeyName", "is missing beside", "remove auth.ssh_private_key"
    ),
    "no user of an image": Broken(
        AWS, "  ssh_user: ubuntu", "  ssh_proxy_command: nc", "auth.ssh_user", "is missing",
        "name the user",
    ),
    "no image": Broken(
        AWS, "      ImageId: *image\n", "", f"{HEAD}.node_config.ImageId", "is missing", "ami-",
    ),
}  # fmt: skip
