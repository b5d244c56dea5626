"""A backbone is chosen by the name in its configuration."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest
from pydantic import TypeAdapter, ValidationError

from refkd.models import (
    NETWORKS,
    BackboneConfig,
    VSLNetConfig,
    attention,
    backbone,
    convolution,
    decode,
    dropout,
    is_student,
    layers,
    source_digest,
)
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig
from refkd.training.teacher import TeacherConfig

ADAPTER: TypeAdapter[BackboneConfig] = TypeAdapter(BackboneConfig)
SHARED = {attention, backbone, convolution, decode, dropout, layers}

names = pytest.mark.parametrize("name", list(NETWORKS))


@names
def test_a_name_chooses_its_configuration_which_json_brings_back(name: str) -> None:
    config = ADAPTER.validate_python({"name": name})
    assert config.name == name
    assert config.label
    assert ADAPTER.validate_json(ADAPTER.dump_json(config)) == config
    teacher = TeacherConfig(
        backbone=config, recipe=RecipeConfig.named("id"), training=TrainingConfig()
    )
    again = TeacherConfig.model_validate_json(teacher.model_dump_json())
    assert again == teacher
    assert type(again.backbone) is type(config)


def test_a_configuration_without_a_name_is_vslnets() -> None:
    assert ADAPTER.validate_python({"hidden": 64}) == VSLNetConfig(hidden=64)
    assert isinstance(ADAPTER.validate_python({}), VSLNetConfig)


@pytest.mark.parametrize("wrong", ["vslnett", "", 3])
def test_an_unknown_name_is_answered_with_the_known_ones(wrong: object) -> None:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python({"name": wrong})
    assert all(f"'{name}'" in str(caught.value) for name in NETWORKS)


@pytest.mark.parametrize("wrong", ["vslnet", 3, ["vslnet"]])
def test_what_is_no_configuration_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(wrong)


@names
def test_a_key_of_another_network_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="not_a_key"):
        ADAPTER.validate_python({"name": name, "not_a_key": 1})


@names
def test_the_digest_covers_all_code_between_weights_and_logits(name: str) -> None:
    network, code = NETWORKS[name]
    own = inspect.getmodule(network)
    assert own in code
    assert used(*code) <= {*code, *SHARED}


def test_each_network_has_a_digest_of_its_own() -> None:
    digests = {source_digest(ADAPTER.validate_python({"name": name})) for name in NETWORKS}
    assert len(digests) == len(NETWORKS)


def test_the_backbones_of_the_paper_can_be_students() -> None:
    for name in ("vslnet", "seqpan", "mrtnet"):
        assert is_student(ADAPTER.validate_python({"name": name}))


def used(*modules: ModuleType) -> set[ModuleType]:
    """Return the modules of networks and layers that some modules import from."""
    homes = {inspect.getmodule(value) for module in modules for value in vars(module).values()}
    return {
        home
        for home in homes
        if home is not None
        and home.__name__.startswith("refkd.models.")
        and home.__name__ != "refkd.models.config"
    }
