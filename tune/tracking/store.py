"""What an experiment of a tracking server holds of one study, by its tags; imports MLflow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, Self

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, LoggedModel, LoggedModelStatus, Run, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from refkd.files import sync_directory
from refkd.urls import Url
from tune import compat
from tune.study.storage import store_file
from tune.tracking.operations import NOTE_TAG
from tune.tracking.reach import AwayError, check
from tune.tracking.relocate import relocate
from tune.tracking.target import Target

RUN_TAG, MODEL_TAG = "refkd.run", "refkd.model"
"""Tags that hold the target's owner with the key of a run, or with the digest of a model."""
EXPERIMENT = {
    NOTE_TAG: "A search for students of RefKD. The run with the study's name "
    "holds its file and its report; below it stand both teachers, every trial, and below a trial "
    "its finalists on fresh seeds. `val_id/...` is in distribution, `val_ood/...` out of it, in "
    "percent by epoch; `kept/...` are those of the epoch that was kept.",
}
"""Tags of a new experiment: its description."""
PAGE = 1000


def connect(uri: Url) -> MlflowClient:
    """Return a client of a tracking server or store and of its registry.

    Raises `TrackingError` at once where it cannot be used: MLflow would try again for minutes.
    """
    check(uri)
    file = store_file(uri)
    if file is not None and not _is_there(file):
        try:
            _make(file)
        except (OSError, SQLAlchemyError) as error:
            raise AwayError(f"{file}: cannot be made ({error}); see to its disk") from None
    address = compat.store_address(uri.reveal())
    return MlflowClient(tracking_uri=address, registry_uri=address)


def _is_there(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _make(file: Path) -> None:
    """Make a store under another name first: MLflow never goes on with one that is half made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    lock = file.with_name(f".{file.name}.lock")
    with FileLock(lock):
        if not _is_there(file):  # nor made by another process meanwhile
            for left in file.parent.glob(f"{escape(part.name)}*"):  # by one that was killed
                left.unlink()
            compat.make_store(part)
            part.replace(file)
            sync_directory(file.parent)
        lock.unlink(missing_ok=True)  # whoever takes it from now on finds the store


@dataclass(frozen=True, kw_only=True)
class Store:
    """The runs and models of one study in one experiment."""

    client: MlflowClient
    experiment: str
    """Its id."""
    target: Target
    made: str
    """Tells the experiment from every other that had its name: one that was lost, or removed."""

    @classmethod
    def find(cls, target: Target) -> Self | None:
        """Return what is there; None where the experiment is not, or was deleted."""
        store = store_file(target.uri)
        if store is not None and not store.exists():  # MLflow would make an empty one
            return None
        client = connect(target.uri)
        found = client.get_experiment_by_name(target.experiment)
        if found is None or found.lifecycle_stage == "deleted":
            return None
        return cls._of(found, client, target)

    @classmethod
    def open(cls, target: Target) -> Self:
        """Create or restore the experiment, which another process may do at the same moment."""
        client, name, root = connect(target.uri), target.experiment, target.artifact_root
        found = client.get_experiment_by_name(name)
        if found is None:
            location = None if root is None else root.absolute().as_uri()
            try:
                client.create_experiment(name, artifact_location=location, tags=EXPERIMENT)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = client.get_experiment_by_name(name)
        if found is None:
            raise AwayError(f"the experiment {name!r} was removed while it was made; try again")
        relocate(target, found.artifact_location)
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return cls._of(found, client, target)

    @classmethod
    def _of(cls, found: Experiment, client: MlflowClient, target: Target) -> Self:
        key, made = str(found.experiment_id), f"{found.experiment_id} {found.creation_time}"
        return cls(client=client, experiment=key, target=target, made=made)

    def runs(self, view: int = ViewType.ACTIVE_ONLY) -> dict[str, list[Run]]:
        """Return the study's runs by key, the fullest and oldest of each first."""
        found: dict[str, list[Run]] = defaultdict(list)
        asked, token = f"tags.`{RUN_TAG}` LIKE '{self.target.owner}/%'", None
        while token is None or token:
            page = self.client.search_runs(
                [self.experiment], asked, view, max_results=PAGE, page_token=token
            )
            for run in page:
                found[run.data.tags[RUN_TAG].removeprefix(f"{self.target.owner}/")].append(run)
            token = page.token or ""
        return {key: sorted(runs, key=_fullness) for key, runs in found.items()}

    def run(self, key: str) -> Run | None:
        """Return the run with a key, restored, the fullest of several; None if there is none."""
        asked = f"tags.`{RUN_TAG}` = '{self.target.owner}/{key}'"
        runs = self.client.search_runs([self.experiment], asked, ViewType.ALL)
        if not runs:
            return None
        kept, *others = sorted(runs, key=_fullness)
        for run in others:
            if run.info.lifecycle_stage == "active":
                self.client.delete_run(run.info.run_id)
        if kept.info.lifecycle_stage == "deleted":
            self.client.restore_run(kept.info.run_id)
        return kept

    def model(self, digest: str) -> LoggedModel | None:
        """Return the logged model with a digest, None where there is none."""
        asked = f"tags.`{MODEL_TAG}` = '{self.target.owner}/{digest}'"
        found = self.client.search_logged_models([self.experiment], asked, max_results=1)
        return next(iter(found), None)

    def models(self) -> set[str]:
        """Return the digests of the study's logged models that are complete."""
        found: set[str] = set()
        asked, token = f"tags.`refkd.study_name` = '{self.target.study}'", None
        while token is None or token:
            page = self.client.search_logged_models([self.experiment], asked, page_token=token)
            tags = [one.tags for one in page if one.status == LoggedModelStatus.READY]
            found |= {
                held.get(MODEL_TAG, "").removeprefix(f"{self.target.owner}/") for held in tags
            }
            token = page.token or ""
        return found

    def keep_model(
        self,
        digest: str,
        fill: Callable[[str], None],
        *,
        tags: Mapping[str, str],
        anew: bool = False,
        **facts: Any,
    ) -> LoggedModel:
        """Return the logged model with a digest, `anew` another one than is there.

        `fill` uploads its files where it is made now.
        """
        label = {MODEL_TAG: f"{self.target.owner}/{digest}"}
        known = None if anew else self.model(digest)
        model = known or self.client.create_logged_model(
            self.experiment, tags={**tags, **label}, **facts
        )
        if model.status != LoggedModelStatus.READY:
            fill(model.model_id)
            self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return model


def _fullness(run: Run) -> tuple[int, int, str]:
    """Return what is lowest for the run with the most metrics, of equals the oldest."""
    return -len(run.data.metrics), run.info.start_time, run.info.run_id
