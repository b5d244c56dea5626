"""The commands of `docs/cluster.md`, as they stand there."""

from __future__ import annotations

import re

from lab import ROOT

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
FIRST = "Before the first launch"
LAUNCH = "From `ray up` to `ray down`"


def commands(heading: str) -> list[str]:
    """Return every line of the shell blocks below a heading, up to the next of its level."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    level = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert level is not None, heading
    below = text[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", below, re.MULTILINE)
    blocks = _BLOCK.findall(below[: end.start()] if end else below)
    return [line for block in blocks for line in block.splitlines()]


def command(heading: str, start: str) -> str:
    """Return the one command below a heading that starts so."""
    (found,) = [line for line in commands(heading) if line.startswith(start)]
    return found
