"""What a further process adds to the memory of a machine by reading all features."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.prepare import Made
from benchmarks.rows import Aim, Row, row
from refkd.data.grid import MAX_CLIPS
from refkd.data.store import pack

READ = """
import sys
from pathlib import Path
import h5py, numpy as np
from refkd.data.store import open_store
from benchmarks.memory import private
before = private("self")
{how}
total = int(np.asarray(rows).view(np.uint8).max())
print(before, flush=True)
sys.stdin.read()
"""
OURS = "rows = open_store(Path(sys.argv[1])).rows"
NAIVE = "rows = h5py.File(sys.argv[1])['rows'][:]"


def run(smoke: bool) -> Iterator[Row]:
    """Yield the share of the features that a third reader adds, then that of a plain read."""
    videos = 8 if smoke else 1500
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "features.h5"
        pack(Made("made", 128, 512), [str(i) for i in range(videos)], path, max_clips=MAX_CLIPS)
        size = path.stat().st_size
        for how, case, aim in (
            (OURS, "refkd's memory map", Aim(at="<=", bound=2)),
            (NAIVE, "a plain h5py read", None),
        ):
            two, three = (_added(how, path, readers) for readers in (2, 3))
            shares = [100 * (three - two) / size]
            note = f"private pages and the share of mapped ones; features of {size / 1e6:.0f} MB"
            yield row("memory", case, shares, unit="%", clock="none", aim=aim, note=note)


def private(process: int | str) -> int:
    """Return the bytes that belong to a process alone: those that no file backs."""
    return _sum(Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii"), "Anonymous:")


def mapped(process: int, path: Path) -> int:
    """Return a process's share of the pages of a file that it maps, in bytes."""
    text = Path(f"/proc/{process}/smaps").read_text(encoding="utf-8")
    areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE)
    return sum(_sum(area, "Pss:") for area in areas if str(path) in area.partition("\n")[0])


def _sum(text: str, name: str) -> int:
    lines = [line.split() for line in text.splitlines()]
    return sum(1024 * int(words[1]) for words in lines if words[0] == name)


def _added(how: str, path: Path, readers: int) -> int:
    """Return the bytes that so many readers hold together beyond what they held before reading."""
    code = READ.format(how=how)
    with ExitStack() as after:
        processes = [
            after.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code, str(path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=Path(__file__).parents[1],
                )
            )
            for _ in range(readers)
        ]
        begun = [int(process.stdout.readline()) for process in processes if process.stdout]
        held = sum(private(p.pid) + mapped(p.pid, path) for p in processes)
        for process in processes:
            process.communicate()
    return held - sum(begun)
