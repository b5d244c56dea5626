"""A password in every place where a URL can stand: no command says it, keeps it or shows it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support.chaos import Workspace
from support.ended_study import EndedStudy, end_study
from support.ports import reserve_port

from refkd.data.dataset import Dataset
from tune.cli import main

SECRETS = ("s3cret-word", "p")
"""A password that no other word holds, and one that many hold."""
WAYS = ("down", pytest.param("slow", marks=pytest.mark.system), "401", "403")
COMMANDS = {
    "sync": [],
    "status": [],
    "best": [],
    "doctor": [],
    "bill": [],
    "report": [],
    "replay": [],
    "ui": ["--print"],
    "ui --json": ["--print", "--json"],
    "promote": ["--alias", "mine", "--trial", "0", "--reason", "why"],
}
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


class _Server(BaseHTTPRequestHandler):
    """Answers every request in one way; a page of an error names the address, as many do."""

    way = "401"

    def do_GET(self) -> None:
        if self.way == "slow":
            time.sleep(1.5)
        code = int(self.way) if self.way.isdigit() else 503
        body = b'{"error_code": "PERMISSION_DENIED", "message": "no"}'
        with contextlib.suppress(OSError):  # who asked does not wait any more
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815  # http.server's names

    def log_message(self, format: str, *args: object) -> None:
        """Print no line a request."""


@contextmanager
def server(way: str) -> Iterator[str]:
    """Give host and port of a server that answers in one way."""
    if way == "down":
        yield f"127.0.0.1:{reserve_port()}"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (_Server,), {"way": way})) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{made.server_address[1]}"
        made.shutdown()


@pytest.fixture(autouse=True)
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for no server, and put back what the command line sets for a whole process."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"REQUEST_TIMEOUT": "1", "REQUEST_MAX_RETRIES": "0"}.items():
        monkeypatch.setenv(f"MLFLOW_HTTP_{name}", value)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("tune.tracking.delivery.FIRST_WAIT", 0.01)
    monkeypatch.setattr("tune.tracking.delivery.LONGEST_WAIT", 0.01)
    before = logging.getLogRecordFactory(), warnings.formatwarning, threading.excepthook
    yield
    logging.setLogRecordFactory(before[0])
    warnings.formatwarning, threading.excepthook = before[1:]


def said(monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """Run a command in this process and return all that it prints, its exit code first."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["refkd", *map(str, words)])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main()
            code: object = 0
        except SystemExit as end:
            code = end.code
    return f"{code} {out.getvalue()}"


def all_files(folder: Path, but: Sequence[Path] = ()) -> dict[str, bytes]:
    """Return what lies in a folder, databases too."""
    files = (path for path in folder.rglob("*") if path.is_file() and path not in but)
    return {str(path): path.read_bytes() for path in files}


def in_all_commands(
    study: EndedStudy, monkeypatch: pytest.MonkeyPatch, *others: Sequence[object]
) -> dict[str, str]:
    """Return what each command says of a study."""
    commands = [(name, [name.split()[0], study.path, *more]) for name, more in COMMANDS.items()]
    commands += [(str(words[0]), list(words)) for words in others]
    return {name: said(monkeypatch, *words) for name, words in commands}


def same(text: str, folder: Path) -> str:
    """Return what was said without what differs from call to call."""
    text = text.replace(str(folder), "FOLDER")
    return re.sub(r"0x[0-9a-f]+|\d+\.\d+ s\b|[0-9a-f]{32}|\d\d:\d\d:\d\d", "N", text)


@pytest.mark.parametrize("way", WAYS)
def test_a_tracking_server_of_any_mood(
    way: str, tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "video.npy", np.ones((4, tiny_dataset.feature_dim), dtype=np.float32))
    asked = ["--model", "models:/refkd-ended@best-ood", "--query", "a", "--features"]
    predict = ["predict", *asked, tmp_path / "video.npy"]
    found = []
    with server(way) as place:
        for secret in SECRETS:
            folder = tmp_path / secret
            folder.mkdir()
            url = f"http://ann:{secret}@{place}"
            study = end_study(folder, tiny_dataset, tracking={"uri": url})
            told = in_all_commands(study, monkeypatch, [*predict, "--study", study.path])
            told["by option"] = said(monkeypatch, *predict, "--tracking", url)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
            told["by variable"] = said(monkeypatch, *predict)
            monkeypatch.delenv("MLFLOW_TRACKING_URI")
            check(secret, told, study)
            found.append({command: same(text, folder) for command, text in told.items()})
    assert found[0] == found[1], "what is said depends on the password"


def check(secret: str, told: dict[str, str], study: EndedStudy) -> None:
    """Check that a password stands neither in what was said nor in any file."""
    for command, text in told.items():
        assert f":{secret}@" not in text, command
        assert SECRETS[0] not in text.replace(str(study.path.parent), ""), command
    assert "http://ann:***@" in told["ui"] + told["sync"]
    for file, content in all_files(study.path.parent, but=[study.path]).items():
        assert f":{secret}@".encode() not in content, file
        assert f"ann:{SECRETS[0]}".encode() not in content, file


def test_a_tracking_server_that_is_up(
    mlflow_uri: str, tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    url = mlflow_uri.replace("http://", f"http://ann:{SECRETS[0]}@")
    tracking = {"uri": url, "experiment": f"refkd/{tmp_path.name}"}
    study = end_study(tmp_path, tiny_dataset, tracking=tracking)
    told = in_all_commands(study, monkeypatch)
    assert told["sync"].startswith("0 ")
    check(SECRETS[0], told, study)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_storage_that_is_down(
    secret: str, tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://ann:{secret}@127.0.0.1:{reserve_port()}/studies"
    study = end_study(tmp_path, tiny_dataset)
    study.change(storage=url)
    others: list[list[object]] = [
        ["search", study.path],
        ["status", url],
        ["best", f"{url}#ended"],
        ["search", url],  # no study file, and what it is called is printed
        ["finalists", study.path],
    ]
    monkeypatch.setenv("REFKD_TEST_STORAGE", url)
    for words in [
        [name.split()[0], study.path, *more] for name, more in COMMANDS.items()
    ] + others:
        text = said(monkeypatch, *words)
        assert text.startswith("2 "), (words, text)
        assert f":{secret}@" not in text, words
        assert ":***@" in text, words
    study.change(storage="${REFKD_TEST_STORAGE}")
    assert f":{secret}@" not in said(monkeypatch, "status", study.path)


def test_a_store_of_records_that_is_down(
    tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql+psycopg://ann:{SECRETS[0]}@127.0.0.1:{reserve_port()}/mlflow"
    study = end_study(tmp_path, tiny_dataset, tracking={"uri": url})
    for command, text in in_all_commands(study, monkeypatch).items():
        assert SECRETS[0] not in text, command
    for file, content in all_files(tmp_path, but=[study.path]).items():
        assert SECRETS[0].encode() not in content, file


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": f"s3://KEY:{SECRETS[0]}@bucket/charades"},
        {"dataset": f"s3://KEY:{SECRETS[0]}/and@bucket/charades"},
        {"dataset": f"s3://bucket/charades?secret_key={SECRETS[0]}"},
        {"storage": f"mysql://ann:{SECRETS[0]}@host/db"},
        {"storage": f"ann:{SECRETS[0]}@host/db"},
        {"storage": f"host=h password={SECRETS[0]}"},
        {"storage": f"postgresql://a:{SECRETS[0]}@b@host/db"},
        {"tracking": {"uri": f"http://ann:{SECRETS[0]}/b@host"}},
        {"tracking": {"uri": f"http://ann:{SECRETS[0]}@host", "nothing": 1}},
    ],
)
def test_a_study_file_that_is_refused(
    change: dict[str, Any], tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = end_study(tmp_path, tiny_dataset)
    study.change(**change)
    for words in (["search"], ["doctor"], ["search", "--plan"]):
        text = said(monkeypatch, words[0], study.path, *words[1:])
        assert text.startswith("2 ")
        assert SECRETS[0] not in text


def test_an_address_on_the_command_line_that_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"s3://KEY:{SECRETS[0]}@bucket/charades"
    for words in (
        ["reproduce", "table1", "--dataset", address, "--plan"],
        ["data", "show", address],
        ["report", address],
    ):
        text = said(monkeypatch, *words)
        assert not text.startswith("0")
        assert SECRETS[0] not in text


def test_the_list_of_processes_holds_no_argument_with_a_password(tmp_path: Path) -> None:
    with server("slow") as place:
        np.save(tmp_path / "video.npy", np.ones((4, 8), dtype=np.float32))
        command = [sys.executable, "-c", "from tune.cli import main; main()", "predict"]
        command += ["--model", "models:/a@b", "--features", "video.npy", "--query", "q"]
        command += ["--tracking", f"http://ann:{SECRETS[0]}@{place}"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            mine = psutil.Process(process.pid)
            shown: list[str] = []
            while process.poll() is None and not any(":***@" in word for word in shown):
                with contextlib.suppress(psutil.Error):
                    shown = mine.cmdline()
                time.sleep(0.01)
            _, told = process.communicate()
    assert f"http://ann:***@{place}" in shown, told
    assert SECRETS[0] not in told
    assert f"http://ann:***@{place}" in told  # the real one was asked
    assert process.returncode != 0


@pytest.mark.system
def test_a_search_and_a_table_on_ray_write_it_nowhere(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The server fails at first; the password is also in the environment, as clients read it."""
    secret = SECRETS[0]
    with server("503") as place, _ray_files() as ray_files:
        url = f"http://ann:{secret}@{place}"
        environment = {
            **os.environ,
            "RAY_TMPDIR": str(ray_files),
            "MLFLOW_TRACKING_PASSWORD": secret,
            "MLFLOW_TRACKING_TOKEN": secret,
            "MLFLOW_TRACKING_URI": url,
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
        }
        training = {"epochs": 1, "batch_size": 64}
        distill = {"warmup_epochs": 0}
        teachers = {role: {"recipe": role, "training": {"epochs": 1}} for role in ("id",)}
        workspace.write(
            tracking={"uri": url}, training=training, distill=distill, teachers=teachers,
            budget={"trials": 1},
        )  # fmt: skip
        commands = [["search", str(workspace.study)]]
        table = ["reproduce", "table1", "--dataset", str(workspace.dataset), "--scale", "smoke"]
        table += ["--epochs", "1", "--seeds", "1", "--tracking", url]
        commands.append([*table, "--workspace", str(workspace.folder / "tables")])
        told, seen = "", set[str]()
        for words in commands:
            command = [sys.executable, "-c", "from tune.cli import main; main()", *words]
            with subprocess.Popen(
                command, env=environment, cwd=workspace.folder, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            ) as process:  # fmt: skip
                watch = threading.Thread(target=_look, args=(process, seen))
                watch.start()
                told += process.communicate()[0]
                watch.join()
            assert process.returncode == 0, told
        assert "raylet" in "".join(seen)
        assert secret not in "".join(seen)
        assert secret not in told
        files = {**all_files(workspace.folder, [workspace.study]), **all_files(ray_files)}
        for file, content in files.items():
            assert secret.encode() not in content, file


@contextmanager
def _ray_files() -> Iterator[Path]:
    """A folder for all that Ray writes; its sockets want a short path."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="ray-")
    yield Path(folder)
    shutil.rmtree(folder)


def _look(process: subprocess.Popen[str], seen: set[str]) -> None:
    """Keep the arguments of a process, once it has begun again, and of all that it starts."""
    begun = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            own = " ".join(begun.cmdline())
            if process.args[-1] in own and "://ann:" in own:  # type: ignore[index]
                continue  # its first moments
            seen.add(own)
            for child in begun.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    seen.add(" ".join(child.cmdline()))
        time.sleep(0.2)
