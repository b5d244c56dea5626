"""An MLflow store that came along with a moved or copied workspace."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tune import compat
from tune.study.storage import store_file
from tune.tracking.target import Target


def relocate(target: Target, held: str | None) -> None:
    """Let a store in the workspace name files there, where an experiment's lie at `held`.

    Otherwise what is written now would go to the folder from which the workspace was copied.
    """
    root, store = target.artifact_root, store_file(target.uri)
    if root is None or store is None or held is None:
        return
    workspace = target.workspace.resolve()
    now = root.absolute().as_uri()
    if held == now or workspace not in store.parents or not _came_along(held, root):
        return
    with closing(sqlite3.connect(store, timeout=30)) as connection, connection:
        for table, column in compat.SQL_ARTIFACTS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                [now, len(held) + 1, held, len(held) + 1, f"{held}/"],
            )


def _came_along(held: str, root: Path) -> bool:
    """Return whether files at an address were a workspace's own, so that they came with it."""
    return held.startswith("file:") and held.rpartition("/")[2] == root.name
