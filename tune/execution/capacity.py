"""How many trials a machine or a GPU carries at a time, measured on a few steps of one."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from refkd.config import Config
from refkd.errors import RefKDError
from tune.config.limits import Resources
from tune.config.study_file import StudyFile
from tune.execution.cluster import Machine
from tune.execution.footprint import Taken, measure_largest

MARGIN = 0.9
"""Share of the memory that trials may take together."""


class Share(Config):
    """How many trials fit on one device, and the two bounds of that."""

    taken: Taken
    by_memory: int
    by_time: int
    """By the GPU's time, or by a machine's cores."""
    trials: int
    """At a time on one GPU, or on one machine without; 0 where not even one fits."""
    resources: Resources
    """What a trial should ask for."""
    workers: int
    """Trials at a time on all machines, of those that may come one a kind."""


def measure(file: StudyFile, machines: Sequence[Machine]) -> Share:
    """Train the largest of some drawn students for a few steps and return what fits.

    Ray places it, where there are GPUs on a whole one. Raises `RefKDError` where trials ask for a
    GPU and no machine has one, or where the student cannot be trained.
    """
    gpus = [machine for machine in machines if machine.get("GPU", 0.0) >= 1]
    if not all(machines) and not (gpus or any(machine.get("CPU") for machine in machines)):
        raise RefKDError(
            "no machine for trials is there yet, and nothing is known of those that may come: "
            "have one started, such as by minReplicas: 1, and ask again"
        )
    if file.resources.gpu and not gpus:
        raise RefKDError(
            f"resources.gpu is {file.resources.gpu:g}, but no machine has a GPU: set it to 0, or "
            "give the --address of a cluster that has some"
        )
    wanted = {"num_cpus": file.resources.cpu, "num_gpus": 1 if gpus else 0, "max_retries": 0}
    task = ray.remote(**wanted)(measure_largest)  # type: ignore[call-overload]
    try:
        study = file.model_dump(mode="json", by_alias=True)
        taken: Taken = ray.get(task.remote(study, bool(gpus)))
    except ray.exceptions.RayError as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise RefKDError(f"a student of {file.name} cannot be trained there: {reason}") from None
    return share_of(taken, file.resources, gpus or machines)


def share_of(taken: Taken, resources: Resources, machines: Sequence[Machine]) -> Share:
    """Return how many trials fit; `machines` are those that have such a device."""
    by_memory = int(MARGIN * taken.capacity / max(taken.memory, 1))
    if taken.device == "cpu":
        fitting = [int(machine.get("CPU", 0.0) / resources.cpu) for machine in machines]
        by_time, share = max(fitting), 0.0
        trials = min(by_memory, by_time)
        workers = sum(min(by_memory, trials_there) for trials_there in fitting)
    else:
        by_time = max(1, int(1 / max(taken.busy, 1e-3)))
        trials = min(by_memory, by_time)
        share = int(1e4 / max(trials, 1)) / 1e4  # Ray counts in ten thousandths
        workers = trials * int(sum(machine.get("GPU", 0.0) for machine in machines))
    return Share(
        taken=taken,
        by_memory=by_memory,
        by_time=by_time,
        trials=trials,
        resources=resources.model_copy(update={"gpu": share}),
        workers=workers,
    )
