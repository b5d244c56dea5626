"""The notice that a spot machine is about to be taken away, from a real metadata service."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tune.execution import preemption
from tune.execution.preemption import notice

END = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


class Metadata(BaseHTTPRequestHandler):
    """What EC2 answers; `text` is the notice, None while there is none."""

    text: str | None = None

    def do_PUT(self) -> None:
        self._answer(200, "secret-of-the-session")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "secret-of-the-session":
            self._answer(401, "")
        elif self.text is None or not self.path.endswith("/spot/instance-action"):
            self._answer(404, "")
        else:
            self._answer(200, self.text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (None, None),
        (json.dumps({"action": "terminate", "time": "2030-01-02T03:04:05Z"}), END),
        (json.dumps({"action": "terminate", "time": "2030-01-02T03:04:05"}), END),
    ],
)
def test_a_notice_says_when_the_machine_goes(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, text: str | None, end: datetime | None
) -> None:
    monkeypatch.setattr(Metadata, "text", text)
    assert notice(endpoint) == end


@pytest.mark.parametrize(
    "text", [json.dumps({"action": "terminate"}), '{"time": 5}', "[]", "no JSON"]
)
def test_a_notice_without_a_time_is_said(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(Metadata, "text", text)
    with pytest.raises(
        ValueError, match=r"notice without a time|Invalid isoformat|Expecting value"
    ):
        notice(endpoint)


def test_a_service_that_does_not_answer_is_no_notice_and_said_once(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def ask(address: str) -> datetime | None:
        asked.append(address)
        return notice("http://127.0.0.1:9" if len(asked) < 3 else endpoint)

    drained: list[datetime] = []
    monkeypatch.setattr(Metadata, "text", json.dumps({"time": END.isoformat()}))
    monkeypatch.setattr(preemption, "notice", ask)
    monkeypatch.setattr(preemption, "drain", drained.append)
    monkeypatch.setattr(preemption, "POLL", 0.0)
    preemption.watch()
    assert drained == [END]
    said = capsys.readouterr().out
    assert said.count("no notice can be heard") == 1
    assert said.count(" answers\n") == 1
