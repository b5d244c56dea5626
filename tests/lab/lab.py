"""Several machines on one: a host is a set of namespaces with an `sshd` of its own.

A host has its own network address, process table, home, `/tmp` and `/dev/shm`; everything else is
the machine's. So Ray's processes and files of different hosts never meet, `shared` is
a folder that all of them share, and a host can be lost without a word, or cut off from the others.
All hosts hang on a bridge in a network namespace of the lab, so labs do not meet either.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("ip", "sshd", "ssh", "ssh-keygen", "rsync", "unshare", "nsenter")
ADDRESSES = {
    "laptop": "192.168.1.5",
    "head": "192.168.1.10",
    "w1": "192.168.1.11",
    "w2": "192.168.1.12",
}
"""Those of `cluster/onprem.yaml`."""
STRICT = {"RAY_AUTH_MODE": "token"}
HOME = Path.home()
SHARED = Path("/mnt/refkd")
"""Where hosts have the folder that they share; outside of them, and inside, it is `Lab.shared`."""
_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SSHD = """\
HostKey {keys}/host
AuthorizedKeysFile {keys}/authorized
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
"""
_BOOT = """\
set -e
hostname {name}
mount -t proc proc /proc
mount -t tmpfs -o size=4g tmpfs /dev/shm
{binds}
mount -t tmpfs tmpfs /mnt
mkdir {mount}
mount --bind {shared} {mount}
mount --rbind {folder}/tmp /tmp
mount --rbind {folder}/home {home}
mount --bind {folder}/hosts /etc/hosts
cd {home}
exec $(command -v sshd) -D -e -f {folder}/sshd_config
"""


def require_lab() -> None:
    """Skip, with the reason, where no lab can be made."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


def why_not() -> str | None:
    """Return why no lab can be made here, None where it can."""
    if os.geteuid() != 0:
        return "a lab of hosts needs root"
    missing = [name for name in NEEDED if shutil.which(name, path=_SEARCHED) is None]
    if missing:
        return f"a lab of hosts needs {', '.join(missing)}"
    name = f"refkd-probe-{secrets.token_hex(3)}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


class Lab:
    """Hosts, the folder they share, and what can happen to them."""

    def __init__(self, *names: str) -> None:
        self._names = names or tuple(ADDRESSES)
        self.profile = ""
        """Further lines of every host's `~/.bashrc`, for what is booted from now on."""
        self.folder = Path(tempfile.mkdtemp(prefix="refkd-lab-", dir="/var/tmp"))
        self.shared = self.folder / "shared"
        self.keys = self.folder / "keys"
        self._net = self.folder.name
        self._first: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Lab:
        self.shared.mkdir()
        self.keys.mkdir()
        Path("/run/sshd").mkdir(exist_ok=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.keys / "host")
        _run("ip", "netns", "add", self._net)
        # Its own address: else it changes with each host, and what the others know goes stale.
        _run("ip", "-n", self._net, "link", "add", "hub", "address", "02:00:00:00:00:01",
             "type", "bridge")  # fmt: skip
        _run("ip", "-n", self._net, "addr", "add", "192.168.1.1/24", "dev", "hub")
        _run("ip", "-n", self._net, "link", "set", "hub", "up")
        _run("ip", "-n", self._net, "link", "set", "lo", "up")
        for name in self._names:
            self.boot(name)
        return self

    def __exit__(self, *error: object) -> None:
        for name in list(self._first):
            self.halt(name)
        _run("ip", "netns", "del", self._net)
        shutil.rmtree(self.folder)

    @property
    def hooks(self) -> Path:
        """What every Python on every host imports first, where a test has put something there."""
        return self.folder / "hooks"

    def authorize(self, public: str) -> None:
        """Let whoever has the key into every host, as `ssh-copy-id` does."""
        with (self.keys / "authorized").open("a", encoding="ascii") as file:
            file.write(public)

    def home(self, name: str) -> Path:
        """Return where the home of a host lies on this machine."""
        return self.folder / "hosts" / name / "home"

    @property
    def running(self) -> set[str]:
        """The hosts that have power."""
        return set(self._first)

    def boot(self, name: str, *addresses: str) -> None:
        """Start a host with an empty home and `/tmp`, at its own or at other addresses."""
        folder, net = self.folder / "hosts" / name, self._netns(name)
        given = addresses or (f"{ADDRESSES[name]}/24",)
        first = given[0].partition("/")[0]
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "home").mkdir(parents=True)
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        known = {**ADDRESSES, name: first}
        others = [f"{address} rk-{other}\n" for other, address in known.items()]
        (folder / "hosts").write_text("".join(["127.0.0.1 localhost\n", *others]))
        (folder / "sshd_config").write_text(_SSHD.format(keys=self.keys))
        (folder / "home" / ".bashrc").write_text(
            f"export PATH={sys.base_prefix}/bin:{_SEARCHED} PYTHONPATH={self.hooks}\n"
            + self.profile
        )
        _run("ip", "netns", "add", net)
        _run("ip", "-n", self._net, "link", "add", name, "type", "veth", "peer", "name", "eth0",
             "netns", net)  # fmt: skip
        _run("ip", "-n", self._net, "link", "set", name, "master", "hub", "up")
        for address in given:
            _run("ip", "-n", net, "addr", "add", address, "dev", "eth0")
        _run("ip", "-n", net, "link", "set", "lo", "up")
        _run("ip", "-n", net, "link", "set", "eth0", "up")
        _run("ip", "-n", net, "route", "add", "default", "dev", "eth0", "src", first)
        script = _BOOT.format(
            name=f"rk-{name}", folder=folder, home=HOME, binds=_binds(folder),
            shared=self.shared, mount=SHARED,
        )  # fmt: skip
        with (folder / "sshd.log").open("wb") as log:
            self._first[name] = subprocess.Popen(
                ["ip", "netns", "exec", net, "unshare", "--mount", "--pid", "--uts", "--ipc",
                 "--fork", "--kill-child", "--propagation", "private", "bash", "-c", script],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        while "listening" not in (folder / "sshd.log").read_text():
            assert self._first[name].poll() is None, (folder / "sshd.log").read_text()
            time.sleep(0.05)

    def halt(self, name: str) -> None:
        """Take the power from a host: all its processes are gone at once."""
        net = self._netns(name)
        while pids := _output("ip", "netns", "pids", net).split():
            for pid in pids:
                _kill(int(pid))
            time.sleep(0.05)
        self._first.pop(name).wait()
        _run("ip", "netns", "del", net)

    def cut(self, name: str) -> None:
        """Pull the network cable of a host that goes on running."""
        _run("ip", "-n", self._net, "link", "set", name, "down")

    def mend(self, name: str) -> None:
        """Put the cable back."""
        _run("ip", "-n", self._net, "link", "set", name, "up")

    def start(
        self,
        name: str,
        *command: str | Path,
        log: Path,
        stdin: int = subprocess.DEVNULL,
        **variables: str,
    ) -> subprocess.Popen[bytes]:
        """Start a command on a host, its output into `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self._inside(name, command, variables),
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def on(
        self, name: str, *command: str | Path, seconds: float = 120, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host to its end."""
        return subprocess.run(
            self._inside(name, command, variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def on_the_network(self, *command: str | Path) -> list[str]:
        """Return a command as it runs at the hub, 192.168.1.1, outside of all hosts."""
        return ["ip", "netns", "exec", self._net, *map(str, command)]

    def processes(self, name: str) -> dict[int, str]:
        """Return the command line of each process of a host but `sshd`, by its number outside."""
        found = {}
        for pid in _output("ip", "netns", "pids", self._netns(name)).split():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words and "sshd" not in words and "unshare" not in words:
                found[int(pid)] = words
        return found

    def kill(self, name: str, *words: str) -> int:
        """SIGKILL to the processes of a host that have one of the words; return how many."""
        chosen = [p for p, line in self.processes(name).items() if any(w in line for w in words)]
        for pid in chosen:
            _kill(pid)
        return len(chosen)

    def _netns(self, name: str) -> str:
        return f"{self._net}-{name}"

    def _inside(
        self, name: str, command: Sequence[str | Path], variables: Mapping[str, str]
    ) -> list[str]:
        parent = self._first[name].pid
        first = _output("pgrep", "-P", str(parent)).split()[0]
        ours = Path(sys.prefix) if name == "laptop" else HOME / "refkd-env"
        environment = {
            "HOME": str(HOME),
            "TERM": "xterm",
            "PATH": f"{ours}/bin:{sys.base_prefix}/bin:{_SEARCHED}",
            "PYTHONPATH": str(self.hooks),
            "OMP_NUM_THREADS": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            **variables,
        }
        pairs = [f"{key}={value}" for key, value in environment.items()]
        enter = ["nsenter", "-t", first, "-a", f"--wd={HOME}", "env", "-i"]
        return [*enter, *pairs, *map(str, command)]


def _binds(folder: Path) -> str:
    """Return the mounts that keep Python and the project visible below a host's own folders."""
    lines = []
    for path in {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), ROOT}:
        for outside, inside in ((HOME, folder / "home"), (Path("/tmp"), folder / "tmp")):
            if path.is_relative_to(outside):
                target = inside / path.relative_to(outside)
                lines.append(f"mkdir -p {target}; mount --bind {path} {target}")
    return "\n".join(lines)


def _run(*words: str | Path) -> None:
    subprocess.run(list(map(str, words)), check=True, capture_output=True)


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True).stdout


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
