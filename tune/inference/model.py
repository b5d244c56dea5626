"""A trained retriever by its name in the registry or by its folder; nothing is unpickled."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from refkd.errors import CheckpointError, RefKDError
from refkd.exported import RECORD, WEIGHTS
from refkd.files import sha256_file
from refkd.retriever import Retriever
from refkd.urls import Url
from tune import compat
from tune.ending.stopping import to_be_unwound
from tune.study.storage import store_file
from tune.tracking.lineage import HASH_TAG
from tune.tracking.reach import asked

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

SCHEME = "models:/"
_NAMED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def load_model(model: str, *, tracking: Url) -> tuple[Retriever, str, dict[str, str]]:
    """Load `models:/NAME@ALIAS`, `models:/NAME/VERSION` from a tracking store, or a folder.

    Returns the retriever, where it came from, and its `version` and `trial` in a registry.
    Safetensors and JSON are read and no code of the model is run. Raises `RefKDError` where there
    is none, `CheckpointError` where a byte is not the one that was registered or exported.
    """
    if not model.startswith(SCHEME):
        folder = _retriever_in(Path(model))
        return Retriever.load(folder), str(folder), {}
    named = _NAMED.fullmatch(model)
    if named is None:
        raise RefKDError(
            f"model {model!r} is no name in a registry; write {SCHEME}NAME@best-ood, "
            f"{SCHEME}NAME/VERSION, or the folder of an exported retriever"
        )
    store = store_file(tracking)
    if store is not None and not store.exists():  # MLflow would make an empty one
        raise RefKDError(
            f"{store}: no MLflow store; run `refkd search` first, or say where it is with "
            "--tracking or --study"
        )
    with (
        asked(tracking),
        compat.tracking_at(tracking.reveal()),
        to_be_unwound(),
        TemporaryDirectory(prefix="refkd-") as scratch,
    ):
        from mlflow.artifacts import download_artifacts

        version = _version(tracking, **named.groupdict())
        uri = f"{SCHEME}{version.name}/{version.version}"
        try:
            saved = Path(download_artifacts(artifact_uri=uri, dst_path=scratch))
        except OSError as error:
            raise RefKDError(
                f"{uri}: its files cannot be fetched ({error}); see that {tracking} reaches them"
            ) from None
        folder, expected = _retriever_in(saved), version.tags.get(HASH_TAG)
        if sha256_file(folder / WEIGHTS) != expected:  # the retriever compares all else
            raise CheckpointError(
                f"{version.name} version {version.version}: {WEIGHTS} is not what was registered "
                f"({HASH_TAG} {expected}); restore the artefact, or register the champion again"
            )
        facts = {"version": str(version.version)}
        if trial := version.tags.get("refkd.trial"):
            facts["trial"] = trial
        return Retriever.load(folder), model, facts


def _version(tracking: Url, name: str, alias: str | None, version: str | None) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    from tune.tracking.store import connect

    client = connect(tracking)
    try:
        if alias is not None:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, str(version))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    models = {one.name: one.aliases for one in client.search_registered_models()}
    if name in models:
        versions = [f"{SCHEME}{name}@{known}" for known in sorted(models[name])]
        there = f"there is {', '.join(versions) or 'no alias of it'}"
    else:
        there = f"models there: {', '.join(sorted(models)) or 'none'}"
    wanted = f"alias {alias!r}" if alias is not None else f"version {version}"
    raise RefKDError(f"model {name!r} has no {wanted} in {tracking}; {there}")


def _retriever_in(folder: Path) -> Path:
    """Return the folder of the retriever in a folder: itself, or inside a saved MLflow model."""
    if not folder.is_dir():
        raise RefKDError(
            f"{folder}: no such folder; give one that holds a retriever, such as "
            f"runs/studies/NAME/champions/best-ood, or {SCHEME}NAME@best-ood"
        )
    found = sorted(path.parent for path in folder.rglob(RECORD))
    if len(found) != 1:
        held = f"{len(found)} retrievers" if found else "no retriever"
        raise RefKDError(f"{folder}: holds {held} ({RECORD}); give the folder of one")
    return found[0]
