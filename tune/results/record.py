"""What MLflow is told of the finalists: a run a student, below its trial's run."""

from __future__ import annotations

from collections.abc import Mapping

from tune.results.choice import FinalistRun
from tune.study.outcomes import SeedResult
from tune.tracking.record import Record, as_text, kept_scores, trial_key


class FinalistRecord(Record):
    """A record of a study that goes on with its finalists."""

    def begun(self, run: FinalistRun) -> None:
        """Open a student's run, or go on with it."""
        parameters = as_text({**self._file.fixed(), **run.values, "seed": run.seed})
        parent = trial_key(run.number)
        tags = {"refkd.finalist_of": str(run.number), "refkd.role": "finalist"}
        self.student_begun(run.run, _name("finalist", run), parameters, tags, parent=parent)

    def epoch_of(self, run: FinalistRun, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch of a student."""
        self._tracker.epoch(run.run, epoch, metrics)

    def ended(self, run: FinalistRun, result: SeedResult) -> None:
        """Close a student's run with its outcome, unless an earlier launch did."""
        if self._tracker.has_ended(run.run):
            return
        if not self._tracker.has_begun(run.run):
            self.begun(run)
        self.student_kept(run.run, _name("student", run), run.folder)
        tags = {"refkd.state": "FAIL" if result.failed else "COMPLETE"}
        if result.failed:
            tags["refkd.reason"] = result.failed
        status = "FAILED" if result.failed else "FINISHED"
        self._tracker.run_ended(run.run, status, tags, kept_scores(result.metrics))


def _name(what: str, run: FinalistRun) -> str:
    return f"{what}-{run.number:04d}-seed-{run.replicate}"
