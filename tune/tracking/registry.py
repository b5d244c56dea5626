"""Champions in MLflow's model registry: one registered model a study, an alias a champion."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from requests import RequestException

from refkd.data.dataset import Dataset
from refkd.evaluation.comparison import Row
from refkd.files import sha256_file
from refkd.retriever import WEIGHTS
from tune import compat
from tune.config.study_file import StudyFile
from tune.config.urls import resolve, scrub
from tune.study.environment import Environment
from tune.study.events import AliasMoved
from tune.study.summary import Summary
from tune.tracking.alias import move_alias
from tune.tracking.card import model_card
from tune.tracking.lineage import ancestry
from tune.tracking.operations import trial_key
from tune.tracking.projection import HASH_TAG, marks_tag
from tune.tracking.saved_model import save_served
from tune.tracking.target import (
    artifact_root,
    client_settings,
    experiment_name,
    owner_of,
    tracking_uri,
)
from tune.tracking.writer import find_run, keep_model, open_experiment

SERVED_TAG = "refkd.served"
"""Tag of a logged model whose files MLflow can load, not only weights and their record."""
_log = logging.getLogger(__name__)


def registered_name(study: str) -> str:
    """Return the name under which a study's champions are registered."""
    return f"refkd-{study}"


def register_champions(
    file: StudyFile,
    summary: Summary,
    dataset: Dataset,
    folders: Mapping[str, Path],
    table: Mapping[str, Mapping[str, Row]],
    *,
    identity: str,
    code: Mapping[str, Environment | None] | None = None,
    runs: Mapping[str, str] | None = None,
    reasons: Mapping[str, str] | None = None,
    move: bool = True,
) -> list[AliasMoved] | None:
    """Register each champion's exported retriever and point its alias at it.

    `folders`, `summary.champions` and `code`, with which each was made, go by alias; `table` holds
    each system's scores by role. `identity` is the study's own.
    `runs` names the run that made each champion, where it is not its trial's; `reasons` says why
    it bears its alias, where it is not the search's best. Without `move` an alias that somebody
    bears stays where it is.
    Weights that are registered already make no new version. Returns which aliases they bear now;
    None, with a warning, where the tracking server does not take them: a search does not fail for
    that.
    """
    uri = tracking_uri(file)
    borne: list[AliasMoved] = []
    if uri is None:
        return borne
    try:
        with client_settings(), compat.tracking_at(resolve(uri)):
            registrar = Registrar(resolve(uri), file, dataset, identity)
            for alias, folder in folders.items():
                scores = {role: table[role][alias] for role in table}
                number = summary.champions[alias]
                run = trial_key(number) if runs is None else runs[alias]
                why = "best trial of the search, by one validation score"
                why = why if reasons is None else reasons[alias]
                borne += registrar.register(
                    alias,
                    number,
                    folder,
                    scores,
                    run=run,
                    reason=why,
                    code=None if code is None else code[alias],
                    move=move,
                )
    except (MlflowException, RequestException) as error:
        _log.warning(
            "the champions could not be registered in MLflow (%s); they lie in %s",
            scrub(str(error), uri),
            next(iter(folders.values())).parent,
        )
        return None
    return borne


class Registrar:
    """A study's registered model, on one tracking store."""

    def __init__(self, uri: str, file: StudyFile, dataset: Dataset, identity: str) -> None:
        """`identity` is the study's own."""
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._experiment = open_experiment(
            self._client, experiment_name(file), artifact_root(file)
        )
        self._owner = owner_of(file.name, identity)
        self._study = file.name
        self._name = registered_name(file.name)
        self._tags = {
            "refkd.study_name": file.name,
            "refkd.dataset": dataset.name,
            "refkd.dataset_fingerprint": dataset.fingerprint,
            **marks_tag(file),
        }
        self._marks = file.caveats()
        self._dataset = dataset

    def register(
        self,
        alias: str,
        number: int,
        folder: Path,
        scores: Mapping[str, Row],
        *,
        run: str,
        reason: str,
        code: Environment | None,
        move: bool = True,
    ) -> list[AliasMoved]:
        """Register an exported retriever and move an alias to it, for a reason.

        Without `move` it gets the alias only while nobody bears it, and it is said who does.
        `scores` go by role and metric, `code` is what the student was made with. Returns that it
        bears the alias now, with the earlier holder; nothing where it does not.
        """
        version = self._version_of(number, folder, scores, run, code)
        held = self._client.get_registered_model(self._name).aliases.get(alias)
        if held is None or move:
            held = move_alias(self._client, self._name, alias, version, reason)
        elif str(held) != version:
            _log.warning(
                "%s stays with version %s of %s; trial %d is version %s: `refkd finalists` or "
                "`refkd promote` moves it",
                *(alias, held, self._name, number, version),
            )
            return []
        return [
            AliasMoved(
                moved=time.time(),
                model=self._name,
                alias=alias,
                version=version,
                trial=number,
                run=run,
                reason=reason,
                before=None if held is None else str(held),
            )
        ]

    def _version_of(
        self,
        number: int,
        folder: Path,
        scores: Mapping[str, Row],
        run: str,
        code: Environment | None,
    ) -> str:
        """Return the version that a retriever's weights are, made now unless it is there."""
        digest = sha256_file(folder / WEIGHTS)
        tags = {
            **self._tags,
            HASH_TAG: digest,
            "refkd.trial": str(number),
            **{
                f"{role}/{metric}": figure.text()
                for role, row in scores.items()
                for metric, figure in row.items()
            },
        }
        known = self._version(digest)
        if known is not None:
            return known
        self._create_registered_model()
        card = model_card(
            self._study, number, run, self._dataset, scores, code=code, marks=self._marks
        )
        model = self._keep_model(number, folder, tags, run, card)
        made = self._client.create_model_version(
            self._name,
            f"models:/{model.model_id}",
            tags={**tags, **ancestry(model.tags)},
            model_id=model.model_id,
            description=card,
        )
        return str(made.version)

    def _version(self, digest: str) -> str | None:
        for found in self._client.search_model_versions(f"name = '{self._name}'"):
            if found.tags.get(HASH_TAG) == digest:
                return str(found.version)
        return None

    def _create_registered_model(self) -> None:
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

    def _keep_model(
        self, number: int, folder: Path, tags: Mapping[str, str], source: str, card: str
    ) -> LoggedModel:
        run = find_run(self._client, self._experiment, f"{self._owner}/{source}")

        def fill(model_id: str) -> None:
            with TemporaryDirectory(prefix="refkd-") as scratch:
                saved = Path(scratch) / "model"
                save_served(folder, saved, feature_dim=self._dataset.feature_dim)
                (saved / "README.md").write_text(card, encoding="utf-8")
                self._client.log_model_artifacts(model_id, str(saved))
            self._client.set_logged_model_tags(model_id, {**tags, SERVED_TAG: "true"})

        model_id = keep_model(
            self._client,
            self._experiment,
            f"{self._owner}/{tags[HASH_TAG]}",
            fill,
            name=f"student-{number:04d}",
            model_type="student",
            source_run_id=None if run is None else run.info.run_id,
            tags=tags,
            params={},
        )
        held = self._client.get_logged_model(model_id)
        if SERVED_TAG not in held.tags:  # kept when its run ended, as weights alone
            fill(model_id)
        return held
