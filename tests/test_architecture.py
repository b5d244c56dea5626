"""Who may know whom, and that our folders hide no library."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.project import ROOT, project_files

PLATFORM = ("tune", "ray", "optuna", "mlflow", "typer", "rich", "sqlalchemy", "yaml")
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # an import of it fails as if it were not installed
import refkd
names = [m.name for m in pkgutil.walk_packages(refkd.__path__, "refkd.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_mlflow_is_the_library_in_a_process_of_the_root() -> None:
    done = run(sys.executable, "-c", "import mlflow; print(mlflow.__version__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout[0].isdigit()


def test_mlflow_is_the_library_in_the_tests() -> None:
    spec = find_spec("mlflow")
    assert spec is not None
    assert spec.origin is not None, "the folder mlflow/ hides the library"
    assert ROOT / "mlflow" not in Path(spec.origin).parents


def test_the_folder_mlflow_holds_nothing_that_python_collects() -> None:
    names = [path.name for path in project_files(".py") if (ROOT / "mlflow") in path.parents]
    assert [n for n in names if n in ("__init__.py", "conftest.py") or "test" in n] == []


def test_arrows() -> None:
    done = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_refkd_imports_without_the_platform() -> None:
    done = run(sys.executable, "-c", IMPORT_ALL, *PLATFORM)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_ray_tune_never_takes_the_name_of_our_package() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in project_files(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module == "ray"
        and any(name.name == "tune" and name.asname in (None, "tune") for name in node.names)
    ]
    assert found == [], "write `import ray.tune`"


MOVABLE = (
    *("system_attrs", "fixed_params", "alembic_version", "trial_user_attributes"),
    *("ray._private", "class_cache", "trial.error_file", "KUBERAY_IN_USE", "ray-schema.json"),
    *("drain-node", "set_tracking_uri", "compare-runs", "compareRunsMode", "}/models/"),
)
"""What Optuna, Ray and MLflow may move without a word, beside names that begin with `_`."""
SELF = ("self", "cls", "super()")
OURS = {"refkd", "tune", "benchmarks", "support"}


def private_names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of what a file takes of others although they keep it private."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = {"_asdict"}  # of a NamedTuple, which has no other name for it
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in SELF:
            names = [] if node.attr in own else [node.attr]
        for name in names:
            if name.startswith("_") and not name.startswith("__"):
                yield node.lineno, name


def test_what_others_keep_private_stands_in_one_place() -> None:
    """`tune/compat.py` holds it, and `tests/tune/test_compat.py` says what moved."""
    found = []
    for path in project_files(".py"):
        place = path.relative_to(ROOT)
        shipped = place.parts[0] in ("refkd", "tune", "benchmarks")
        if not shipped or place == Path("tune/compat.py"):
            continue
        found += [f"{place}:{line}: {name}" for line, name in private_names(path)]
        text = path.read_text(encoding="utf-8")
        found += [f"{place}: {word}" for word in MOVABLE if word in text]
    assert found == [], "give it a function in tune/compat.py"


def test_no_name_of_ours_that_begins_with_an_underscore_is_imported() -> None:
    """Tests may look into a library: what it hides is what they compare with."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {alias.name}"
        for path in project_files(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert found == [], "give it a name without one, or move what needs it"


@pytest.mark.parametrize("package", ["refkd", "tune"])
def test_every_folder_of_a_package_is_a_package(package: str) -> None:
    folders = {p.parent for p in project_files(".py") if (ROOT / package) in p.parents}
    assert [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()] == []


def test_nothing_imports_from_a_file_of_tests() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in project_files(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
        if name and (name.split(".")[-1].startswith("test_") or name == "conftest")
    ]
    assert found == [], "what tests share lies in tests/support"


def test_the_tests_are_no_package_and_have_names_of_their_own() -> None:
    names = Counter(p.name for p in project_files(".py") if (ROOT / "tests") in p.parents)
    assert names["__init__.py"] == 0
    assert [n for n, count in names.items() if count > 1 and n != "conftest.py"] == []


@pytest.mark.parametrize("package", ["refkd", "tune"])
def test_public_names(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == module.__all__ == sorted(module._HOME)
    for name in module.__all__:
        public = getattr(module, name)
        assert public.__doc__, f"{package}.{name} has no docstring"
        assert not isinstance(public, type) or ">>>" in public.__doc__, f"{name} has no example"
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing
