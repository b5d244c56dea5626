"""Whatever stands in a study file: it loads, or each fault is a line with file and place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT

from refkd.errors import RefKDError
from tune.config.study_file import StudyFileError, load_study_file
from tune.config.yaml_file import YamlError, read_yaml
from tune.study.locate import locate

WHOLE = (ROOT / "studies" / "quickstart.yaml").read_text(encoding="utf-8")
LINES = WHOLE.count("\n")
PIECES = [
    *(
        "\0",
        "\x01",
        "\x85",
        "\ufeff",
        "\t",
        "\n",
        ": ",
        "- ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
    ),
    *("<<: *a", "!!int x", "!!binary '#'", "!!set {a}", "2024-13-45", "0x" + "f" * 30, "9" * 5000),
    *(
        "1:99:99",
        ".inf",
        ".nan",
        "yes",
        "~",
        '"\\0"',
        '"\\ud800"',
        "|",
        ">",
        "%YAML 9.9",
        "---",
        "...",
    ),
]


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ('x: "a\x01b"', r"the character U\+0001"),
        ("x: a\0b", r"the character U\+0000"),
        ("[a, b]: 1", "a sequence cannot be a key"),
        ("{a: b}: 1", "a mapping cannot be a key"),
        ("? [a, b]\n: 1", "a sequence cannot be a key"),
        ("x: 2024-13-45", "'2024-13-45' is no valid timestamp"),
        ("2024-13-45: x", "'2024-13-45' is no valid timestamp"),
        ("x: !!int many", "'many' is no valid int"),
        ("x: !!float many", "'many' is no valid float"),
        ("x: !!bool many", "'many' is no valid bool"),
        ("x: !!int", "'' is no valid int"),
        ('x: !!int ""', "'' is no valid int"),
        ('x: !!int "+"', "'\\+' is no valid int"),
        ('x: !!float ""', "'' is no valid float"),
        ("x: !!timestamp now", "'now' is no valid timestamp"),
        ("x: 9223372036854775808", "9223372036854775808 does not fit into 64 bits"),
        ("x: -0x8000000000000001", "does not fit into 64 bits"),
        ("x: " + "9" * 5000, "is no valid int"),
        ('x: "a\\0b"', "a character that no text may hold"),
        ('x: "\\ud800"', "a character that no text may hold"),
        ("x: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("x: " + "{a: " * 3000 + "1" + "}" * 3000, "nested too deeply"),
        ("seed: 1", "the key 'seed' stands twice"),
        ("x: [", "not valid YAML"),
    ],
)
def test_what_is_no_yaml_is_one_line(tmp_path: Path, added: str, fault: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"{WHOLE}{added}\n", encoding="utf-8")
    with pytest.raises(YamlError, match=fault) as caught:
        load_study_file(path)
    said = str(caught.value)
    assert "\n" not in said
    line = int(said.removeprefix(f"{path}:").partition(":")[0])
    assert LINES < line <= LINES + added.count("\n") + 2
    assert len(said.removeprefix(str(path))) < 200


def test_the_largest_numbers_of_64_bits_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("\ufeffhigh: 9223372036854775807\nlow: -9223372036854775808\n", "utf-8")
    assert read_yaml(path).content == {"high": 2**63 - 1, "low": -(2**63)}


SECTIONS = (
    "simulate",
    "backbone",
    "teachers",
    "training",
    "distill",
    "space",
    "budget",
    "pruning",
)


@pytest.mark.parametrize("key", [*SECTIONS, "resources", "tracking", "prices", "storage", "name"])
@pytest.mark.parametrize("value", ["5", "[1, 2]", "2024-01-01", "[[1], {a: b}]"])
def test_a_value_of_another_kind_is_one_line_a_fault(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"{key}: {value}\n", "utf-8")
    with pytest.raises(StudyFileError) as caught:
        load_study_file(path)
    faults = str(caught.value).split("\n")
    assert any(fault.startswith(f"{path}:1: {key}") for fault in faults), faults


@pytest.mark.parametrize(
    "line",
    ["workspace: 5", "workspace: [5]", "storage: 5", "tracking: foo", "tracking: {uri: 5}"],
)
def test_commands_that_only_look_name_what_is_no_text(tmp_path: Path, line: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"name: quick\n{line}\n", "utf-8")
    with pytest.raises(YamlError, match=rf"study\.yaml:2: {line.partition(':')[0]}.*give a text"):
        locate(path)


@given(st.data())
def test_any_damage_is_a_fault_that_is_said_or_none(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.sampled_from([at, at + 1, at + 20, len(text)]))
        text = text[:at] + data.draw(st.sampled_from(PIECES) | st.text(max_size=8)) + text[end:]
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        locate(path)
        load_study_file(path)
    except RefKDError as error:
        said = str(error)
        assert all(line.startswith(str(path)) for line in said.split("\n"))
        assert "\0" not in said
