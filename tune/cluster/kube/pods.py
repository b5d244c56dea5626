"""The pods of a RayCluster: their images, their variables, and what they may do to a node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from tune.cluster.findings import Fault, Faults, Keys
from tune.cluster.hosts import is_placeholder
from tune.cluster.kube.keys import containers, groups
from tune.cluster.secret import secret_in, texts
from tune.cluster.source import ClusterFile, items, section, value_at
from tune.cluster.starts import LOOPBACK
from tune.cluster.storage import within

_RAY_IMAGE = re.compile(r"(?:.*/)?ray(?:-ml|-llm)?:(\d+\.\d+\.\d+)")
_SECRET = "take it from a secret by valueFrom: {secretKeyRef: ...}"
_FORWARD = "use kubectl port-forward"


def check_pods(
    file: ClusterFile, locked: Mapping[str, str], shared: PurePosixPath | None
) -> Faults:
    """Yield images and variables that are wrong, secrets written out, and pods with power."""
    yield from _images(file, locked)
    for keys, container in containers(file):
        for position, variable in enumerate(map(section, items(container, "env"))):
            yield from _variable((*keys, "env", position), variable, shared)
        yield from _power(keys, container)
    for group in groups(file):
        pod: Keys = (*group, "template", "spec")
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if value_at(file.content, (*pod, key)):
                what = "puts the pod on its node's own network or processes, past every policy"
                yield Fault((*pod, key), True, what, "remove it")
    for document in (file.main, *file.others):
        other = None if document is file.main else document
        if document.content.get("kind") == "Secret":
            what = "is a Secret written into the file"
            remedy = "make it by kubectl create secret"
            yield Fault(("kind",), "Secret", what, remedy, document=other)
            continue
        for keys, text in texts(document.content):
            secret = secret_in(text)
            if secret:
                what = "is a secret written into the file"
                yield Fault(keys, secret, what, _SECRET, document=other)


def _variable(place: Keys, variable: Mapping[str, Any], shared: PurePosixPath | None) -> Faults:
    name, value = variable.get("name"), variable.get("value")
    if name == "REFKD_HOST" and value not in LOOPBACK:
        what = "lets MLflow's server listen outside the head"
        yield Fault(place, value, what, f"write 127.0.0.1, and {_FORWARD}")
    if name == "REFKD_AUTH" and str(value).lower() == "none":
        what = "lets MLflow's server ask for no password"
        yield Fault(place, value, what, "write value: basic")
    if name == "RAY_AUTH_MODE" and value != "token":
        what = "starts Ray without a token: whoever reaches a pod runs code there"
        yield Fault(place, value, what, "remove it; the operator sets it by authOptions")
    if name == "REFKD_WORKSPACE" and shared and not within(str(value), shared):
        what = f"is not in {shared}, which the pods share: it is lost with the pod"
        yield Fault(place, value, what, f"write {shared}/mlflow")
    if value is not None and not isinstance(value, str):
        what = "is no text, and Kubernetes takes nothing else"
        yield Fault((*place, "value"), f"{name}", what, "put the value into quotes")


def _power(keys: Keys, container: Mapping[str, Any]) -> Faults:
    if section(container, "securityContext").get("privileged"):
        what = "lets whoever runs code in the pod rule its node"
        yield Fault((*keys, "securityContext", "privileged"), True, what, "remove it")
    for position, port in enumerate(map(section, items(container, "ports"))):
        if "hostPort" in port:
            place: Keys = (*keys, "ports", position, "hostPort")
            what = "opens a port of the node itself"
            yield Fault(place, port["hostPort"], what, f"remove it, and {_FORWARD}")


def _images(file: ClusterFile, locked: Mapping[str, str]) -> Faults:
    wanted, there = locked.get("ray"), str(value_at(file.content, ("spec", "rayVersion")) or "")
    if wanted and there != wanted:
        yield Fault(
            ("spec", "rayVersion"),
            there,
            f"differs from Ray {wanted} of constraints.txt",
            f"write rayVersion: {wanted}, and build the image with it",
        )
    head = ""
    for keys, container in containers(file):
        image = str(container.get("image") or "")
        yield from _image((*keys, "image"), image, there)
        if keys[-1] == 0 and keys[1] == "headGroupSpec":
            head = image
        elif keys[-1] == 0 and image and head and image != head:
            same = _repository(image) == _repository(head)
            yield Fault(
                (*keys, "image"),
                image,
                f"differs from the head's {head}: Ray and refkd must be the same in both",
                f"write {head}",
                level="problem" if same else "note",
            )


def _image(place: Keys, image: str, ray: str) -> Faults:
    tag, of_ray = image.removeprefix(_repository(image)), _RAY_IMAGE.match(image)
    if not image or is_placeholder(image) or re.match(r"[^/:]*[A-Z]", _repository(image)):
        yield Fault(place, image, "is a placeholder", "name the image you built")
    elif tag in ("", ":latest"):
        yield Fault(place, image, "has no exact version", "add a tag such as :0.1.0")
    elif of_ray and of_ray[1] != ray:
        yield Fault(place, image, f"holds another Ray than rayVersion {ray}", "write the same")
    elif "/" not in image and place[-2:] == (0, "image") and place[1] == "headGroupSpec":
        yield Fault(
            place,
            image,
            "names no registry: nodes look for it on Docker Hub, unless it was loaded into them",
            "write REGISTRY/IMAGE:TAG, the name under which you pushed it",
            level="note",
        )


def _repository(image: str) -> str:
    """Return an image's name without its tag and digest."""
    folder, slash, name = image.rpartition("/")
    return folder + slash + re.split("[:@]", name)[0]
