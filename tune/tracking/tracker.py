"""The record for people: what happens goes to a spool at once and to MLflow when it can."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refkd.files import sha256_file
from refkd.scoped import log_levels, variables
from tune.config.urls import scrub, without_password
from tune.tracking.courier import Courier, Delivery
from tune.tracking.spool import STUDY_RUN, Event, Kind, Spool

if TYPE_CHECKING:
    from tune.tracking.lineage import Input
    from tune.tracking.sender import Sender

_log = logging.getLogger(__name__)
CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # where MLflow is first imported meanwhile
}
"""MLflow's own client would wait for minutes, print, and tell its makers; the spool waits."""


class Tracker:
    """Tells MLflow of a study without ever waiting for it.

    A run is named by a key that is the same in every launch, such as `trial/0003`. What was told
    once is not told again, so a launch may repeat all it knows. `uri` None tells nobody.
    """

    def __init__(
        self,
        uri: str | None,
        experiment: str,
        spool: Path,
        *,
        study: str,
        artifact_root: Path | None,
    ) -> None:
        self._study = study
        self._spool: Spool | None = None
        if uri is None:
            return
        self._spool = Spool(spool)
        owner = owner_of(self._spool, study)
        self._after = ExitStack()
        self._after.enter_context(client_settings())

        def connect() -> Sender:
            from tune.tracking.sender import Sender

            return Sender(uri, experiment, owner=owner, artifact_root=artifact_root)

        target = target_of(uri, experiment)
        self._courier = Courier(self._spool, target, connect, show=partial(scrub, url=uri))

    def study_started(
        self, params: Mapping[str, str], tags: Mapping[str, str], files: Iterable[Path]
    ) -> None:
        """Open the run that all others are children of, with files that describe the study."""
        tags = {**tags, "refkd.study": self._study, "refkd.role": "study"}
        self.run_started(STUDY_RUN, self._study, params, tags)
        for path in files:
            self.artifact(STUDY_RUN, path, None)

    def run_started(
        self,
        run: str,
        name: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        *,
        parent: str = STUDY_RUN,
        at: float | None = None,
    ) -> None:
        """Open a run below another, or go on with it; `at` is as for `epoch`."""
        body: dict[str, Any] = {"name": name, "params": dict(params), "tags": dict(tags)}
        if parent != STUDY_RUN:
            body["parent"] = parent
        self._tell("run", run, at=at, **body)

    def epoch(
        self, run: str, epoch: int, metrics: Mapping[str, float], *, at: float | None = None
    ) -> None:
        """Log the metrics of an epoch, once; `at` is its time in seconds since 1970, else now."""
        self._tell("epoch", run, at=at, step=epoch, metrics=dict(metrics))

    def knows(self, run: str, epoch: int, at: float) -> None:
        """Take it that an epoch was told, at a time as for `epoch`."""
        if self._spool is not None:
            self._spool.set_time(run, epoch, round(1000 * at))

    def artifact(self, run: str, path: Path, folder: str | None) -> None:
        """Keep a copy of a file with the run, in a folder of the run or at its top."""
        if self._spool is not None:
            digest = sha256_file(path)
            self._tell("file", run, path=str(path.absolute()), folder=folder, sha256=digest)

    def inputs(self, run: str, datasets: Sequence[Input], models: Sequence[str] = ()) -> None:
        """Say what went into a run: datasets, and models that were told, by their digests."""
        self._tell("inputs", run, datasets=list(datasets), models=list(models))

    def model(
        self,
        run: str,
        name: str,
        paths: Iterable[Path],
        *,
        model_type: str,
        digest: str,
        step: int,
        metrics: Mapping[str, float],
        dataset: Input,
        params: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        """Keep what a run made as a logged model.

        `digest` says which one it is, `step` the epoch it was made at, `metrics` how good it is
        on the dataset.
        """
        if self._spool is None:
            return
        self._tell(
            "model",
            run,
            name=name,
            paths=[str(path.absolute()) for path in paths],
            model_type=model_type,
            digest=digest,
            step=step,
            metrics=dict(metrics),
            scored=self._spool.time_of(run, step),
            dataset=dataset,
            params=dict(params),
            tags=dict(tags),
        )

    def run_ended(
        self,
        run: str,
        status: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        *,
        at: float | None = None,
    ) -> None:
        """Close a run as FINISHED, FAILED or KILLED; `metrics` are of the whole run."""
        self._tell("end", run, at=at, status=status, tags=dict(tags), metrics=dict(metrics))

    def has_begun(self, run: str) -> bool:
        """Return whether a run was opened in this launch or an earlier one."""
        return self._spool is not None and self._spool.holds("run", run)

    def has_ended(self, run: str) -> bool:
        """Return whether a run was closed and not opened again."""
        return self._spool is not None and self._spool.holds("end", run)

    def close(self, seconds: float, *, struggling: float = math.inf) -> Delivery:
        """Send what is left for at most so many seconds; the rest waits for the next launch.

        `struggling` bounds them while the server is down or slow.
        """
        if self._spool is None:
            return Delivery()
        delivery = self._courier.close(seconds, struggling=struggling)
        self._after.close()
        return delivery

    def _tell(self, kind: Kind, run: str, *, at: float | None = None, **body: object) -> None:
        if self._spool is None:
            return
        stamp = round(1000 * (time.time() if at is None else at))
        if self._spool.append(Event(kind=kind, run=run, time=stamp, body=body)):
            self._courier.wake()


def warn_of(delivery: Delivery, spool: Path) -> None:
    """Log what did not reach MLflow and where it is kept."""
    if delivery.left:
        _log.warning(
            "%d events did not reach MLflow (%s); they are kept in %s and the next run of the "
            "same command sends them",
            delivery.left,
            delivery.problem,
            spool,
        )
    if delivery.rejected:
        _log.warning("MLflow refused %d events: see %s", delivery.rejected, spool)


@contextmanager
def client_settings() -> Iterator[None]:
    """Set how MLflow's client behaves, where the user's environment does not."""
    with variables(CLIENT_SETTINGS), log_levels({"mlflow": logging.WARNING}):
        yield


def owner_of(spool: Spool, study: str) -> str:
    """Return what tells a study's runs from those of all others, also of the same name."""
    return f"{study}/{spool.identity}"


def target_of(uri: str, experiment: str) -> str:
    """Return the name under which the spool remembers how far an experiment has come."""
    return f"{without_password(uri)}\n{experiment}"
