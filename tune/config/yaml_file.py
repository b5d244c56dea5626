"""YAML that remembers its lines, so that an error can point at one."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from refkd.errors import RefKDError


class YamlError(RefKDError):
    """A YAML file that cannot be read: the message holds file and line."""


class _Loader(yaml.SafeLoader):
    """Safe YAML 1.1, but `1e-3` is a number as in YAML 1.2 and a key may stand only once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise YamlError(f"{line}: the key {key.value!r} stands twice; remove one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True)
class YamlFile:
    """The content of a file and the line of every key in it."""

    path: Path
    content: dict[str, Any]
    root: yaml.Node

    def line(self, location: Sequence[str | int]) -> int:
        """Return the line of a key path; of its nearest parent where it is absent."""
        node, line = self.root, 1
        for step in location:
            child = _child(node, step)
            if child is None:
                break
            node, line = child
        return line


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML mapping; `YamlError` names the line of a syntax error or a doubled key."""
    documents = read_yaml_documents(path)
    if len(documents) > 1:
        line = documents[1].root.start_mark.line + 1
        raise YamlError(f"{path}:{line}: a second document begins; keep one in the file")
    return documents[0]


def read_yaml_documents(path: Path) -> list[YamlFile]:
    """Read every document of a YAML file, each a mapping; at least one."""
    try:
        text = path.read_text(encoding="utf-8")
        roots = list(yaml.compose_all(text, _Loader))
        contents = list(yaml.load_all(text, _Loader))
    except FileNotFoundError:
        raise YamlError(f"{path}: no such file; `refkd init` writes one to start from") from None
    except IsADirectoryError:
        raise YamlError(f"{path}: is a folder; give the study's YAML file") from None
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: not UTF-8 text ({error.reason})") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except YamlError as error:
        raise YamlError(f"{path}:{error}") from None
    found = list(zip(roots, contents, strict=True))
    if len(found) > 1:  # a file may begin or end with `---`
        found = [(root, content) for root, content in found if content is not None]
    if not found:
        raise YamlError(f"{path}:1: expected keys and values, found nothing")
    documents = []
    for root, content in found:
        if not isinstance(content, dict) or root is None:
            line = root.start_mark.line + 1 if root is not None else 1
            raise YamlError(
                f"{path}:{line}: expected keys and values, found {type(content).__name__}"
            )
        documents.append(YamlFile(path=path, content=content, root=root))
    return documents


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item, item.start_mark.line + 1
    return None
