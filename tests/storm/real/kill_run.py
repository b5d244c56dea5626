"""Real kills: a command is begun, something of it is killed, and the same command is run again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
from storm.real.kill_rules import Result, differences, looked_at
from storm.real.kill_site import Site, wait
from storm.real.kill_table import PHASES, Begin, Kills, Kind, Phase, Target
from support.chaos import session

from tune.ending.exits import ExitCode

RUNS = 4
"""How often a command is run again until it ends with 0."""
TRIES = 6
"""How often a kill that came too late is tried again, earlier each time."""
_AT_WORK = "ray::ImplicitFunc"
"""How Ray entitles a worker that trains; its agents bear titles too, which no raylet outlives."""
_ENDS: dict[Target, tuple[int, ...]] = {
    "driver": (-signal.SIGKILL,),
    "group": (-signal.SIGKILL,),
    "worker": (ExitCode.DONE,),
    "raylet": (ExitCode.RUN_AGAIN, ExitCode.DONE),
    "gcs_server": (ExitCode.RUN_AGAIN, ExitCode.DONE),
    "mlflow": (ExitCode.DONE, ExitCode.DISAGREES, ExitCode.MISTAKE, ExitCode.LEFT),
    "database": (ExitCode.DONE, ExitCode.MISTAKE, ExitCode.LEFT),
}
"""How a command may end whose target was killed; a killed Ray may have been needed no more."""
_RAY_ENDS = "core_worker_process.cc"
"""Names what in Ray ends the process that it is just connecting to a cluster which has died."""
_AGAIN = (
    "killed or for want of memory, and its trials with it; nothing that was stored is lost: "
    "run the same command again to continue"
)
_MADE_BY: dict[Begin, tuple[Begin, str]] = {
    "searched": ("new", "students"),
    "finals": ("searched", "finalists"),
}
"""From which start and by which phase's command a workspace is made."""


class TooLateError(Exception):
    """The command had ended before the kill."""


@dataclass
class Storm:
    """Kills on one site, and what undisturbed runs on it came to."""

    site: Site
    tell: Callable[[str], None]
    _made: set[tuple[Kind, Begin]] = field(default_factory=set)
    _calm: dict[str, tuple[float, Result]] = field(default_factory=dict)
    """By phase: how long it lasts, and the results."""
    _usual: set[str] = field(default_factory=set)
    """Temporary files that undisturbed commands leave, such as caches of libraries."""
    done: list[float] = field(default_factory=list)
    """After how many seconds of its phase each of the last kills came."""
    killed: int = 0

    def run(self, kills: Kills) -> list[str]:
        """Kill, run again, and so on to the end; return the rules that are broken."""
        phase = kills.phase
        length, calm = self._undisturbed(phase)
        begun = time.monotonic()
        faults = self._kills(kills, length)
        if not faults:
            faults, found = looked_at(self.site.work, phase.name, kills=len(self.done))
            faults += differences(calm, found)
        took = time.monotonic() - begun
        moments = ", ".join(f"{moment:.2f} s" for moment in self.done)
        self.killed += len(self.done)
        self.tell(f"{kills} ({moments}): {'; '.join(faults) or 'sound'} [{took:.0f} s]")
        if faults:
            self.tell(self.site.said()[-3000:])
        return faults

    def _kills(self, kills: Kills, length: float) -> list[str]:
        """Carry the kills out; return what broke a rule meanwhile.

        The first is tried again, earlier, where the command had ended; a later one is left out.
        """
        self.done = []
        for share in kills.moments:
            moment = share * length
            for _ in range(1 if self.done else TRIES):
                if not self.done:
                    self._restore(kills.kind, kills.phase)
                try:
                    faults = self._kill(kills, moment)
                except TooLateError:
                    moment *= 0.6
                    continue
                self.done.append(moment)
                break
            else:
                break
            if faults:
                return faults
        if not self.done:
            return ["the command had always ended before"]
        return self._go_on(kills.phase)

    def _undisturbed(self, phase: Phase) -> tuple[float, Result]:
        """Return how long a phase lasts, and its results: the same on all kinds of workspaces."""
        makes = {name: start for start, (_, name) in _MADE_BY.items()}
        if phase.name not in self._calm:
            for name, start in makes.items():
                if PHASES[name].command == phase.command and not phase.grown:
                    self._make("files", start)
        if phase.name not in self._calm:
            self._restore("files", phase)
            self._learn(phase)
        return self._calm[phase.name]

    def _learn(self, phase: Phase) -> None:
        """Run a command undisturbed; note what comes of it, and how long its phases last."""
        ran = self.site.run(phase)
        assert ran.code == 0, ran.said
        self._usual |= {one for one in self.site.left() if one.startswith("temporary")}
        broken, found = looked_at(self.site.work, phase.name)
        assert broken == [], (phase, broken)
        for one in PHASES.values():
            if (one.command, one.grown) == (phase.command, phase.grown):
                self._calm.setdefault(one.name, (ran.length(one), found))
                self.tell(f"{one.name}: {ran.length(one):.1f} of {ran.seconds:.1f} s")

    def _restore(self, kind: Kind, phase: Phase) -> None:
        self._make(kind, phase.start)
        self.site.restore(kind, phase.start, grown=phase.grown)
        (self.site.work / "made").mkdir(exist_ok=True)

    def _make(self, kind: Kind, start: Begin) -> None:
        """Make what a phase begins with, once."""
        if start == "new" or (kind, start) in self._made:
            return
        if start == "taught":
            self._make("files", "searched")
            self.site.teach(kind)
        elif start == "unsent":
            self._make(kind, "finals")
            self.site.restore(kind, "finals")
            self.site.lose_record()
            self.site.keep(start)
        else:
            before, phase = _MADE_BY[start]
            self._make(kind, before)
            self.site.restore(kind, before)
            self._learn(PHASES[phase])
            self.site.keep(start)
        self._made.add((kind, start))

    def _kill(self, kills: Kills, moment: float) -> list[str]:
        """Run the command and kill its target; return what broke a rule until it had ended."""
        before = len(self.site.said())
        process = self.site.start(kills.phase)
        try:
            if kills.phase.begins is not None:
                self._wait(process, self.site.mark(kills.phase.begins).exists)
            self._sleep(process, moment)
            self._hit(kills, process)
        except TooLateError:
            self.site.left()
            raise
        served = kills.target in ("mlflow", "database")
        if served and kills.early:
            time.sleep(random.Random(f"restart {kills.seed}").uniform(0, 3))
            self.site.start_server()
        code = wait(process)
        if kills.target in ("driver", "group") and code == 0:
            self.site.left()
            raise TooLateError
        if served:
            self.site.start_server()
        faults = self._of_end(kills.target, code, self.site.said()[before:])
        return faults + self._unusual(self.site.left())

    def _go_on(self, phase: Phase) -> list[str]:
        """Run the same command until it ends with 0; return what broke a rule."""
        for _ in range(RUNS):
            ran = self.site.run(phase)
            if left := self._unusual(self.site.left()):
                return [f"after the run that goes on: {one}" for one in left]
            if "Traceback" in ran.said:
                return [f"a traceback in the run that goes on, which ends with {ran.code}"]
            if ran.code == 0 or self.site.is_done(phase, ran.said):
                return []
        return [f"the same command ends with {ran.code}: {ran.said[-500:]}"]

    def _unusual(self, left: list[str]) -> list[str]:
        """Return what is left that an undisturbed run does not leave."""
        return [one for one in left if one not in self._usual]

    def _of_end(self, target: Target, code: int, said: str) -> list[str]:
        """Return what is wrong with how the command that was hit has ended."""
        if "Traceback" in said:
            return [f"a traceback, and exit code {code}"]
        if target in ("raylet", "gcs_server") and code == 1 and _RAY_ENDS in said:
            return []
        if code not in _ENDS[target]:
            return [f"exit code {code}"]
        last = " ".join(said.split("refkd: ")[-1].split())
        if code == ExitCode.RUN_AGAIN and last != f"Ray's {target} has died, {_AGAIN}":
            return [f"it says: {last[-300:]}"]
        return []

    def _hit(self, kills: Kills, process: subprocess.Popen[bytes]) -> None:
        """Kill the target, as soon as it is there."""
        if kills.target == "driver":
            process.kill()
        elif kills.target == "group":
            os.killpg(process.pid, signal.SIGKILL)
        elif kills.target in ("mlflow", "database"):
            self.site.kill_server()
        else:
            names = _AT_WORK if kills.target == "worker" else kills.target
            found: list[psutil.Process] = []

            def there() -> bool:
                found[:] = members(process.pid, names)
                return bool(found)

            self._wait(process, there)
            chance = random.Random(f"which {kills.seed}")
            chance.choice(sorted(found, key=lambda one: one.pid)).kill()

    def _wait(self, process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
        while not happened():
            if process.poll() is not None:
                raise TooLateError
            time.sleep(0.005)

    def _sleep(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        until = time.monotonic() + seconds
        self._wait(process, lambda: time.monotonic() >= until)
        if process.poll() is not None:
            raise TooLateError


def members(leader: int, name: str) -> list[psutil.Process]:
    """Return the processes of a driver's Ray by name, or by how their titles begin."""
    found = []
    for pid in session(leader):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if name == process.name() or " ".join(process.cmdline()).startswith(name):
                found.append(process)
    return found


def storm(kills: Iterable[Kills], tell: Callable[[str], None] = print) -> list[Kills]:
    """Carry kills out, one after the other; return those after which a rule is broken."""
    with Site() as site:
        on = Storm(site, tell)
        bad = [one for one in kills if on.run(one)]
        tell(f"{on.killed} kills, {len(bad)} of the seeds with a broken rule")
        return bad
