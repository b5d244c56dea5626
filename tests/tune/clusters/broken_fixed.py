"""Faults planted in the file for machines of one's own, beyond those that all files share."""

from __future__ import annotations

from broken_clusters import Broken
from shipped_clusters import FIXED

HEAD, WORKERS = "provider.head_ip", "provider.worker_ips"
HEAD_START, WORKER_START = "head_start_ray_commands[1]", "worker_start_ray_commands[1]"
PROFILE = "grep -qs refkd.sh ~/.bashrc || echo '. ~/.refkd.sh'"


def address(written: str, what: str = "no address") -> Broken:
    """Return a fault of the first worker's address."""
    return Broken(FIXED, "[192.168.1.11,", f"['{written}',", f"{WORKERS}[0]", what, "address")


def option(written: str, what: str, remedy: str, *, level: str = "problem") -> Broken:
    """Return a fault of an option of the head's `ray start`."""
    return Broken(
        FIXED, "start --head", f"start {written} --head", HEAD_START, what, remedy, level
    )


BROKEN_FIXED = {
    "workers are a number": Broken(
        FIXED, "[192.168.1.11, 192.168.1.12]", "5", WORKERS, "not a list", "write a list"
    ),
    "no name": Broken(
        FIXED, "cluster_name: refkd", "cluster_name:", "cluster_name", "is empty", "text",
    ),
    "a number beyond a byte": address("192.168.1.300"),
    "three numbers": address("192.168.11"),
    "a range": address("192.168.1.11-15"),
    "letters for numbers": address("x.x.x.x", "placeholder"),
    "a letter for a number": address("192.168.1.x", "placeholder"),
    "two dots": address("gpu..lan"),
    "a group of addresses": address("224.0.0.1", "another machine"),
    "half of IPv6": address("fe80:::1"),
    "head on the loopback": Broken(
        FIXED, "192.168.1.10", "127.0.0.1", HEAD, "another machine", "reach",
    ),
    "head anywhere": Broken(FIXED, "192.168.1.10", "0.0.0.0", HEAD, "another machine", "reach"),
    "head by the name of all": Broken(
        FIXED, "192.168.1.10", "LocalHost", HEAD, "another machine", "reach",
    ),
    "worker twice in capitals": Broken(
        FIXED, "[192.168.1.11, 192.168.1.12]", "[gpu-a.lan, GPU-A.lan]", f"{WORKERS}[1]", "twice",
        "once",
    ),
    # Access
    "no user": Broken(
        FIXED, "  ssh_user: ubuntu\n", "", "auth.ssh_user", "is missing", "name the user",
    ),
    "placeholder of a user": Broken(
        FIXED, ": ubuntu", ": YOUR_USER", "auth.ssh_user", "placeholder", "user",
    ),
    "no key": Broken(
        FIXED, "  ssh_private_key:", "  # ssh_private_key:", "auth.ssh_private_key",
        "cannot reach the workers", "refkd-cluster",
    ),
    "public key": Broken(
        FIXED, "key: ~/.ssh/refkd-cluster", "key: ~/.ssh/refkd-cluster.pub",
        "auth.ssh_private_key", "public half", "write ~/.ssh/refkd-cluster",
    ),
    "personal key": Broken(
        FIXED, "key: ~/.ssh/refkd-cluster", "key: ~/.ssh/id_ed25519", "auth.ssh_private_key",
        "copied to the head", "for this cluster alone", "note",
    ),
    # Paths
    "path of no mount": Broken(
        FIXED, "sh ~/refkd-files/mlflow/head.sh", "sh ~/refkd-files/scripts/head.sh",
        "head_start_ray_commands[2]", "none of file_mounts", "mount it"
    ),
    "TLS of no mount": Broken(
        FIXED, "touch /shared", "test -d ~/.ray/tls/ca && touch /shared", "setup_commands[6]",
        "none of file_mounts", "mount it"
    ),
    "file that is not in its folder": Broken(
        FIXED, "mlflow/head.sh", "mlflow/hed.sh", "head_start_ray_commands[2]",
        "is not in ./mlflow", "exists",
    ),
    "another folder is shared": Broken(
        FIXED, "shared: /shared/refkd", "shared: /data/refkd", "setup_commands[6]",
        "not in metadata.shared", "touch /data/refkd/.writable",
    ),
    "MLflow in another folder": Broken(
        FIXED, "shared: /shared/refkd", "shared: /data/refkd", "head_start_ray_commands[2]",
        "not in metadata.shared", "/data/refkd/mlflow"
    ),
    "MLflow above the shared folder": Broken(
        FIXED, "REFKD_WORKSPACE=/shared/refkd/mlflow", "REFKD_WORKSPACE=/shared/refkd/../mlflow",
        "head_start_ray_commands[2]", "not in metadata.shared", "/shared/refkd/mlflow"
    ),
    "MLflow at home": Broken(
        FIXED, "REFKD_WORKSPACE=/shared/refkd/mlflow", "REFKD_WORKSPACE=/var/tmp/mlflow",
        "head_start_ray_commands[2]", "lost with the head", "/shared/refkd/mlflow", "note"
    ),
    "everything is shared": Broken(
        FIXED, "shared: /shared/refkd", "shared: /", "metadata.shared", "own, not shared",
        "network",
    ),
    "everything is shared by a detour": Broken(
        FIXED, "shared: /shared/refkd", "shared: /shared/../tmp/x", "metadata.shared",
        "own, not shared", "network",
    ),
    # Options
    "unknown option": option("--num-cpu=4", "no option of `ray start`", "--num-cpus"),
    "option of nothing": option("--wibble", "no option of `ray start`", "remove it"),
    "CPUs that are no number": option("--num-cpus=two", "is no number", "--num-cpus=4"),
    "GPUs that are no number": option("--num-gpus one", "is no number", "--num-gpus=4"),
    "client's port": option(
        "--ray-client-server-port=10001", "opens a further port", "remove it", level="note",
    ),
    "a comment that swallows Ray": Broken(
        FIXED, "    ulimit -n 65536;\n    unset", "    ulimit -n 65536; # files\n    unset",
        "head_start_ray_commands", "starts no Ray", "remove the #"
    ),
    # The token
    "token after the start": Broken(
        FIXED, "export RAY_AUTH_MODE=token;\n    ray start --address=$RAY_HEAD_IP:6379",
        "ray start --address=$RAY_HEAD_IP:6379; export RAY_AUTH_MODE=token; true",
        WORKER_START, "without a token", "before `ray start`"
    ),
    "token unset again": Broken(
        FIXED, "OMP_NUM_THREADS; export RAY_AUTH_MODE=token;",
        "OMP_NUM_THREADS; export RAY_AUTH_MODE=token; unset RAY_AUTH_MODE;",
        WORKER_START, "without a token", "before `ray start`"
    ),
    "token off in the shell": Broken(
        FIXED, "$PATH RAY_AUTH_MODE=token", "$PATH RAY_AUTH_MODE=disabled",
        "setup_commands[4]", "switches the token off", "RAY_AUTH_MODE=token"
    ),
    "token of the shell not exported": Broken(
        FIXED, "'export PATH=", "'PATH=", "setup_commands[4]", "without `export`",
        "export RAY_AUTH_MODE=token",
    ),
    "a profile that nobody reads": Broken(
        FIXED, PROFILE, PROFILE.replace("refkd", "other"), "setup_commands",
        "leave RAY_AUTH_MODE out", "~/.bashrc",
    ),
    "token open on the machines": Broken(
        FIXED, "chmod 700 ~/.ray && chmod 600 ~/.ray/auth_token", "chmod 700 ~/.ray",
        "setup_commands", "as open to others", "chmod 600", "note",
    ),
    "another file for the token": Broken(
        FIXED, ': "~/.ray/auth_token"', ': "./constraints.txt"', "file_mounts.~/.ray/auth_token",
        "holds no token", '"~/.ray/auth_token": "~/.ray/auth_token"'
    ),
    # TLS
    "TLS at the head alone": Broken(
        FIXED, "export RAY_AUTH_MODE=token RAY_enable",
        "export RAY_USE_TLS=1 RAY_AUTH_MODE=token RAY_enable", "worker_start_ray_commands",
        "which head_start_ray_commands set", "or nowhere",
    ),
    "TLS at workers alone": Broken(
        FIXED, "OMP_NUM_THREADS; export RAY_AUTH_MODE=token;",
        "OMP_NUM_THREADS; export RAY_AUTH_MODE=token RAY_USE_TLS=1;", "setup_commands",
        "which worker_start_ray_commands set", "or nowhere",
    ),
    "TLS in the shell alone": Broken(
        FIXED, "$PATH RAY_AUTH_MODE=token", "$PATH RAY_USE_TLS=1 RAY_AUTH_MODE=token",
        "head_start_ray_commands", "which setup_commands set", "or nowhere"
    ),
}  # fmt: skip
