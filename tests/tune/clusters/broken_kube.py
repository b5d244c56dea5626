"""Faults planted in the file for Kubernetes, beyond those that all files share."""

from __future__ import annotations

from broken_clusters import Broken
from shipped_clusters import KUBE

GROUP = "spec.workerGroupSpecs[0]"
POD = f"{GROUP}.template.spec.containers[0]"
HEAD = "spec.headGroupSpec.template.spec.containers"
LIMITS = 'limits: {cpu: "4", memory: 16Gi, nvidia.com/gpu: "1"}'
REQUESTS = LIMITS.replace("limits", "requests")
WORKER = "ray-worker\n              image: *image"


def limit(before: str, after: str, name: str, what: str, remedy: str) -> Broken:
    """Return a fault of a worker's limits."""
    return Broken(
        KUBE, LIMITS, LIMITS.replace(before, after), f"{POD}.resources.limits.{name}", what, remedy
    )


def option(before: str, after: str, what: str, remedy: str) -> Broken:
    """Return a fault of the autoscaler's options."""
    field = f"spec.autoscalerOptions.{before.partition(':')[0]}"
    return Broken(KUBE, before, after, field, what, remedy)


BROKEN_KUBE = {
    # Pods that come
    "replicas in quotes": Broken(
        KUBE, " replicas: 0", ' replicas: "0"', f"{GROUP}.replicas", "no whole number",
        "without quotes",
    ),
    "replicas that are empty": Broken(
        KUBE, " replicas: 0", " replicas:", f"{GROUP}.replicas", "is empty", "replicas: 1"
    ),
    "replicas in letters": Broken(
        KUBE, "maxReplicas: 8", "maxReplicas: eight", f"{GROUP}.maxReplicas", "no whole number",
        "maxReplicas: 1",
    ),
    "fewer than none": Broken(
        KUBE, "minReplicas: 0", "minReplicas: -1", f"{GROUP}.minReplicas", "no whole number",
        "minReplicas: 1",
    ),
    "mode of scaling": option(
        "upscalingMode: Default", "upscalingMode: Fast", "none of Default", "upscalingMode:",
    ),
    "another autoscaler": option("version: v2", "version: 2", "none of v1, v2", "version: v2"),
    "idle for a word": option(
        'idleTimeoutSeconds: 600', 'idleTimeoutSeconds: "600"', "whole number", "600",
    ),
    "idle for ever": option(
        "idleTimeoutSeconds: 600", "idleTimeoutSeconds: -1", "whole number", "600",
    ),
    "option of a pod's Ray": Broken(
        KUBE, "rayStartParams: {}", "rayStartParams: {num-gpu: '1'}",
        f"{GROUP}.rayStartParams.num-gpu", "nobody reads", "'num-gpus'",
    ),
    "option that is a number": Broken(
        KUBE, "rayStartParams: {}", "rayStartParams: {num-gpus: 1}",
        f"{GROUP}.rayStartParams.num-gpus", "no text", "quotes",
    ),
    # What they ask for
    "CPUs with a word": limit('cpu: "4"', 'cpu: "4 cores"', "cpu", "no quantity", '"4"'),
    "GPUs in letters": limit('gpu: "1"', 'gpu: "one"', "nvidia.com/gpu", "no quantity", '"1"'),
    "half a GPU": limit('gpu: "1"', 'gpu: "0.5"', "nvidia.com/gpu", "no whole number", '"1"'),
    "memory in GB": limit("16Gi", "16GB", "memory", "no quantity", "16Gi"),
    "memory without a unit": limit("16Gi", "16", "memory", "16 bytes", "unit"),
    "less than asked for": limit("16Gi", "8Gi", "memory", "less than the 16Gi", "16Gi or more"),
    "other GPUs than asked for": limit(
        'gpu: "1"', 'gpu: "2"', "nvidia.com/gpu", "differs from the 1", "same",
    ),
    "GPUs by another name": limit(
        "nvidia.com/gpu", "nvidia/gpu", "nvidia/gpu", "no resource", "'nvidia.com/gpu'",
    ),
    "GPUs by a short name": limit(
        "nvidia.com/gpu", "gpu", "gpu", "no resource", "'nvidia.com/gpu'",
    ),
    "many GPUs": limit(
        "nvidia.com/gpu", "nvidia.com/gpus", "nvidia.com/gpus", "no resource", "'nvidia.com/gpu'",
    ),
    "GPUs asked for alone": Broken(
        KUBE, LIMITS, LIMITS.replace(', nvidia.com/gpu: "1"', ""),
        f"{POD}.resources.limits.nvidia.com/gpu", "differs from the 1", "same number",
    ),
    "asked for in GB": Broken(
        KUBE, REQUESTS, REQUESTS.replace("16Gi", "16GB"), f"{POD}.resources.requests.memory",
        "no quantity", "16Gi",
    ),
    "storage in GB": Broken(
        KUBE, "200Gi", "200GB", "PersistentVolumeClaim.spec.resources.requests.storage",
        "no quantity", "16Gi",
    ),
    "claim that nobody makes": Broken(
        KUBE, "claimName: refkd-shared", "claimName: refkd-share",
        "spec.headGroupSpec.template.spec.volumes", "does not make", "PersistentVolumeClaim",
        "note",
    ),
    # Images
    "workers with another image": Broken(
        KUBE, WORKER, WORKER.replace("*image", "refkd:0.0.9"), f"{POD}.image",
        "differs from the head's", "refkd:0.1.0",
    ),
    "workers of another maker": Broken(
        KUBE, WORKER, WORKER.replace("*image", "host/refkd-gpu:0.1.0"), f"{POD}.image",
        "differs from the head's", "refkd:0.1.0", "note",
    ),
    "image of another Ray": Broken(
        KUBE, "&image refkd:0.1.0", "&image rayproject/ray:2.50.0-gpu", f"{HEAD}[0].image",
        "another Ray", "the same",
    ),
    "placeholder of a registry": Broken(
        KUBE, "&image refkd:0.1.0", "&image REGISTRY/refkd:0.1.0", f"{HEAD}[0].image",
        "placeholder", "you built",
    ),
    "no registry": Broken(
        KUBE, "spec:", "spec:", f"{HEAD}[0].image", "no registry", "REGISTRY/IMAGE:TAG", "note"
    ),
    # Variables, names and kinds
    "MLflow off the share": Broken(
        KUBE, "REFKD_WORKSPACE, value: /shared/refkd/mlflow",
        "REFKD_WORKSPACE, value: /data/mlflow", f"{HEAD}[1].env[0]", "not in /shared/refkd",
        "/shared/refkd/mlflow",
    ),
    "number for a variable": Broken(
        KUBE, 'initial_delay_ms, value: "1000"', "initial_delay_ms, value: 1000",
        f"{HEAD}[0].env[2].value", "is no text", "quotes",
    ),
    "truth for a variable": Broken(
        KUBE, "REFKD_AUTH, value: basic", "REFKD_AUTH, value: yes", f"{HEAD}[1].env[1].value",
        "is no text", "quotes",
    ),
    "an older API": Broken(
        KUBE, "ray.io/v1\n", "ray.io/v1alpha1\n", "apiVersion", "no version", "ray.io/v1"
    ),
    "no name of a cluster": Broken(
        KUBE, "  name: refkd\nspec:\n  rayVersion", "  labels: {}\nspec:\n  rayVersion",
        "metadata.name", "is missing", "refkd",
    ),
    "capitals in a name": Broken(
        KUBE, "  name: refkd\nspec:\n  rayVersion", "  name: RefKD\nspec:\n  rayVersion",
        "metadata.name", "no name", "small letters",
    ),
}  # fmt: skip
