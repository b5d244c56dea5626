"""Students in MLflow's model registry: one registered model a study, an alias a champion."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

from refkd.data.dataset import Dataset
from refkd.errors import CheckpointError
from refkd.exported import RECORD, WEIGHTS, check_export
from refkd.files import scratch, sha256_file
from refkd.masking import masked
from tune import compat
from tune.config.study_file import StudyFile
from tune.ending.stopping import to_be_unwound
from tune.study.events import AliasMoved
from tune.tracking.aliases import move_alias
from tune.tracking.card import Registration, model_card
from tune.tracking.lineage import HASH_TAG, KNOWLEDGE_TAG, TEACHER_TAG
from tune.tracking.model_files import save_served
from tune.tracking.projection import caveats_tag
from tune.tracking.reach import TrackingError, asked
from tune.tracking.store import Store
from tune.tracking.target import Target, client_settings, registered_name, target_of

SERVED_TAG = "refkd.served"
"""Tag of a logged model whose files MLflow can load, not only weights and their record."""
_log = logging.getLogger(__name__)


def register_champions(
    file: StudyFile,
    dataset: Dataset,
    champions: Sequence[Registration],
    *,
    identity: str,
    move: bool = True,
) -> list[AliasMoved] | None:
    """Register champions and point their aliases at them; without `move` only where unset."""
    target = target_of(file, identity)
    if target is None:
        return []
    try:
        with asked(target.uri):
            return register(target, file, dataset, champions, move=move)
    except TrackingError as error:
        _log.warning(
            "the champions could not be registered in MLflow (%s); they lie in %s",
            error,
            champions[0].folder.parent,
        )
        return None  # a search does not fail for that


def register(
    target: Target,
    file: StudyFile,
    dataset: Dataset,
    students: Sequence[Registration],
    *,
    move: bool = True,
) -> list[AliasMoved]:
    """Register students as `register_champions` does; raises what MLflow's client raises."""
    with client_settings(), compat.tracking_at(target.uri.reveal()):
        registered = _RegisteredModel(Store.open(target), file, dataset)
        moves = [registered.point(student, move=move) for student in students]
    return [move for move in moves if move is not None]


def alias_fault(client: MlflowClient, move: AliasMoved) -> tuple[str, bool] | None:
    """Return how an alias differs from where it was moved to; None where it does not.

    The second says whether it may be registered again: nothing stands in its place, or the same
    weights as another version, which a registration that was killed has left.

    Raises `MlflowException` where the store does not answer.
    """
    try:
        held = client.get_registered_model(move.model).aliases.get(move.alias)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return f"MLflow has no registered model {move.model}", True
    if held is None:
        return f"{move.model} has no alias {move.alias} in MLflow", True
    if str(held) != move.version:
        where = f"points at version {held} in MLflow, the study moved it to {move.version}"
        tags = client.get_model_version(move.model, str(held)).tags
        return f"alias {move.alias} of {move.model} {where}", tags.get(HASH_TAG) == move.sha256
    return None


def version_fault(client: MlflowClient, move: AliasMoved) -> str | None:
    """Return what is wrong with the files of the version that an alias points at, if anything.

    MLflow's global store is that of the client.
    """
    tags = client.get_model_version(move.model, move.version).tags
    return damage(move.model, move.version, move.sha256 or tags.get(HASH_TAG))


def damage(name: str, version: str, sha256: str | None) -> str | None:
    """Return what is wrong with the files of a version; None where its weights have that hash."""
    what = f"version {version} of {name} in MLflow"
    with TemporaryDirectory(prefix="refkd-") as place, to_be_unwound():
        try:
            uri = f"models:/{name}/{version}"
            saved = Path(download_artifacts(artifact_uri=uri, dst_path=place))
            (folder,) = {path.parent for path in saved.rglob(RECORD)}
            check_export(folder)
            whole = sha256_file(folder / WEIGHTS) == sha256
        except (MlflowException, OSError, ValueError) as error:
            return f"{what}: its files are gone or cannot be read ({masked(str(error))[:200]})"
        except CheckpointError as error:
            name = str(error).partition(":")[0].rpartition("/")[2]
            return f"{what}: its {name} is not what was registered"
    return None if whole else f"{what}: its {WEIGHTS} are not what was registered"


class _RegisteredModel:
    """A study's registered model, on one tracking store."""

    def __init__(self, store: Store, file: StudyFile, dataset: Dataset) -> None:
        self._store, self._client = store, store.client
        self._file, self._dataset = file, dataset
        self._name = registered_name(file.name)

    def point(self, student: Registration, *, move: bool) -> AliasMoved | None:
        """Register a student and point its alias at it; None where the alias stays elsewhere."""
        version = self._version(student)
        held = self._client.get_registered_model(self._name).aliases.get(student.alias)
        if held is None or move:
            held = move_alias(self._client, self._name, student.alias, version, student.reason)
        elif str(held) != version:
            _log.warning(
                "%s stays with version %s of %s; trial %d is version %s: `refkd finalists` or "
                "`refkd promote` moves it",
                *(student.alias, held, self._name, student.trial, version),
            )
            return None
        return AliasMoved(
            moved=time.time(),
            model=self._name,
            alias=student.alias,
            version=version,
            trial=student.trial,
            run=student.run,
            reason=student.reason,
            before=None if held is None else str(held),
            sha256=sha256_file(student.folder / WEIGHTS),
        )

    def _version(self, student: Registration) -> str:
        """Return the version that a student's weights are, made now unless it is there."""
        digest = sha256_file(student.folder / WEIGHTS)
        held = self._client.search_model_versions(f"name = '{self._name}'")
        known = [str(one.version) for one in held if one.tags.get(HASH_TAG) == digest]
        for version in known:
            if damage(self._name, version, digest) is None:
                return version
        tags = {
            "refkd.study_name": self._file.name,
            "refkd.dataset": self._dataset.name,
            "refkd.dataset_fingerprint": self._dataset.fingerprint,
            **caveats_tag(self._file),
            HASH_TAG: digest,
            "refkd.trial": str(student.trial),
            **{
                f"{role}/{metric}": figure.text()
                for role, row in student.scores.items()
                for metric, figure in row.items()
            },
        }
        try:
            self._client.create_registered_model(
                self._name,
                description="Students of RefKD that were best on the validation roles: "
                "best-id in distribution, best-ood out of distribution, best-balanced by the "
                "harmonic mean of both.",
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        card = model_card(self._file, self._dataset, student)
        model = self._logged_model(student, tags, card, anew=bool(known))
        of = (TEACHER_TAG, KNOWLEDGE_TAG)
        made = self._client.create_model_version(
            self._name,
            f"models:/{model.model_id}",
            tags={**tags, **{k: v for k, v in model.tags.items() if k.startswith(of)}},
            model_id=model.model_id,
            description=card,
        )
        return str(made.version)

    def _logged_model(
        self, student: Registration, tags: Mapping[str, str], card: str, *, anew: bool
    ) -> LoggedModel:
        """Return the logged model of a student, with files that MLflow can load.

        `anew` beside one whose files are damaged: MLflow takes no file of a model back.
        """
        run = self._store.run(student.run)

        folder = self._store.target.folder
        folder.mkdir(parents=True, exist_ok=True)

        def fill(model_id: str) -> None:
            with FileLock(folder / "model.lock"), scratch(folder / "model") as place:
                saved = place / "saved"
                save_served(student.folder, saved, feature_dim=self._dataset.feature_dim)
                (saved / "README.md").write_text(card, encoding="utf-8")
                self._client.log_model_artifacts(model_id, str(saved))
            self._client.set_logged_model_tags(model_id, {**tags, SERVED_TAG: "true"})

        model = self._store.keep_model(
            tags[HASH_TAG],
            fill,
            name=f"student-{student.trial:04d}",
            model_type="student",
            source_run_id=None if run is None else run.info.run_id,
            tags=tags,
            anew=anew,
            params={},
        )
        held = self._client.get_logged_model(model.model_id)
        if SERVED_TAG not in held.tags:  # kept when its run ended, as weights alone
            fill(held.model_id)
        return held
