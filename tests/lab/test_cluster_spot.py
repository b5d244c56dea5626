"""A spot notice on a real cluster: the trials leave the node, and nothing of them is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hosts import Cluster
from lab import ADDRESSES, STRICT
from searches import Search, most_lost
from support.chaos import assert_sound

pytestmark = [
    pytest.mark.cluster, pytest.mark.nightly, pytest.mark.timeout(1800),
]  # fmt: skip
METADATA = """\
import http.server, pathlib, sys
class Metadata(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        self.answer(200, b"token")
    def do_GET(self):
        file = pathlib.Path(sys.argv[1])
        there = file.exists() and self.headers["X-aws-ec2-metadata-token"] == "token"
        self.answer(200 if there else 404, file.read_bytes() if there else b"")
    def answer(self, code, content):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(content)
http.server.HTTPServer(("0.0.0.0", 80), Metadata).serve_forever()
"""


def test_a_spot_notice_moves_the_trials_and_counts_as_no_failure(cluster: Cluster) -> None:
    lab = cluster.lab
    notice, log = lab.folder / "notice", lab.folder / "watcher.log"
    service = lab.start(
        "laptop", "python", "-c", METADATA, notice, log=lab.folder / "metadata.log"
    )
    endpoint = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{ADDRESSES['laptop']}"}
    watch = ["python", "-m", "tune.execution.preemption"]
    watcher = lab.start("w1", *watch, log=log, **STRICT, **endpoint)

    search = Search.prepare(
        cluster.lab, "spot", seconds=1.5, retries=0, budget={"trials": 6},
        training={"epochs": 8, "batch_size": 64}, pruning={"name": "none"},
    )  # fmt: skip
    search.start()
    lost = search.busy("w1")
    assert watcher.poll() is None, log.read_text()
    end = datetime.now(UTC) + timedelta(seconds=120)
    notice.write_text(json.dumps({"action": "terminate", "time": end.isoformat()}))
    again, seconds = search.moved(lost)
    print(f"notice in {lost}; goes on as {again} after {seconds:.1f} s")
    assert watcher.wait() == 0, log.read_text()
    lab.halt("w1")

    search.finish()
    begun = search.begun()
    assert most_lost(begun) == 0
    assert_sound(search.workspace, trials=6)
    assert {view.state for view in search.workspace.views()} == {"COMPLETE"}
    lab.kill("laptop", "HTTPServer")
    service.wait()
