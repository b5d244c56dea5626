"""What a study file names, held against the file before a search is begun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from tune.study.growth import warm_points, with_prior
from tune.study.hub import check_hub
from tune.study.locate import place_of

if TYPE_CHECKING:
    from tune.config.study_file import StudyFile


def check_inputs(file: StudyFile, *, verify: bool) -> None:
    """Raise `RefKDError` where what a study file names does not suit it, before it is begun.

    With `verify` a dataset that is there is read whole, and `DataError` says what is damaged.
    """
    warm_points(file)
    spec, _ = with_prior(file.search_spec(), place_of(file))
    check_hub(spec)
    if file.simulate is None or (isinstance(file.dataset, Path) and file.dataset.exists()):
        check_simulated(file, Dataset.open(file.dataset, anew=verify))


def check_simulated(file: StudyFile, dataset: Dataset) -> None:
    """Raise `RefKDError` where a dataset is not what the study file's `simulate` would make."""
    if file.simulate is None:
        return
    held = dataset.manifest.simulation
    if held is None:
        raise RefKDError(
            f"{dataset.path}: is no simulated dataset, but the study file has a section simulate; "
            "remove the section, or give another path"
        )
    for name, value in file.simulate.model_dump(mode="json").items():
        if name in held and held[name] != value:
            raise RefKDError(
                f"{dataset.path}: was simulated with {name}={held[name]}, the study file's "
                f"simulate.{name} is {value}; give another path, or the settings that it has"
            )


def idle_workers(file: StudyFile, cores: float) -> str | None:
    """Return a sentence where more workers are asked for than can ever run; None else."""
    fit = max(1, int(cores / file.resources.cpu))
    able, why = min(
        (fit, f"this machine has {cores:g} cores"),
        (file.search_spec().budget.trials, "there are no more trials"),
    )
    if file.workers <= able:
        return None
    return f"workers: {file.workers} are asked for, at most {able} ever run: {why}"


def few_points(file: StudyFile) -> str | None:
    """Return a sentence where the space has fewer points than the budget has trials; None else."""
    points, trials = file.search_spec().budget.trials, file.budget.trials
    if points == trials:
        return None
    return (
        f"the space has {points} points, so the search ends after {points} of {trials} trials; "
        "`sampler: {repeat: true}` tries points again"
    )
