"""The cluster files that ship, in a folder where all that they mount is there."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.project import ROOT

AWS, FIXED, KUBE = SHIPPED = ("cluster.yaml", "cluster/onprem.yaml", "cluster/kuberay.yaml")


def lay_out(folder: Path) -> Path:
    """Copy what a launcher holds into a folder, with a token, a key and a wheel; return it."""
    for name in SHIPPED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "mlflow", folder / "mlflow")
    shutil.copytree(ROOT / "studies", folder / "studies")
    shutil.copy(ROOT / "constraints.txt", folder)
    (folder / "dist").mkdir()
    (folder / "dist" / "refkd-0.1.0-py3-none-any.whl").touch()
    for secret in (".ray/auth_token", ".ssh/refkd-cluster"):
        (folder / secret).parent.mkdir()
        (folder / secret).write_text("secret\n", encoding="utf-8")
        (folder / secret).chmod(0o600)
    return folder
