"""What `tune.compat` relies on is still so in the versions that are installed.

Each failure says in a sentence what has moved, and what to do in `tune/compat.py`.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl

import mlflow
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.trial import TrialState
from support.project import ROOT

from tune import compat
from tune.study.storage import close_storage, open_storage


@contextmanager
def upstream(sentence: str) -> Iterator[None]:
    """Fail with a sentence where something of a library is not as it was."""
    try:
        yield
    except Exception as error:
        pytest.fail(f"{sentence} ({type(error).__name__}: {error})")


def test_a_look_imports_none_of_the_three() -> None:
    code = "import sys, tune.compat; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"optuna", "ray", "mlflow"} & set(done.stdout.split()) == set()


# Optuna -------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    yield optuna.create_study(study_name="a", storage=storage, directions=["maximize"])
    close_storage(storage)


def test_a_trial_is_ended_without_its_copy(study: optuna.Study) -> None:
    trial = study.ask()
    with upstream(
        "Optuna moved the inside of Study.tell: call Study.tell, which copies the trial"
    ):
        compat.tell(study, trial, [1.5], TrialState.COMPLETE)
    assert study.trials[0].values == [1.5]


def test_a_running_trial_is_gone_on_with_and_read(study: optuna.Study) -> None:
    study.ask().set_user_attr("fact", 1)
    with upstream(
        "Optuna no longer makes a Trial of its storage's id: find how it goes on with one"
    ):
        adopted = compat.adopt(study, study.get_trials(deepcopy=False)[0])
    study.get_trials(deepcopy=False)
    adopted.set_user_attr("other", 2)
    with upstream("Optuna moved the id of a Trial: read it from study.trials by its number"):
        assert compat.frozen(adopted).user_attrs == {"fact": 1, "other": 2}
    assert adopted.number == 0


def test_a_trial_draws_all_its_values_again(study: optuna.Study) -> None:
    values = []
    for _ in range(2):
        study.sampler = optuna.samplers.RandomSampler(seed=3)
        trial = study.ask() if not values else compat.adopt(study, study.trials[0])
        with upstream("Optuna keeps a Trial's own values elsewhere: find where, to clear them"):
            compat.forget_values(trial)
        values.append([trial.suggest_float(name, 0, 1) for name in "ab"])
    assert values[0] == values[1]
    assert list(study.trials[0].params.values()) == values[0]


def test_a_trial_draws_values_that_are_not_kept_and_then_others(study: optuna.Study) -> None:
    trial = study.ask()
    with upstream("Optuna writes a Trial's values elsewhere: find where, to draw without writing"):
        drawn = compat.unwritten(trial).suggest_float("a", 0, 1)
        assert study.trials[0].params == trial.params == {}
    with upstream(
        "Optuna reads the values of an enqueued Trial elsewhere: find where, to fix them"
    ):
        compat.fix_values(trial, {"a": 0.5})
        assert trial.suggest_float("a", 0, 1) == 0.5 != drawn
    assert study.trials[0].params == {"a": 0.5}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_point_of_a_sequence_is_drawn_by_its_place(study: optuna.Study) -> None:
    drawn = []
    for place in (0, 0, 1, 0):
        study.sampler = compat.qmc_sampler(seed=3, place=place, apart=0)
        trial = study.ask()
        drawn.append([trial.suggest_float(name, 0, 1) for name in "ab"])
        study.tell(trial, 0.0)
    with upstream("QMCSampler finds a point's place elsewhere: find how to give it one"):
        assert drawn[1] == drawn[3] != drawn[2]


def test_a_study_has_the_number_that_its_storage_gave_it(study: optuna.Study) -> None:
    storage = InMemoryStorage()
    for name in ("first", "second"):
        made = optuna.create_study(study_name=name, storage=storage)
        with upstream("Optuna moved a study's number: ask its storage for it by its name"):
            assert compat.study_id(made) == storage.get_study_id_from_name(name)


def test_values_in_line_stand_with_the_trial(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.5})
    study.ask()
    study.ask()
    with upstream("Optuna keeps the values of enqueue_trial elsewhere: find where"):
        assert [compat.enqueued_params(t) for t in study.trials] == [{"x": 0.5}, None]


def test_a_trial_is_begun_with_attributes_and_taken_from_the_queue_once(storage_url: str) -> None:
    storage = open_storage(storage_url)
    study = optuna.create_study(study_name="begun", storage=storage)
    study.enqueue_trial({"x": 0.5})
    with upstream("Optuna's storages begin a trial otherwise: write the attributes after `ask`"):
        begun = compat.begin(study, {"fact": 1})
        assert (begun.number, begun.suggest_float("x", 0, 1) < 1) == (1, True)
    waiting, running = study.get_trials(deepcopy=False)
    assert (running.state, running.user_attrs) == (TrialState.RUNNING, {"fact": 1})
    compat.set_attribute(study, waiting, "fact", 2)
    with upstream("Optuna's queue is emptied otherwise: see Study._pop_waiting_trial_id"):
        assert [compat.take_from_queue(study, waiting) for _ in range(2)] == [True, False]
    assert study.get_trials()[0].user_attrs == {"fact": 2}
    close_storage(storage)


def test_samplers_see_the_trials_that_they_are_shown(study: optuna.Study) -> None:
    for value in (1.0, 2.0):
        study.tell(study.ask({"x": FloatDistribution(0, 1)}), value)
    first, second = study.get_trials(deepcopy=False)
    blank = compat.blank(first)
    assert (blank.number, blank.state, blank.params) == (0, TrialState.FAIL, {})
    shown = compat.with_trials(study, [blank, second])
    with upstream("Optuna's samplers read trials otherwise than by Study._get_trials"):
        assert shown.get_trials(deepcopy=False) == shown.trials == [blank, second]
        nothing = compat.with_trials(study, [blank, blank])
        for seen, space in ((shown, {"x"}), (nothing, set())):
            assert set(TPESampler().infer_relative_search_space(seen, second)) == space


def test_distributions_of_another_kind_do_not_go_together() -> None:
    low, high = FloatDistribution(0, 1), FloatDistribution(5, 9)
    with upstream("Optuna compares distributions elsewhere"):
        assert compat.same_kind(low, high)
        assert not compat.same_kind(low, IntDistribution(0, 1))


def test_a_pruner_writes_into_the_trial(study: optuna.Study) -> None:
    trial = study.ask()
    trial.report(1.0, step=1)
    copy = study.get_trials(deepcopy=True)[0]
    assert compat.internal_attributes(copy) == {}
    with upstream(
        "Optuna's pruners write what they found elsewhere: find where, for rehearsal.py"
    ):
        SuccessiveHalvingPruner(min_resource=1).prune(study, copy)
        (written,) = compat.internal_attributes(study.trials[0]).items()
        assert "rung" in written[0]
    compat.set_internal_attributes(copy, {"a": 1})
    assert compat.internal_attributes(copy) == {"a": 1}


def test_a_written_trial_is_another_object_and_an_unwritten_one_is_not(storage_url: str) -> None:
    storage = open_storage(storage_url)
    study = optuna.create_study(study_name="objects", storage=storage)
    trial, other = study.ask(), study.ask()
    before = study.get_trials(deepcopy=False)
    trial.set_user_attr("fact", 1)
    after = study.get_trials(deepcopy=False)
    with upstream("Optuna writes into a trial that it holds: seen.py must compare contents"):
        assert compat.trial_changed(after[trial.number], before[trial.number])
    with upstream("Optuna makes a trial anew that nobody wrote to: seen.py would read all again"):
        compat.tell(study, other, [1.0], TrialState.COMPLETE)
        ended = study.get_trials(deepcopy=False)[other.number]
        assert not compat.trial_changed(study.get_trials(deepcopy=False)[other.number], ended)
    close_storage(storage)


def test_the_tables_are_those_that_are_read(study: optuna.Study, tmp_path: Path) -> None:
    """That every trial is read as Optuna reads it holds `test_glance.py`."""
    trial = study.ask({"x": IntDistribution(0, 9), "y": CategoricalDistribution(["a", "b"])})
    compat.tell(study, trial, [math.inf], TrialState.COMPLETE)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        (revision,) = connection.execute(compat.SQL_REVISION).fetchall()
        with upstream("Optuna's tables are of a new revision: fit the SQL to it, then name it"):
            assert revision == (compat.REVISION,)
        with upstream("Optuna's tables hold a value or a parameter otherwise: fit the SQL"):
            number = connection.execute(compat.SQL_STUDY, ["a"]).fetchone()
            ((_, *value),) = connection.execute(compat.SQL_VALUES, number)
            assert compat.stored_value(*value) == math.inf
            params = connection.execute(compat.SQL_PARAMS, number).fetchall()
            assert {n: compat.stored_param(*held) for _, n, *held in params} == trial.params


def test_a_journal_has_a_record_a_line_and_a_link_as_lock(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    storage = open_storage(f"journal:{path}")
    optuna.create_study(storage=storage).ask().set_user_attr("text", "two\nlines")
    with upstream("Optuna writes a journal otherwise: see how its end is torn, for mend_journal"):
        content = path.read_bytes()
        assert content.startswith(compat.JOURNAL_BEGIN)
        assert content.endswith(compat.JOURNAL_END)
        assert all(json.loads(line) for line in content.split(compat.JOURNAL_END)[:-1])
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    with upstream("Optuna locks a journal by another file: name it, for settle_journal"):
        assert compat.journal_lock(path).is_symlink()
    lock.release()
    assert not compat.journal_lock(path).is_symlink()


# Ray ----------------------------------------------------------------------------------------


def test_the_name_of_the_loggers_of_tokens() -> None:
    with upstream("Ray warns of its token elsewhere: name that logger, or each start warns"):
        folder = find_spec(compat.TOKEN_LOGGER)
        assert folder is not None


def test_the_nodes_that_are_drained_can_be_asked_for() -> None:
    """That Ray tells of a real node holds `tests/lab/test_cluster_spot.py`."""
    from ray._private.state import GlobalState, state

    with upstream("Ray tells otherwise which nodes are drained: find how, or trials are lost"):
        assert isinstance(state, GlobalState)
        assert list(inspect.signature(state.get_draining_nodes).parameters) == []


def test_the_command_that_drains_a_node_takes_its_arguments() -> None:
    from ray.scripts.scripts import cli

    with upstream("`ray drain-node` takes other arguments: see its source"):
        name, *arguments = compat.drain_arguments("ab12", "spot notice", 90)
        context = cli.commands[name].make_context(name, arguments)
    given = {"node_id": "ab12", "reason_message": "spot notice", "deadline_remaining_seconds": 90}
    assert given.items() <= context.params.items()


def test_tune_passes_no_credentials_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.execution import class_cache

    class Trainable:
        pass

    def passed_on() -> set[str]:
        made = class_cache._ActorClassCache().get(Trainable)
        return set(made._default_options["runtime_env"]["env_vars"])

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    with upstream("Tune passes the driver's environment on otherwise: keep its AWS keys back"):
        assert "AWS_SECRET_ACCESS_KEY" in passed_on(), "nothing is to be kept back any more"
        with compat.credentials_withheld():
            assert {n for n in passed_on() if n.startswith("AWS_")} == set()
            assert "RAY_CHDIR_TO_TRIAL_DIR" in passed_on()
        assert "AWS_SECRET_ACCESS_KEY" in passed_on(), "put back"


def test_a_trial_names_the_file_of_its_error(tmp_path: Path) -> None:
    """That it does so in a real run holds `test_worker_causes.py`."""
    from ray.tune import TuneError
    from ray.tune.experiment import Trial

    with upstream("Ray keeps a trial's error elsewhere: find its file, or causes are not told"):
        trial = Trial("unknown", stub=True)
        trial.storage = SimpleNamespace(trial_driver_staging_path=str(tmp_path))
        assert compat.take_error(trial) == ""
        trial.handle_error(TuneError("out of memory"))
        assert compat.take_error(trial).endswith("out of memory")
        assert trial.get_pickled_error() is None, "Tune reads its own copy"
        assert trial.get_error() is None


def test_an_autoscaler_is_started_with_the_path_of_its_file() -> None:
    from ray._private import services

    with upstream("Ray starts its autoscaler otherwise: find where its process names its file"):
        assert f'"{compat.AUTOSCALING_OPTION}"' in inspect.getsource(services.start_monitor)


def test_the_variable_of_kuberay() -> None:
    from ray._common.usage import usage_constants

    with upstream("KubeRay sets another variable: name it, or its autoscaler is not known of"):
        assert usage_constants.KUBERAY_ENV == compat.KUBERAY_VARIABLE


def test_ray_keeps_its_files_where_it_is_told_and_runs_these_processes(tmp_path: Path) -> None:
    """That it does so in a real run holds `test_storm_real.py`."""
    import ray
    from ray._private import parameter, services

    with upstream("Ray takes another argument for its folder: name it, or /tmp/ray is left"):
        (name,) = compat.in_folder(tmp_path)
        assert f'"{name}"' in inspect.getsource(ray.init)
        assert "temp_dir" in inspect.signature(parameter.RayParams).parameters
    with upstream("Ray runs under other names: find them, or its death is not noticed"):
        programs = {
            Path(p).name for p in (services.RAYLET_EXECUTABLE, services.GCS_SERVER_EXECUTABLE)
        }
        assert programs == set(compat.RAY_PROCESSES)


def test_ray_prints_what_its_processes_say_by_this_function() -> None:
    from ray._private import worker

    with upstream("Ray prints otherwise what its raylet says: find how, or JSON is spoilt"):
        before = worker.print_to_stdstream
        assert before.__name__ in worker.listen_error_messages.__code__.co_names
        with compat.raylet_silenced():
            assert worker.print_to_stdstream is not before
        assert worker.print_to_stdstream is before


def test_tune_ends_soon_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune import tune

    (variable,) = compat.TUNE_SIGNALS
    monkeypatch.setenv(variable, compat.TUNE_SIGNALS[variable])
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        with upstream("Tune is interrupted otherwise: find how, or signals do not end it calmly"):
            assert not compat.end_tune_soon(), "no run has begun"
            interrupted = tune._setup_signal_catching()
            assert signal.getsignal(signal.SIGINT) is kept[signal.SIGINT]
            assert compat.end_tune_soon()
            assert interrupted.is_set()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_ray_brings_a_schema_of_cluster_files() -> None:
    with upstream("Ray's schema of cluster files lies elsewhere: name its path"):
        path = compat.cluster_file_schema()
        assert path is not None
        assert "available_node_types" in json.loads(path.read_text(encoding="utf-8"))["properties"]


# MLflow -------------------------------------------------------------------------------------


def test_the_logger_of_a_stores_errors() -> None:
    from mlflow.store.db import utils

    with upstream("MLflow logs a database's errors elsewhere: name that logger"):
        assert utils._logger.name == compat.STORE_LOGGER
        assert "_logger.exception(" in inspect.getsource(utils)


def test_the_revision_of_mlflows_tables_is_read_without_mlflow(empty_store: Path) -> None:
    with closing(sqlite3.connect(empty_store)) as connection:
        found = connection.execute(compat.SQL_REVISION).fetchall()
    with upstream("MLflow names the steps of its tables otherwise: read its newest one anew"):
        assert found == [(compat.mlflow_revision(),)]


@pytest.mark.parametrize("named", [None, "sqlite:///named.db"])
@pytest.mark.parametrize("before", [None, "sqlite:///before.db"])
def test_the_global_store_is_put_back(
    before: str | None, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(before)  # type: ignore[arg-type]
    if before is None and named is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    with upstream("MLflow's global store is set otherwise: see mlflow.set_tracking_uri"):
        with compat.tracking_at("sqlite:///other.db"):
            assert mlflow.get_tracking_uri() == "sqlite:///other.db"
        assert mlflow.is_tracking_uri_set() == ((before or named) is not None)
        assert (before or named) is None or mlflow.get_tracking_uri() == (before or named)
    if before is None and named is not None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert not mlflow.is_tracking_uri_set(), "what the environment named stays set"
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scripts() -> str:
    """What MLflow's pages are made of."""
    folder = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    return "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.js"))


@pytest.mark.parametrize(
    ("page", "parts"),
    [
        (compat.runs_page("7", "v", charts=True), ["/experiments/:experimentId"]),
        (compat.compare_page("7", ["a"]), ["/compare-runs"]),
        (compat.model_page("7", "m"), ["/experiments/:experimentId/models/:loggedModelId"]),
    ],
)
def test_the_addresses_of_pages(page: str, parts: list[str], scripts: str) -> None:
    """What they show holds `test_mlflow_browser.py` and `test_record_browser.py`."""
    asked = parse_qsl(page.partition("?")[2])
    words = [*parts, *(word for word, _ in asked), *(v for _, v in asked if v.isupper())]
    for word in words:
        with upstream(f"MLflow's pages know no {word!r}: look the address up in a browser"):
            assert re.search(rf"(?<![\w]){re.escape(word)}(?![\w-])", scripts) is not None


def test_a_store_holds_where_files_lie_in_these_columns(empty_store: Path) -> None:
    with closing(sqlite3.connect(empty_store)) as connection:
        for table, column in compat.SQL_ARTIFACTS:
            with upstream(f"MLflow keeps where files lie elsewhere than in {table}.{column}"):
                connection.execute(f"SELECT {column} FROM {table}").fetchall()
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        held = {
            (table, column[1])
            for (table,) in found.fetchall()
            for column in connection.execute(f"PRAGMA table_info({table})")
            if column[1] in ("artifact_location", "artifact_uri", "storage_location")
        }
    with upstream("MLflow keeps where files lie in more tables: name them in SQL_ARTIFACTS"):
        assert held == set(compat.SQL_ARTIFACTS)


def test_the_tables_of_a_store_can_be_made_without_one(tmp_path: Path) -> None:
    file = tmp_path / "a?b" / "mlflow.db"
    file.parent.mkdir()
    with upstream("MLflow makes its tables elsewhere than in store.db.utils"):
        compat.make_store(file)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (0,)
