"""Samplers of an OptunaHub registry: of this machine alone, at a revision, with a seed."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.recorded_curves import study_file
from support.search_methods import NEAR_BEST, git, hub, mixed, write_registry

from refkd.errors import RefKDError
from tune.audit.replay import replay
from tune.config.settings import Sampler
from tune.config.study_file import StudyFileError, load_study_file
from tune.simulation.made_up import MadeUp
from tune.simulation.simulator import simulate_search
from tune.study.hub import check_hub, hub_sampler
from tune.study.inputs import check_inputs

SIMPLE = """
import optunahub

class SimpleSampler(optunahub.samplers.SimpleBaseSampler):
    def sample_relative(self, study, trial, search_space):
        return {}

__all__ = ["SimpleSampler"]
"""
SEED = "*, seed: int | None = None"
PACKAGES = {
    "samplers/near_best": NEAR_BEST,
    "samplers/of_one": NEAR_BEST.replace("signs = [", "study.direction; signs = ["),
    "samplers/two": NEAR_BEST + "class OtherSampler(NearBestSampler):\n    pass\n",
    "samplers/none": "from optuna.samplers import RandomSampler\n",
    "samplers/simple": SIMPLE,
    "samplers/seedless": NEAR_BEST.replace(SEED, "seeed: int = 0").replace("=seed", "=seeed"),
    "samplers/unsteady": NEAR_BEST.replace("RandomSampler(seed=seed)", "RandomSampler()"),
    "samplers/needing": NEAR_BEST.replace(SEED, f"{SEED}, depth: int").replace(" = 0.5", ""),
    "samplers/lacking": "import no_such_library\n",
    "samplers/broken": "raise RuntimeError('not today')\n",
    "samplers/fetching": "import optunahub\noptunahub.load_module('samplers/other')\n",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("registry")
    return folder, write_registry(folder, PACKAGES)


def named(of: tuple[Path, str], package: str, **changes: Any) -> dict[str, Any]:
    folder, revision = of
    return {
        "name": "hub",
        "registry": str(folder),
        "package": f"samplers/{package}",
        "revision": revision,
        **changes,
    }


def test_options_reach_the_class_and_nothing_is_fetched(
    registry: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    sampler = named(registry, "near_best", options={"keep": 0.9})
    spec = mixed(sampler=sampler, pruning={"name": "none"})
    check_hub(spec)
    made = hub_sampler(spec.sampler, seed=3)
    assert type(made).__module__ == "optunahub_registry.package.samplers.near_best._sampler"
    assert vars(made)["_keep"] == 0.9
    study = simulate_search(spec, MadeUp(spec, seconds=1.0, seed=0)).study
    assert len({v.values["share"] for v in study.views()}) < len(study.views()), "it keeps some"
    assert replay(study.optuna).differences == []


NO_SUCH = "NearBestSampler has no such option"
ONE = "samplers/near_best has the samplers NearBestSampler"


@pytest.mark.parametrize(
    ("package", "changes", "message"),
    [
        ("near_bets", {}, "no package 'samplers/near_bets'; did you mean 'samplers/near_best'?"),
        ("near_best", {"registry": "gone"}, "gone is no clone of an OptunaHub registry"),
        ("near_best", {"revision": "1234567"}, "'1234567' is no commit or tag that"),
        ("near_best", {"revision": "master"}, "'master' is no commit or tag that"),
        ("near_best", {"class": "NearBest"}, f"'NearBest' is none; {ONE}; did you mean"),
        ("two", {}, "has the samplers NearBestSampler, OtherSampler; name one of them"),
        ("none", {}, "has the samplers none; name one of them"),
        ("near_best", {"options": {"kepe": 1}}, f".kepe: {NO_SUCH}; did you mean 'keep'?; it"),
        ("near_best", {"options": {"seed": 1}}, f".seed: {NO_SUCH}; it takes keep"),
        ("near_best", {"options": {"keep": "much"}}, "options.keep: give a number, not 'much'"),
        ("needing", {"options": {"keep": 0.5}}, "options.depth: NearBestSampler needs it"),
        ("seedless", {}, "NearBestSampler of samplers/seedless takes no seed"),
        ("unsteady", {}, "proposes other values each time from the same seed"),
        ("lacking", {}, "'no_such_library'; run `pip install no_such_library`"),
        ("broken", {}, "cannot be imported: RuntimeError: not today"),
        ("fetching", {}, "downloads another package"),
        ("of_one", {}, "cannot search this space with 2 objectives: RuntimeError: "),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(
    registry: tuple[Path, str], package: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = study_file(workspace=str(tmp_path), sampler=named(registry, package, **changes))
    with pytest.raises(RefKDError) as refused:
        check_inputs(file, verify=False)
    (line,) = str(refused.value).splitlines()
    assert line.startswith("sampler.")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_package_may_rest_on_optunahub_and_name_its_sampler(
    registry: tuple[Path, str],
) -> None:
    spec = mixed(sampler=named(registry, "simple"))
    check_hub(spec)
    study = simulate_search(spec, MadeUp(spec, seconds=1.0, seed=0)).study
    assert replay(study.optuna).differences == []


def test_a_sampler_of_one_objective_searches_one(registry: tuple[Path, str]) -> None:
    spec = mixed(sampler=named(registry, "of_one"), objectives=["score"], minimize=[])
    check_hub(spec)
    study = simulate_search(spec, MadeUp(spec, seconds=1.0, seed=0)).study
    assert replay(study.optuna).differences == []


def test_a_package_is_that_of_its_revision(tmp_path: Path) -> None:
    first = write_registry(tmp_path, {"samplers/near_best": NEAR_BEST})
    git(tmp_path, "tag", "v1")
    text = tmp_path / "package" / "samplers" / "near_best" / "_sampler.py"
    text.write_text(NEAR_BEST.replace("= 0.5", "= 0.875"), encoding="utf-8")

    def made(revision: str) -> Any:
        config = Sampler.model_validate(named((tmp_path, revision), "near_best"))
        return vars(hub_sampler(config, seed=0))["_keep"]

    for revision in (first, first[:9], "v1"):
        with pytest.raises(RefKDError, match=r"is not what it is at .*; run `git -C .* checkout"):
            made(revision)
    git(tmp_path, "commit", "--quiet", "--all", "--message", "More")
    assert made(git(tmp_path, "rev-parse", "HEAD")) == 0.875
    git(tmp_path, "checkout", "--quiet", "v1")
    assert made("v1") == 0.5
    shutil.rmtree(tmp_path / ".git")
    with pytest.raises(RefKDError, match="is no commit or tag that"):
        made(first)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({"name": "hub", "package": "samplers/x", "revision": "v1"}, "name: hub needs registry"),
        ({"name": "tpe", "package": "samplers/x"}, "package goes with name: hub, not tpe"),
        ({"options": {"keep": 1}}, "options goes with name: hub, not curves"),
        ({"class": "X"}, "class goes with name: hub, not curves"),
        ({"name": "hub", "package": "../x"}, "sampler.package: "),
        ({"name": "hub", "revision": "--output=x"}, "sampler.revision: "),
        ({"prior": {"distill.lambda_id": 0.5}}, "prior goes with name: curves or random, not hub"),
    ],
)
def test_a_file_names_a_package_or_none(
    sampler: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    asked = study_file().model_dump(mode="json", by_alias=True, exclude_unset=True)
    given = {**hub(), **sampler} if "prior" in sampler else sampler
    path.write_text(yaml.safe_dump({**asked, "sampler": given}), encoding="utf-8")
    with pytest.raises(StudyFileError) as refused:
        load_study_file(path)
    (line,) = str(refused.value).splitlines()
    assert message in line
