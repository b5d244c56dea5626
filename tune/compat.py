"""Everything of Optuna, Ray and MLflow that is used here without being documented by them.

Names, tables, lines of files, arguments of programs and addresses of pages: a new version may
change any of them. Nothing else in `tune` uses such a thing, and `tests/tune/test_compat.py` says
for each what changed. The libraries are imported when a function needs them, so that reading a
study does not wait for them.
"""

from __future__ import annotations

import copy
import json
import math
import operator
import os
import re
import signal
import warnings
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import quote

from refkd.scoped import variables

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, Trial, TrialState
    from ray.tune.experiment import Trial as RayTrial

# Python -------------------------------------------------------------------------------------

end_process: Callable[[int], NoReturn] = os._exit
"""Ends this process with an exit code, whatever its threads do; documented, but for its name."""

# Optuna: studies and trials -----------------------------------------------------------------

trial_changed: Callable[[object, object], bool] = operator.is_not
"""Whether something was written to a trial between two calls of `get_trials(deepcopy=False)`:
Optuna then returns another object."""


def study_id(study: Study) -> int:
    """Return the number of a study in its storage, which pages of optuna-dashboard use."""
    return study._study_id


def directions(signs: Sequence[float]) -> list[StudyDirection]:
    """Return the directions of objectives: 1 stands for one to maximise, -1 to minimise."""
    from optuna.study import StudyDirection

    return [StudyDirection.MAXIMIZE if sign > 0 else StudyDirection.MINIMIZE for sign in signs]


def adopt(study: Study, trial: FrozenTrial) -> Trial:
    """Return a trial that is running already, to go on with it."""
    from optuna.trial import Trial

    return Trial(study, trial._trial_id)


def begin(study: Study, attributes: Mapping[str, Any]) -> Trial:
    """Return a new trial as `Study.ask` does, which has some attributes from its first moment."""
    from optuna.trial import Trial, TrialState, create_trial

    made = create_trial(state=TrialState.RUNNING, user_attrs=dict(attributes))
    return Trial(study, study._storage.create_new_trial(study._study_id, template_trial=made))


def take_from_queue(study: Study, trial: FrozenTrial) -> bool:
    """Let a waiting trial run; False where another program was faster."""
    from optuna.trial import TrialState

    return study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)


def set_attribute(study: Study, trial: FrozenTrial, key: str, value: Any) -> None:
    """Store an attribute of a trial that need not run."""
    study._storage.set_trial_user_attr(trial._trial_id, key, value)


def blank(trial: FrozenTrial) -> FrozenTrial:
    """Return a failed trial that holds nothing, in the place of another one."""
    from optuna.trial import FrozenTrial, TrialState

    return FrozenTrial(
        number=trial.number,
        trial_id=trial._trial_id,
        state=TrialState.FAIL,
        value=None,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def with_trials(study: Study, trials: Sequence[FrozenTrial]) -> Study:
    """Return a study for samplers to read, which holds other trials than its storage does."""
    import optuna

    class Shown(optuna.Study):
        def _get_trials(
            self,
            deepcopy: bool = True,
            states: Container[TrialState] | None = None,
            use_cache: bool = False,
        ) -> list[FrozenTrial]:
            return [t for t in trials if states is None or t.state in states]

    shown = Shown.__new__(Shown)
    shown.__dict__ |= study.__dict__
    return shown


def forget_values(trial: Trial) -> None:
    """Let a trial draw all its values again: after some of them it would draw others.

    A sampler draws one after the other from a stream that begins with the trial.
    """
    trial._cached_frozen_trial.params = {}
    trial._cached_frozen_trial.distributions = {}


def unwritten(trial: Trial) -> Trial:
    """Return a trial that draws the same values and keeps none of them in its storage."""

    class Reading:
        def __getattr__(self, name: str) -> Any:
            return getattr(trial.storage, name)

        def set_trial_param(self, *_: Any) -> None:
            pass

    copied = copy.copy(trial)
    copied.storage = cast("BaseStorage", Reading())
    copied._cached_frozen_trial = copy.copy(trial._cached_frozen_trial)
    forget_values(copied)
    return copied


def fix_values(trial: Trial, values: Mapping[str, Any]) -> None:
    """Let a trial draw the values that are given, whatever its sampler proposes."""
    trial._fixed_params = dict(values)


def qmc_sampler(*, seed: int, place: int, apart: int) -> BaseSampler:
    """Return a sampler that draws a point of a sequence by its place, which counts from 0.

    Optuna's own takes the next one each time that a trial is begun or taken up. Below 0 the point
    is none of the sequence, as that of Optuna's first trial. `apart` seeds what is drawn beside
    the sequence: its first point, and keys that the first trial did not have.
    """
    from optuna.samplers import QMCSampler, RandomSampler

    class Placed(QMCSampler):
        def infer_relative_search_space(self, *trial: Any) -> Any:
            return {} if place < 0 else super().infer_relative_search_space(*trial)

        def _find_sample_id(self, *_: Any) -> int:
            return place

    return Placed(
        seed=seed,
        scramble=True,
        independent_sampler=RandomSampler(seed=apart),
        warn_independent_sampling=False,
    )


def frozen(trial: Trial) -> FrozenTrial:
    """Return a trial as its storage holds it now; a `Trial` shows what it was at its begin."""
    return trial.storage.get_trial(trial._trial_id)


def tell(
    study: Study, trial: Trial | int, values: Sequence[float] | None, state: TrialState
) -> None:
    """End a trial as `Study.tell` does, without the deep copy of it that `Study.tell` returns."""
    from optuna.study._tell import _tell_with_warning

    _tell_with_warning(study, trial, values, state)


def same_kind(one: BaseDistribution, other: BaseDistribution) -> bool:
    """Return whether a storage takes both distributions for one parameter."""
    from optuna.distributions import check_distribution_compatibility

    try:
        check_distribution_compatibility(one, other)
    except ValueError:
        return False
    return True


def enqueued_params(trial: FrozenTrial) -> dict[str, Any] | None:
    """Return the values a trial was enqueued with; None where a sampler proposed them."""
    params: dict[str, Any] | None = trial.system_attrs.get("fixed_params")
    return params


def internal_attributes(trial: FrozenTrial) -> dict[str, Any]:
    """Return what Optuna itself, mostly one of its pruners, has written to a trial."""
    return trial.system_attrs


def set_internal_attributes(trial: FrozenTrial, attributes: Mapping[str, Any]) -> None:
    """Replace what Optuna itself has written to a copy of a trial."""
    trial.system_attrs = dict(attributes)


# Optuna: a study in SQLite ------------------------------------------------------------------

REVISION_TABLE = "alembic_version"
"""The table of MLflow's stores, too, that holds the version of all others."""
SQL_REVISION = f"SELECT version_num FROM {REVISION_TABLE}"
REVISION = "v3.2.0.a"
"""The one revision of the tables that the following reads."""
SQL_STUDY = "SELECT study_id FROM studies WHERE study_name = ?"
"""A study's row; its id is the parameter of all below."""
SQL_FACTS = "SELECT key, value_json FROM study_user_attributes WHERE study_id = ?"
SQL_TRIALS = "SELECT trial_id, number, state FROM trials WHERE study_id = ? ORDER BY trial_id"
_SQL_OF_TRIALS = (
    "SELECT trial_id, {} FROM {} JOIN trials USING (trial_id) WHERE study_id = ? ORDER BY {}"
)
SQL_PARAMS = _SQL_OF_TRIALS.format(
    "param_name, param_value, distribution_json", "trial_params", "param_id"
)
SQL_VALUES = _SQL_OF_TRIALS.format("value, value_type", "trial_values", "objective")
SQL_TRIAL_FACTS = _SQL_OF_TRIALS.format("key, value_json", "trial_user_attributes", "trial_id")


def stored_value(value: float, kind: str) -> float:
    """Return an objective's value from its columns `value` and `value_type`."""
    return {"INF_POS": math.inf, "INF_NEG": -math.inf}.get(kind, value)


def stored_param(value: float, distribution: str) -> Any:
    """Return a parameter as it was suggested; the table holds all as real numbers."""
    described = json.loads(distribution)
    if described["name"] == "CategoricalDistribution":
        return described["attributes"]["choices"][int(value)]
    return int(value) if described["name"] == "IntDistribution" else value


# Optuna: a study in a journal ---------------------------------------------------------------

JOURNAL_BEGIN = b'{"op_code":'
"""What a journal begins with, whole or torn."""
JOURNAL_END = b"\n"
"""What ends a record of a journal; a last line without it is torn."""


def journal_lock(path: Path) -> Path:
    """Return the symbolic link that a journal's `JournalFileSymlinkLock` is."""
    return path.with_name(path.name + ".lock")


# Ray ----------------------------------------------------------------------------------------

TOKEN_LOGGER = "ray._private.authentication"
"""The logger that warns at every start that a token is in use."""
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Variables with the token itself, and with the path of its file."""
TOKEN_FILE = Path(".ray", "auth_token")
"""Where Ray keeps its token in the home, unless a variable names it."""
AUTOSCALING_OPTION = "--autoscaling-config="
"""Begins the word with which Ray names a cluster's file to its autoscaler's process."""
KUBERAY_VARIABLE = "RAY_USAGE_STATS_KUBERAY_IN_USE"
"""Set to 1 by KubeRay's operator in every pod."""


RAY_PROCESSES = ("gcs_server", "raylet")
"""Names of the processes without which a Ray that `ray.init` has started cannot go on."""


def in_folder(folder: Path) -> dict[str, Any]:
    """Return the arguments with which `ray.init` keeps all its files in a folder."""
    return {"_temp_dir": str(folder)}


@contextmanager
def raylet_silenced() -> Iterator[None]:
    """Print nothing of what Ray's own processes say: it goes to stdout, where JSON may be."""
    from ray._private import worker

    before = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


def end_tune_soon() -> bool:
    """Have a run of Tune end after its current step; return False where none has begun.

    It is what Tune does at SIGUSR1, and at Ctrl-C unless `TUNE_SIGNALS` are set.
    """
    handler = signal.getsignal(signal.SIGUSR1)
    if not callable(handler) or getattr(handler, "__module__", "") != "ray.tune.tune":
        return False
    handler(signal.SIGUSR1, None)
    return True


TUNE_SIGNALS = {"TUNE_DISABLE_SIGINT_HANDLER": "1"}
"""Variables that keep Tune from handling Ctrl-C."""


def draining_nodes() -> Collection[str]:
    """Return the ids of the nodes of the joined cluster that are about to be taken away."""
    from ray._private.state import state

    nodes: Collection[str] = state.get_draining_nodes()
    return nodes


def drain_arguments(node: str, reason: str, seconds: int) -> list[str]:
    """Return the arguments with which `ray` drains a node that goes in so many seconds."""
    why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", reason]
    return ["drain-node", "--node-id", node, *why, "--deadline-remaining-seconds", str(seconds)]


@contextmanager
def credentials_withheld() -> Iterator[None]:
    """Let Tune pass none of the driver's AWS keys on: each node's runtime log would show them.

    A worker uses its own machine's environment or role.
    """
    from ray.tune.execution import class_cache

    before = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {n for n in before if not n.startswith("AWS_")}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = before


def take_error(trial: RayTrial) -> str:
    """Return what Ray has written down of a trial's last error; "" where it has nothing.

    Tune then no longer reads the copy that it makes, which a full disk cuts off.
    """
    file = None if trial.error_file is None else Path(trial.error_file)
    trial.run_metadata.error_filename = trial.run_metadata.pickled_error_filename = None
    return file.read_text(encoding="utf-8").strip() if file and file.is_file() else ""


def cluster_file_schema() -> Path | None:
    """Return the JSON schema of cluster files, without importing Ray; None without Ray."""
    spec = find_spec("ray")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "autoscaler" / "ray-schema.json"


# MLflow -------------------------------------------------------------------------------------

_STEP = r'(?m)^revision = "(?P<to>\w+)"\ndown_revision = (?:None|"(?P<come>\w+)")'
"""A change of a store's tables: the revision that it makes, and the one before."""
STORE_LOGGER = "mlflow.store.db.utils"
"""The logger that prints the traceback of whatever a database answers, before it is raised."""
SQL_ARTIFACTS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of a store that hold where files lie, as URIs."""


def mlflow_revision() -> str:
    """Return the revision of the tables that the installed MLflow makes, without importing it."""
    spec = find_spec("mlflow")
    assert spec is not None, "MLflow is installed"
    assert spec.origin is not None
    changes = Path(spec.origin).parent / "store" / "db_migrations" / "versions"
    steps = [re.search(_STEP, one.read_text("utf-8")) for one in changes.glob("*.py")]
    found = {step["to"]: step["come"] for step in steps if step is not None}
    (newest,) = set(found) - set(found.values())
    return newest


def store_address(uri: str) -> str:
    """Return a tracking store's address for MLflow, which makes the folder of a SQLite file.

    It takes the text behind `sqlite:///` as the path, still quoted, unless a driver is named.

    >>> store_address("sqlite:////exp%3Flr=1/mlflow.db"), store_address("http://127.0.0.1:5000")
    ('sqlite+pysqlite:////exp%3Flr=1/mlflow.db', 'http://127.0.0.1:5000')
    """
    scheme, quoted, path = uri.partition(":///")
    return f"sqlite+pysqlite:///{path}" if scheme + quoted == "sqlite:///" and "%" in path else uri


def make_store(file: Path) -> None:
    """Make the tables of an SQLite store in a new file; killed on the way, it is of no use."""
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import URL, create_engine
    from sqlalchemy.orm import configure_mappers
    from sqlalchemy.pool import NullPool

    engine = create_engine(URL.create("sqlite", database=str(file)), poolclass=NullPool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how MLflow describes its tables
        configure_mappers()
        _initialize_tables(engine)  # type: ignore[no-untyped-call]


@contextmanager
def tracking_at(uri: str) -> Iterator[None]:
    """Set MLflow's global store and put it back: a store looks up a version's model there."""
    import mlflow
    from mlflow.tracking._tracking_service import utils

    before = utils._tracking_uri  # what the environment names is not set by it
    with variables({}, kept=["MLFLOW_TRACKING_URI"]):
        mlflow.set_tracking_uri(store_address(uri))
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None unsets it


SHARED_VIEW = "mlflow.sharedViewState."
"""Begins the tag of an experiment that keeps a view of its runs; the view's name follows."""


def run_view(
    asked: str,
    *,
    order: str,
    ascending: bool,
    tags: Sequence[str],
    metrics: Sequence[str],
    params: Sequence[str],
    charts: bool,
) -> str:
    """Return a view of an experiment's runs as MLflow keeps what "Share" has copied.

    `asked` selects the runs, `order` is the metric by which they are sorted. A table has the named
    columns; charts are one of parallel axes, and one of the first metric against the second.
    """
    kinds = {"tags": tags, "metrics": metrics, "params": params}
    view: dict[str, Any] = {
        "searchFilter": asked,
        "orderByKey": f"metrics.`{order}`",
        "orderByAsc": ascending,
        "selectedColumns": [f"{kind}.`{one}`" for kind, names in kinds.items() for one in names],
    }
    if charts:
        section: dict[str, Any] = {"uuid": "refkd", "name": "Search", "display": True}
        section |= {"isReordered": False, "deleted": False, "isGenerated": False}
        section |= {"columns": 2, "cardHeight": 420}
        shared = {"metricSectionId": "refkd", "deleted": False, "isGenerated": False}
        first, second = ({"key": name, "type": "METRIC"} for name in metrics[:2])
        view |= {
            "compareRunSections": [section],
            "compareRunCharts": [
                {
                    **shared,
                    "uuid": "refkd-axes",
                    "type": "PARALLEL",
                    "selectedParams": list(params),
                    "selectedMetrics": list(metrics),
                    "showAllRuns": True,
                },
                {
                    **shared,
                    "uuid": "refkd-front",
                    "type": "SCATTER",
                    "runsCountToCompare": 1000,
                    "xaxis": first,
                    "yaxis": second,
                },
            ],
            "isAccordionReordered": True,  # else sections that MLflow makes come first
            "runsHiddenMode": "SHOW_ALL",
        }
    return json.dumps(view)


def runs_page(experiment: str, view: str | None, *, charts: bool = False) -> str:
    """Return the page of an experiment's runs, shown as the view of a name says.

    A page is what follows `/#/` in the address of MLflow's pages.
    """
    asked = [] if view is None else [f"viewStateShareKey={quote(view)}"]
    asked += ["compareRunsMode=CHART"] if charts else []
    return f"experiments/{experiment}/runs{'?' if asked else ''}{'&'.join(asked)}"


def compare_page(experiment: str, runs: Sequence[str]) -> str:
    """Return the page that shows some runs of an experiment side by side."""
    chosen, of = quote(json.dumps(list(runs))), quote(json.dumps([experiment]))
    return f"compare-runs?runs={chosen}&experiments={of}"


def model_page(experiment: str, model: str) -> str:
    """Return the page of a logged model."""
    return f"experiments/{experiment}/models/{model}"
