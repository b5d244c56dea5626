"""MLflow serves a champion: a real request over HTTP gets the retriever's own answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ports import reserve_port
from support.registered import NAME, register
from support.shared import url_answers

from refkd.data.dataset import Dataset
from refkd.retriever import Retriever

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore::FutureWarning",
        "ignore::UserWarning:mlflow.*",
    ),
]
QUERIES = ["a person opens the door", "someone throws a towel"]


@pytest.fixture
def served(
    tiny_dataset: Dataset, mlflow_store: str, tmp_path: Path
) -> Iterator[tuple[str, Retriever]]:
    """The address that answers for best-ood, and the retriever that was registered."""
    made = register(tmp_path, tiny_dataset, mlflow_store, {"best-id": 3, "best-ood": 5})
    port = str(reserve_port())
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    model = f"models:/{NAME}@best-ood"
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                *(programs / "mlflow", "models", "serve", "-m", model),
                *("--env-manager", "local", "--host", "127.0.0.1", "--port", port),
            ],
            env={
                **os.environ,
                "PATH": path,
                "MLFLOW_TRACKING_URI": mlflow_store,
                "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            },
            cwd=tmp_path,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        while not url_answers(f"{address}/ping"):
            assert server.poll() is None, log.read_text()[-2000:]
            time.sleep(0.2)
        yield address, Retriever.load(made["best-ood"])
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def post(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{address}/invocations",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.loads(response.read())


def body(features: np.ndarray, queries: list[str], **params: int) -> dict[str, Any]:
    rows = [{"features": features.tolist(), "duration": 20.0, "query": q} for q in queries]
    return {"dataframe_records": rows, "params": params}


def test_best_ood_answers_over_http(served: tuple[str, Retriever], tiny_dataset: Dataset) -> None:
    address, retriever = served
    features = np.random.default_rng(0).normal(size=(9, tiny_dataset.feature_dim))
    found = post(address, body(features, QUERIES, top=3))["predictions"]
    expected = retriever.retrieve(features, QUERIES, duration=20.0, top=3)
    for row, spans in zip(found, expected, strict=True):
        assert row["start"] == pytest.approx([span.start for span in spans])
        assert row["end"] == pytest.approx([span.end for span in spans])
        assert row["score"] == pytest.approx([span.score for span in spans], rel=1e-4)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        post(address, {"dataframe_records": [{"query": "a door", "duration": 20.0}]})
    assert refusal.value.code == 400
    refusal.value.close()
    assert url_answers(f"{address}/ping"), "a wrong question ended the server"
