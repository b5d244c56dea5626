"""A configuration's name says which network it is of."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from refkd.models import NETWORKS, BackboneConfig, EMBConfig, source_digest

CONFIG: TypeAdapter[BackboneConfig] = TypeAdapter(BackboneConfig)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_name_gives_its_own_configuration_and_comes_back_from_json(name: str) -> None:
    config = CONFIG.validate_python({"name": name})
    assert config.name == name
    assert CONFIG.validate_json(config.model_dump_json()) == config


def test_without_a_name_it_is_vslnet() -> None:
    assert CONFIG.validate_python({"hidden": 16}).name == "vslnet"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValidationError) as caught:
        CONFIG.validate_python({"name": "resnet"})
    assert "resnet" in str(caught.value)
    assert all(repr(name) in str(caught.value) for name in NETWORKS)


def test_a_key_of_another_backbone_is_refused() -> None:
    with pytest.raises(ValidationError, match="char_dim"):
        CONFIG.validate_python({"name": "emb", "char_dim": 4})


def test_networks_are_told_apart_by_their_code() -> None:
    configs = [CONFIG.validate_python({"name": name}) for name in NETWORKS]
    assert len({source_digest(config) for config in configs}) == len(NETWORKS)
    assert source_digest(EMBConfig()) == source_digest(EMBConfig(hidden=16))
