"""Samplers of an OptunaHub registry that lies on this machine; nothing is ever downloaded.

`optunahub` itself fetches what its cache lacks and does not look at what the cache holds. Here the
user clones the registry, and a package is what the registry's git says that it is at a revision.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
import re
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from refkd.errors import RefKDError
from refkd.scoped import log_levels
from tune import compat
from tune.config.keys import nearest
from tune.config.options import option_fault
from tune.config.space import Values, suggest

if TYPE_CHECKING:
    from tune.config.search_spec import SearchSpec
    from tune.config.settings import Sampler

TRIED = 12
"""Trials that a sampler proposes before a search begins: after ten, most have begun to model."""
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


def hub_sampler(config: Sampler, *, seed: int) -> BaseSampler:
    """Return the sampler that a study file names by its package; `RefKDError` where it cannot."""
    made: BaseSampler = _class_of(config)(**config.options, seed=seed)
    return made


def check_hub(spec: SearchSpec) -> None:
    """Raise `RefKDError` where a search names a package whose sampler cannot propose for it.

    It proposes for a few trials of as many objectives in the search's own space, twice: it must
    not fail, and from the same seeds propose the same.
    """
    config = spec.sampler
    if config.name != "hub":
        return
    kind = _class_of(config)
    taken = inspect.signature(kind.__init__).parameters
    if "seed" not in taken:
        raise RefKDError(
            f"sampler.package: {kind.__name__} of {config.package} takes no seed, so that nothing "
            "it proposes could be repeated; name another"
        )
    found = option_fault(config.options, kind.__init__, kind.__name__, given=("seed",))
    if found is not None:
        raise RefKDError(f"sampler.options.{found[0]}: {found[1]}")
    try:
        first, second = _proposed(spec), _proposed(spec)
    except Exception as error:
        said = _said(error)
        raise RefKDError(
            f"sampler.package: {kind.__name__} of {config.package} cannot search this space with "
            f"{len(spec.objectives)} objective{'s' if len(spec.objectives) > 1 else ''}: {said}"
        ) from None
    if first != second:
        raise RefKDError(
            f"sampler.package: {kind.__name__} of {config.package} proposes other values each "
            "time from the same seed; name another"
        )


def _proposed(spec: SearchSpec) -> list[Values]:
    with log_levels({"optuna": logging.ERROR}), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = optuna.create_study(directions=compat.directions(spec.signs))
        found = []
        for number in range(TRIED):
            study.sampler = hub_sampler(spec.sampler, seed=number)
            trial = study.ask()
            found.append(suggest(spec.space, trial, spec.fixed))
            study.tell(trial, [float(number)] * len(spec.objectives))
    return found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _class_of(config: Sampler) -> Any:
    """Return the one class of a sampler in its package, or that which the file names."""
    assert config.registry is not None
    assert config.revision is not None
    module = _loaded(config.registry.absolute(), str(config.package), config.revision)
    kinds = {k: v for k, v in vars(module).items() if isinstance(v, type)}
    own = [k for k, v in kinds.items() if v.__module__.startswith(module.__name__)]
    names = getattr(module, "__all__", own)
    classes = {k: kinds[k] for k in names if k in kinds and issubclass(kinds[k], BaseSampler)}
    wanted = config.class_name or (next(iter(classes)) if len(classes) == 1 else None)
    if wanted in classes:
        return classes[wanted]
    has = f"{config.package} has the samplers {', '.join(classes) or 'none'}"
    if wanted is None:
        raise RefKDError(f"sampler.class: {has}; name one of them")
    raise RefKDError(f"sampler.class: {wanted!r} is none; {has}{nearest(wanted, classes)}")


@cache
def _loaded(registry: Path, package: str, revision: str) -> ModuleType:
    """Return a package, imported under the name that `optunahub` gives it."""
    root = registry / "package"
    if not root.is_dir():
        raise RefKDError(
            f"sampler.registry: {registry} is no clone of an OptunaHub registry: it has no folder "
            "'package'; clone one there, as nothing is downloaded"
        )
    if not (root / package / "__init__.py").is_file():
        known = [one.parent.relative_to(root).as_posix() for one in root.glob("*/*/__init__.py")]
        raise RefKDError(
            f"sampler.package: {root} has no package {package!r}{nearest(package, known)}"
        )
    _check_revision(registry, f"package/{package}", revision)
    for path in (root / package).rglob("*.py"):
        example = "example" in path.name.lower()  # for people: nothing imports it
        if not example and re.search(r"\bload_module\(", path.read_text(encoding="utf-8")):
            raise RefKDError(f"sampler.package: {path} downloads another package; name another")
    name = f"optunahub_registry.package.{package.replace('/', '.')}"
    sys.modules.setdefault("optunahub_registry", ModuleType("optunahub_registry"))
    for other in [one for one in sys.modules if f"{one}.".startswith(f"{name}.")]:
        del sys.modules[other]  # of another registry or revision
    spec = importlib.util.spec_from_file_location(name, root / package / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        lacks = error.name if isinstance(error, ModuleNotFoundError) else None
        said = _said(error)
        raise RefKDError(
            f"sampler.package: {package} cannot be imported: {said}"
            + (f"; run `pip install {lacks}`" if lacks and "." not in lacks else "")
        ) from None
    return module


def _check_revision(registry: Path, folder: str, revision: str) -> None:
    """Raise `RefKDError` where a folder of a registry is not what it is at a commit or tag."""
    at = revision if _COMMIT.fullmatch(revision) else f"refs/tags/{revision}"
    # Not of a folder above: the registry is a clone itself.
    git = ["git", f"--git-dir={registry / '.git'}", f"--work-tree={registry}"]
    try:
        known, same = (
            subprocess.run([*git, *words], cwd=registry, capture_output=True, check=False)
            for words in (
                ("rev-parse", "--verify", "--quiet", f"{at}^{{commit}}"),
                ("diff", "--quiet", at, "--", folder),
            )
        )
    except FileNotFoundError:
        raise RefKDError("sampler.revision: git, which compares it, is not installed") from None
    if known.returncode:
        raise RefKDError(
            f"sampler.revision: {revision!r} is no commit or tag that {registry} holds; is that a "
            "clone, with that revision fetched?"
        )
    if same.returncode:
        raise RefKDError(
            f"sampler.revision: {registry / folder} is not what it is at {revision}; run "
            f"`git -C {registry} checkout {revision}`"
        )
