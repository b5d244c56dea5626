"""Ray's token and TLS: at every start of Ray, and in the shell that a search runs in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tune.cluster.commands import SETUP, Command, commands, ray_starts
from tune.cluster.files import TOKEN
from tune.cluster.findings import Fault, Faults
from tune.cluster.source import ClusterFile, items, section

MODE, TLS = "RAY_AUTH_MODE", "RAY_USE_TLS"
_WRITTEN = re.compile(r">\s*[\"']?([^\s;&|\"'>]+)")


def check_tokens(file: ClusterFile) -> Faults:
    """Yield starts of Ray, and shells on the head, without the token or with half of TLS."""
    starts = list(ray_starts(file.content))
    for start in starts:
        mode = start.given(MODE)
        if mode != "token":
            late = mode is None and start.variable(MODE) == "token"
            yield Fault(
                start.keys,
                start.variable(MODE) if late else mode,
                "starts Ray without a token: whoever reaches a port runs code as this user",
                f"export {MODE}=token before `ray start`",
            )
    if items(file.content, "setup_commands"):
        yield from _profile(file)
        yield from _chmod(file)
    yield from _tls(file, starts)


def profile(file: ClusterFile) -> Iterator[Command]:
    """Yield what writes into ~/.bashrc, or into a file that ~/.bashrc reads."""
    setup = [c for c in commands(file.content) if c.keys[0] in SETUP]
    shells = [c.text for c in setup if "bashrc" in c.text]
    for command in setup:
        names = [path.rpartition("/")[2] for path in _WRITTEN.findall(command.text)]
        if "bashrc" in command.text or any(n in text for n in names if n for text in shells):
            yield command


def _profile(file: ClusterFile) -> Faults:
    said = [c for c in profile(file) if c.variable(MODE) is not None]
    remedy = f"append `export {MODE}=token` to ~/.bashrc in a setup command"
    if not said:
        what = f"leave {MODE} out of ~/.bashrc, which the search on the head reads"
        yield Fault(("setup_commands",), None, what, remedy)
        return
    last = said[-1]
    if last.variable(MODE) != "token":
        what = "switches the token off in ~/.bashrc, which the search on the head reads"
        yield Fault(last.keys, last.variable(MODE), what, remedy)
    elif not re.search(rf"\bexport\b[^;&|]*\b{MODE}=", last.text):
        what = f"sets {MODE} in ~/.bashrc without `export`: the search does not get it"
        yield Fault(last.keys, f"{MODE}=token", what, remedy)


def _chmod(file: ClusterFile) -> Faults:
    closed = re.compile(r"\bchmod\s+(?:0?[46]00|go=|u=rw?,go=)\s[^;&|]*\.ray/auth_token")
    mounted = TOKEN in section(file.content, "file_mounts")
    if mounted and not any(closed.search(c.text) for c in commands(file.content)):
        yield Fault(
            ("setup_commands",),
            None,
            "leave the token on the machines as open to others as it is here",
            f"add the setup command: chmod 600 {TOKEN}",
            level="note",
        )


def _tls(file: ClusterFile, starts: list[Command]) -> Faults:
    said = {"setup_commands": any(_is_on(c.variable(TLS)) for c in profile(file))}
    for start in starts:
        name = str(start.keys[0])
        said[name] = said.get(name, False) or _is_on(start.given(TLS))
    users = [name for name, on in said.items() if on]
    for name, on in said.items():
        if users and not on:
            yield Fault(
                (name,),
                None,
                f"leave out {TLS}, which {' and '.join(users)} set: they could not talk",
                f"set {TLS}=1 and the three variables RAY_TLS_ there as well, or nowhere",
            )


def _is_on(value: str | None) -> bool:
    return value is not None and value.lower() in ("1", "true")
