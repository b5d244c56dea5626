"""A search whose database server goes away: one line, nothing fails for it, the next goes on."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, make_url, text
from support.chaos import Workspace, assert_sound, wait_for, wait_for_end
from support.chaos_hooks import Epochs

from tune.ending.exits import ExitCode

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
TRIALS = 3


def test_a_search_goes_on_after_the_loss_of_its_storage(
    workspace: Workspace, postgres_database: str, second_database: str
) -> None:
    changes = {"budget": {"trials": TRIALS}, "pruning": {"name": "none"}}
    workspace.write(storage=postgres_database, **changes)
    epochs = workspace.folder / "epochs"
    workspace.hooks.append(Epochs(path=str(epochs), seconds=0.5))
    name = make_url(postgres_database).database
    server = create_engine(second_database, isolation_level="AUTOCOMMIT")
    with workspace.driver() as driver, server.connect() as connection:
        wait_for(lambda: epochs.exists() and len(epochs.read_bytes().splitlines()) >= 3, driver)
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        connection.execute(text(end))
        assert driver.wait(timeout=300) == ExitCode.LEFT, workspace.said()
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        wait_for_end(driver)
    last = workspace.said().splitlines()[-1]
    assert last.startswith("refkd: storage postgresql+psycopg://")
    assert last.endswith("then run the same command again to continue")
    assert "Traceback" not in workspace.said()
    server.dispose()
    assert workspace.search() == 0, workspace.said()
    assert_sound(workspace, trials=TRIALS)
