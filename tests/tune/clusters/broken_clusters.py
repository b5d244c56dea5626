"""Faults planted in the cluster files that ship: one a row, with what must be told of it."""

from __future__ import annotations

from dataclasses import dataclass

from shipped_clusters import AWS, FIXED, KUBE


@dataclass(frozen=True)
class Broken:
    """One fault: what is written in place of what, the field it is found at, and words told."""

    file: str
    before: str
    after: str
    field: str
    what: str
    remedy: str
    level: str = "problem"


BROKEN = {
    # Keys and values
    "unknown key": Broken(
        FIXED, "head_setup_commands:", "head_setup_command:",
        "head_setup_command", "nobody reads", "did you mean 'head_setup_commands'",
    ),
    "unknown key of a provider": Broken(
        FIXED, "worker_ips:", "workers_ips:", "provider.workers_ips", "nobody reads",
        "'worker_ips'"
    ),
    "wrong type": Broken(
        AWS, "idle_timeout_minutes: 10", "idle_timeout_minutes: -1",
        "idle_timeout_minutes", "not 0 or more", "write 0 or more",
    ),
    "no setup commands": Broken(
        AWS, "\nsetup_commands:", "\nrsync_filter: [x]\nhead_setup_commands_:",
        "setup_commands", "is missing", "write it out",
    ),
    "node types of fixed machines": Broken(
        FIXED, "\nhead_setup_commands: []", "\navailable_node_types: {}",
        "available_node_types", "belongs to clouds", "provider.worker_ips",
    ),
    "colon in the name": Broken(
        FIXED, "cluster_name: refkd", "cluster_name: 'ref:kd'", "cluster_name", "breaks paths",
        "letters"
    ),
    # Hosts
    "placeholder": Broken(
        FIXED, "192.168.1.10", "YOUR_HEAD_IP", "provider.head_ip", "placeholder", "own address"
    ),
    "address of documentation": Broken(
        FIXED, "192.168.1.11", "192.0.2.11", "provider.worker_ips[0]", "placeholder", "own address"
    ),
    "worker twice": Broken(
        FIXED, "192.168.1.12", "192.168.1.11", "provider.worker_ips[1]", "stands twice", "once"
    ),
    "head among workers": Broken(
        FIXED, "192.168.1.12", "192.168.1.10", "provider.worker_ips[1]", "the head as well", "once"
    ),
    "no worker": Broken(
        FIXED, "[192.168.1.11, 192.168.1.12]", "[]", "provider.worker_ips", "no machine", "list"
    ),
    "port of a host": Broken(
        FIXED, "192.168.1.12]", "'w2:2222']", "provider.worker_ips[1]", "names a port", "remove"
    ),
    "too few fixed machines": Broken(
        FIXED, "\nauth:", "\nmax_workers: 1\nauth:", "max_workers", "differs from the 2", "remove"
    ),
    # Files of the launcher
    "missing file": Broken(
        FIXED, '"./mlflow"', '"./mlfow"', "file_mounts.~/refkd-files/mlflow", "not there", "exists"
    ),
    "missing wheel folder": Broken(
        AWS, '"./dist"', '"./other/dist"', "file_mounts.~/refkd-files/wheels", "not there",
        "make wheel"
    ),
    "missing key": Broken(
        FIXED, "key: ~/.ssh/refkd-cluster", "key: ~/.ssh/none", "auth.ssh_private_key",
        "not there", "ssh-keygen"
    ),
    "no token mounted": Broken(
        FIXED, '"~/.ray/auth_token": "~/.ray/auth_token"', '"~/x": "./mlflow"',
        "file_mounts.~/.ray/auth_token", "no common token", "add the line",
    ),
    "token elsewhere that is not there": Broken(
        AWS, '"~/.ray/auth_token": "~/.ray/auth_token"', '"~/.ray/auth_token": "~/token"',
        "file_mounts.~/.ray/auth_token", "token is not there", "get-auth-token --generate",
    ),
    # How Ray is started
    "no token on the head": Broken(
        FIXED, "export RAY_AUTH_MODE=token RAY_enable", "export RAY_enable",
        "head_start_ray_commands[1]", "without a token", "RAY_AUTH_MODE=token",
    ),
    "token switched off on workers": Broken(
        AWS, "OMP_NUM_THREADS; export RAY_AUTH_MODE=token;",
        "OMP_NUM_THREADS; export RAY_AUTH_MODE=disabled;",
        "worker_start_ray_commands[1]", "without a token", "RAY_AUTH_MODE=token",
    ),
    "token unknown to the driver": Broken(
        FIXED, ":$PATH RAY_AUTH_MODE=token", ":$PATH",
        "setup_commands", "leave RAY_AUTH_MODE out", "~/.bashrc",
    ),
    "dashboard open": Broken(
        AWS, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0",
        "head_start_ray_commands[1]", "loopback", "--dashboard-host=127.0.0.1",
    ),
    "no autoscaling file": Broken(
        AWS, "    --autoscaling-config=~/ray_bootstrap_config.yaml\n", "",
        "head_start_ray_commands[1]", "knows no workers", "--autoscaling-config",
    ),
    "second autoscaler": Broken(
        FIXED, " RAY_enable_autoscaler_v2=0", "",
        "head_start_ray_commands[1]", "one fixed machine too few", "RAY_enable_autoscaler_v2=0",
    ),
    "one thread": Broken(
        AWS, "unset OMP_NUM_THREADS;\n", "true;\n",
        "head_start_ray_commands[1]", "one thread", "unset OMP_NUM_THREADS",
    ),
    "another port": Broken(
        FIXED, "$RAY_HEAD_IP:6379", "$RAY_HEAD_IP:6380",
        "worker_start_ray_commands[1]", "another port", "$RAY_HEAD_IP:6379",
    ),
    "no head address": Broken(
        FIXED, "--address=$RAY_HEAD_IP:6379", "--address=auto",
        "worker_start_ray_commands[1]", "where the head is", "$RAY_HEAD_IP",
    ),
    "Ray not stopped": Broken(
        FIXED, "worker_start_ray_commands:\n  - ray stop\n", "worker_start_ray_commands:\n",
        "worker_start_ray_commands[0]", "earlier launch", "ray stop",
    ),
    # Doors
    "MLflow open": Broken(
        FIXED, "REFKD_WORKSPACE=", "REFKD_HOST=0.0.0.0 REFKD_WORKSPACE=",
        "head_start_ray_commands[2]", "outside the head", "ray attach",
    ),
    "written password": Broken(
        AWS, "REFKD_WORKSPACE=", "MLFLOW_AUTH_ADMIN_PASSWORD=hunter2hunter2 REFKD_WORKSPACE=",
        "head_start_ray_commands[2]", "secret written", "file_mounts",
    ),
    "Ray's own security group": Broken(
        AWS,
        "      SecurityGroupIds: [*security_group]\n"
        "      MetadataOptions: {HttpTokens: required}\n"
        "      BlockDeviceMappings:\n        - DeviceName: /dev/sda1\n"
        "          Ebs: {VolumeSize: 100, VolumeType: gp3, Encrypted: true}\n  gpu_spot:",
        "  gpu_spot:",
        "available_node_types.head.node_config.SecurityGroupIds", "SSH from everywhere",
        "your own",
    ),
    "group open to the world": Broken(
        AWS, "  cache_stopped_nodes: false",
        "  cache_stopped_nodes: false\n  security_group: {IpPermissions: "
        "[{FromPort: 8265, ToPort: 8265, IpProtocol: tcp, IpRanges: [{CidrIp: 0.0.0.0/0}]}]}",
        "provider.security_group.IpPermissions[0]", "whole world", "own address",
    ),
    # Versions
    "version of its own": Broken(
        AWS, "# - ~/refkd-env/bin/pip install --constraint ~/refkd-files/constraints.txt",
        "- ~/refkd-env/bin/pip install 'ray[default]==2.50.0' #",
        "setup_commands[4]", "differs from 2.60.0", "ray==2.60.0",
    ),
    "no version": Broken(
        AWS, "boto3==1.44.5\nworker", "boto3\nworker",
        "head_setup_commands[0]", "no exact version", "boto3==VERSION",
    ),
    "without the lock": Broken(
        FIXED, "    --constraint ~/refkd-files/constraints.txt\n    \"$", "    \"$",
        "setup_commands[2]", "ranges allow", "constraints.txt",
    ),
    "a nightly": Broken(
        FIXED, '"$(ls ~/refkd-files/wheels/refkd-*.whl)[tune,postgres,auth]"',
        '"$(ls ~/refkd-files/wheels/refkd-*.whl)[tune]" "ray @ https://host/ray-3.0.0.dev0.whl"',
        "setup_commands[2]", "comes from an address", "ray==2.60.0",
    ),
    # Storage
    "no shared folder": Broken(
        FIXED, "  shared: /shared/refkd", "  share: /shared/refkd",
        "metadata.shared", "is missing", "machines share",
    ),
    "a machine's own folder": Broken(
        FIXED, "shared: /shared/refkd", "shared: /tmp/refkd", "metadata.shared", "own",
        "network file"
    ),
    "folder that nobody mounts": Broken(
        AWS, "shared: /shared/refkd", "shared: /data/refkd",
        "metadata.shared", "mounted by no command", "initialization_commands",
    ),
    # AWS
    "key of EC2": Broken(
        AWS, "      InstanceType: *worker", "      InstancType: *worker",
        "available_node_types.gpu_spot.node_config.InstancType", "nobody reads", "'InstanceType'",
    ),
    "market": Broken(
        AWS, "MarketType: spot", "MarketType: spott",
        "available_node_types.gpu_spot.node_config.InstanceMarketOptions.MarketType",
        "no market", "spot",
    ),
    "placeholder image": Broken(
        AWS, "&image ami-0123456789abcdef0", "&image ami-latest",
        "available_node_types.head.node_config.ImageId", "nothing that EC2 knows", "hexadecimal",
    ),
    "zone of another region": Broken(
        AWS, "us-west-2c", "us-east-1c", "provider.availability_zone", "another region",
        "us-west-2a"
    ),
    "trials on the head": Broken(
        AWS, "{CPU: 0}", "{CPU: 2}", "available_node_types.head.resources", "on the head",
        "{CPU: 0}"
    ),
    "unknown head": Broken(
        AWS, "head_node_type: head", "head_node_type: hed", "head_node_type", "none of",
        "head, gpu_spot"
    ),
    "more than the top": Broken(
        AWS, "    max_workers: 8", "    max_workers: 16",
        "available_node_types.gpu_spot.max_workers", "at the top", "raise",
    ),
    "stopped spot machines": Broken(
        AWS, "cache_stopped_nodes: false", "cache_stopped_nodes: true",
        "provider.cache_stopped_nodes", "spot market", "false",
    ),
    "container without image": Broken(
        AWS, "\nupscaling_speed", "\ndocker: {container_name: refkd}\nupscaling_speed",
        "docker.image", "is missing", "name the image",
    ),
    # Kubernetes
    "key of KubeRay": Broken(
        KUBE, "minReplicas", "minReplica", "spec.workerGroupSpecs[0].minReplica", "nobody",
        "minReplicas"
    ),
    "key of a container": Broken(
        KUBE, "image: &image", "imagee: &image",
        "spec.headGroupSpec.template.spec.containers[0].imagee", "nobody reads", "'image'",
    ),
    "pods without a token": Broken(
        KUBE, "mode: token", "mode: disabled", "spec.authOptions.mode", "without a token",
        "mode: token"
    ),
    "head open": Broken(
        KUBE, "serviceType: ClusterIP", "serviceType: LoadBalancer",
        "spec.headGroupSpec.serviceType", "world outside", "port-forward",
    ),
    "dashboard of a pod": Broken(
        KUBE, "dashboard-host: 127.0.0.1", "dashboard-host: 0.0.0.0",
        "spec.headGroupSpec.rayStartParams.dashboard-host", "loopback", "127.0.0.1",
    ),
    "MLflow of a pod": Broken(
        KUBE, "REFKD_HOST, value: 127.0.0.1", "REFKD_HOST, value: 0.0.0.0",
        "spec.headGroupSpec.template.spec.containers[1].env[2]", "outside the head", "127.0.0.1",
    ),
    "another Ray": Broken(
        KUBE, "rayVersion: 2.60.0", "rayVersion: 2.59.1", "spec.rayVersion", "differs", "2.60.0"
    ),
    "image without version": Broken(
        KUBE, "&image refkd:0.1.0", "&image registry.host:5000/refkd",
        "spec.headGroupSpec.template.spec.containers[0].image", "no exact version", "tag",
    ),
    "no network policy": Broken(
        KUBE, "kind: NetworkPolicy", "kind: ConfigMap", "metadata.name", "NetworkPolicy", "ships"
    ),
    "claim for one machine": Broken(
        KUBE, "[ReadWriteMany]", "[ReadWriteOnce]",
        "PersistentVolumeClaim.spec.accessModes", "one machine", "ReadWriteMany",
    ),
    "replicas": Broken(
        KUBE, "maxReplicas: 8", "maxReplicas: 0",
        "spec.workerGroupSpecs[0].maxReplicas", "no pod", "at least 1",
    ),
    "pods that never come": Broken(
        KUBE, "enableInTreeAutoscaling: true", "enableInTreeAutoscaling: false",
        "spec.enableInTreeAutoscaling", "no pod come", "true",
    ),
}  # fmt: skip
