"""An alias moves with a reason, its earlier holder keeps a name, and the card says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
)
from support.ended_study import EndedStudy, FakeTrainer, end_study
from typer.testing import CliRunner

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.evaluation.comparison import MEANING
from refkd.files import sha256_file
from refkd.urls import Url
from tune import finalists
from tune.audit.examine import examine, verify_results
from tune.cli import app
from tune.inference.model import load_model
from tune.results.promote import promote
from tune.study.environment import environment
from tune.study.events import AliasMoved, aliases_of
from tune.study.lease import DRIVER, lease
from tune.study.snapshot import open_snapshot
from tune.study.stored_study import IDENTITY
from tune.tracking.aliases import check_alias, move_alias
from tune.tracking.target import registered_name

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
)
NAME = registered_name("ended")
WHY = "smaller, and\nwithin the interval"


@pytest.fixture
def study(tmp_path: Path, tiny_dataset: Dataset, mlflow_store: str) -> EndedStudy:
    return end_study(tmp_path, tiny_dataset, tracking={"uri": mlflow_store})


def give(study: EndedStudy, trial: int, *, alias: str = "best-ood", why: str = WHY) -> AliasMoved:
    return promote(study.path, alias=alias, trial=trial, reason=why)


def holders(store: str) -> dict[str, str]:
    aliases = MlflowClient(store).get_registered_model(NAME).aliases
    return {alias: str(version) for alias, version in aliases.items()}


def version(store: str, number: str) -> ModelVersion:
    return MlflowClient(store).get_model_version(NAME, number)


def test_an_alias_moves_and_its_earlier_holder_keeps_a_name(
    study: EndedStudy, mlflow_store: str
) -> None:
    before = study.attributes()
    assert give(study, 2).before is None
    moved = give(study, 1, why="better on the new videos")
    assert (moved.version, moved.before, moved.trial) == ("2", "1", 1)
    assert holders(mlflow_store) == {"best-ood": "2", "best-ood-before": "1"}
    give(study, 1, alias="best-id")
    assert holders(mlflow_store) == {"best-ood": "2", "best-ood-before": "1", "best-id": "2"}
    lines = version(mlflow_store, "2").description.splitlines()[-2:]
    assert lines[0].endswith("`best-ood`: better on the new videos")
    assert lines[1].endswith("`best-id`: smaller, and within the interval")
    after = study.attributes()
    assert {k: after[k] for k in before} == before, "a promotion changes nothing in the study"
    assert all(
        key.startswith("alias:")
        for key in after.keys() - before.keys() - {DRIVER, IDENTITY, "schema"}
    )
    moves = aliases_of(after)
    assert {alias: (one.version, one.trial) for alias, one in moves.items()} == {
        "best-ood": ("2", 1),
        "best-id": ("2", 1),
    }
    assert (moves["best-ood"].before, moves["best-ood"].reason) == (
        "1",
        "better on the new videos",
    )


def test_an_alias_moved_while_a_driver_is_at_work_is_stored_beside_its_order(
    study: EndedStudy, mlflow_store: str
) -> None:
    give(study, 1, alias="best-id")
    with lease(study.url, study.file.name, signs=[1.0, 1.0]):
        give(study, 2, alias="best-id")
    give(study, 0, alias="best-ood")
    moves = aliases_of(study.attributes())
    assert {alias: move.trial for alias, move in moves.items()} == {"best-id": 2, "best-ood": 0}
    assert moves["best-id"].before == "1"
    assert [row.check for row in examine(study.path).findings if row.check == "order"] == []


def test_promoting_again_changes_nothing(study: EndedStudy, mlflow_store: str) -> None:
    give(study, 2)
    told = version(mlflow_store, "1").description
    again = give(study, 2)
    assert (again.version, again.before) == ("1", "1")
    assert version(mlflow_store, "1").description == told
    assert holders(mlflow_store) == {"best-ood": "1"}


def test_the_promoted_student_answers_and_has_a_card(
    study: EndedStudy, tiny_dataset: Dataset, mlflow_store: str
) -> None:
    give(study, 2)
    _, _, facts = load_model(f"models:/{NAME}@best-ood", tracking=Url(mlflow_store))
    assert facts == {"version": "1", "trial": "2"}
    place = MlflowClient(mlflow_store).get_model_version_download_uri(NAME, "1")
    card = (Path(place.removeprefix("file://")) / "README.md").read_text()
    assert version(mlflow_store, "1").description.startswith(card.rstrip())
    for said in (
        f"fingerprint `{tiny_dataset.fingerprint}`",
        "simulated: its scores say nothing of real videos",
        "`val_ood`:",
        "sealed, never read",
        "| `val_id` | mIoU |",
        "bias floor",
        "## Intended use",
        "## Limits",
        "tIoU >= m",
        MEANING,
        "`trial/0002`",
        f"Code: {environment()}.",
    ):
        assert said in card
    (row,) = [line for line in card.splitlines() if line.startswith("| `val_ood` | R1@0.5")]
    shown = version(mlflow_store, "1").tags["val_ood/r1_iou0.5"]
    assert shown in row


def test_a_finalist_is_stood_for_by_its_best_fresh_seed(
    study: EndedStudy,
    tiny_dataset: Dataset,
    mlflow_store: str,
) -> None:
    scores = {0: [(40.0, 10.0), (20.0, 30.0)], 1: [(1.0, 2.0)] * 2, 2: [(3.0, 4.0)] * 2}
    finalists(study.path, top=1, seeds=2, train=FakeTrainer(tiny_dataset, scores))
    assert "2 fresh seeds" in version(mlflow_store, holders(mlflow_store)["best-ood"]).description
    assert give(study, 0, alias="mine").run == "finalist/0000/seed-1"
    assert give(study, 0, alias="best-id").run == "finalist/0000/seed-0"
    assert give(study, 3, alias="mine").run == "trial/0003"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"--alias": "best.ood"}, "alias 'best.ood' is no name that MLflow takes"),
        ({"--alias": "Latest"}, "'Latest' is reserved by MLflow"),
        ({"--alias": "v12"}, "'v12' is reserved by MLflow"),
        ({"--alias": "best-ood-before"}, "the earlier holder of 'best-ood'; move that one"),
        ({"--trial": "9"}, "trial 9 of study 'ended' is absent; complete trials: 0, 1, 2, 3"),
        ({"--reason": " "}, "the reason has 0 characters"),
        ({"--reason": "x" * 501}, "the reason has 501 characters"),
    ],
)
def test_a_mistake_is_named_and_nothing_moves(
    words: dict[str, str], message: str, study: EndedStudy, mlflow_store: str
) -> None:
    given = {"--alias": "best-ood", "--trial": "2", "--reason": "why", **words}
    flat = [word for pair in given.items() for word in pair]
    done = CliRunner().invoke(app, ["promote", str(study.path), *flat])
    assert isinstance(done.exception, RefKDError), done.output
    assert message in str(done.exception)
    assert not MlflowClient(mlflow_store).search_registered_models()


def test_a_study_without_a_record_is_refused(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = end_study(tmp_path, tiny_dataset)
    with pytest.raises(RefKDError, match="tracking is off"):
        give(study, 2)


def test_a_server_that_is_down_is_named(tmp_path: Path, tiny_dataset: Dataset) -> None:
    study = end_study(tmp_path, tiny_dataset, tracking={"uri": "http://127.0.0.1:9"})
    with pytest.raises(RefKDError, match=r"127\.0\.0\.1:9 does not answer"):
        give(study, 2)


def test_json_says_what_became_of_the_alias(study: EndedStudy) -> None:
    words = ["--alias", "best-ood", "--trial", "1", "--reason", "why", "--json"]
    done = CliRunner().invoke(app, ["promote", str(study.path), *words])
    assert done.exit_code == 0, done.output
    folder = study.file.folder / "promoted" / "best-ood"
    assert json.loads(done.stdout) == {
        "sha256": sha256_file(folder / "weights.safetensors"),
        "files": {"promoted/best-ood/retriever.json": sha256_file(folder / "retriever.json")},
        "model": NAME,
        "alias": "best-ood",
        "version": "1",
        "trial": 1,
        "run": "trial/0001",
        "reason": "why",
        "before": None,
    }


@given(st.text(max_size=300) | st.from_regex(r"\A[vV]?\d{1,3}\Z") | st.just("LATEST"))
def test_what_is_accepted_mlflow_accepts(alias: str) -> None:
    try:
        check_alias(alias)
    except RefKDError:
        return
    for name in (alias, f"{alias}-before"):
        _validate_model_alias_name(name)
        _validate_model_alias_name_reserved(name)


@pytest.mark.parametrize("alias", ["best-id", "best-ood", "best-balanced", "x_1", "V", "v1a"])
def test_ordinary_names_are_accepted(alias: str) -> None:
    check_alias(alias)


def test_many_moves_fit_into_a_description(mlflow_store: str) -> None:
    client = MlflowClient(mlflow_store)
    client.create_registered_model(NAME)
    card = "card\n" * 400
    for _ in "12":
        client.create_model_version(NAME, "file:///nowhere", run_id=None, description=card)
    for turn in range(30):
        move_alias(client, NAME, "mine", "12"[turn % 2], f"turn {turn} " + "x" * 400)
    text = client.get_model_version(NAME, "2").description
    assert len(text) <= 4_900
    assert text.startswith(card.rstrip())
    assert "turn 29" in text
    assert "turn 1 " not in text
    assert set(client.get_registered_model(NAME).aliases) == {"mine", "mine-before"}


def test_a_promotion_that_mlflow_refuses_leaves_what_the_alias_has(
    study: EndedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(study, 2)

    def refused(*_: object) -> None:
        raise MlflowException("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr("tune.tracking.registry.register", refused)
        with pytest.raises(RefKDError, match="the server is gone"):
            give(study, 1)
    verify_results(open_snapshot(study.path))
    give(study, 1)
    verify_results(open_snapshot(study.path))


def test_an_interrupted_move_is_repeated_without_a_second_line(
    mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(mlflow_store)
    client.create_registered_model(NAME)
    client.create_model_version(NAME, "file:///nowhere")
    with monkeypatch.context() as patch:

        def lost(*_: object) -> None:
            raise MlflowException("the server is gone")

        patch.setattr(client, "set_registered_model_alias", lost)
        with pytest.raises(MlflowException):
            move_alias(client, NAME, "mine", "1", "why")
    move_alias(client, NAME, "mine", "1", "why")
    assert client.get_model_version(NAME, "1").description.count("`mine`: why") == 1
