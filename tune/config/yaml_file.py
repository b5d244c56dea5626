"""YAML that remembers its lines, so that an error can point at one."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from refkd.errors import RefKDError
from refkd.files import encodable

DEEPEST = 100
"""Levels within each other of a file that is meant."""


class YamlError(RefKDError):
    """A YAML file that cannot be read: the message holds file and line."""


class _Loader(yaml.SafeLoader):
    """Safe YAML 1.1, but `1e-3` is a number as in YAML 1.2 and a key may stand only once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(f"{line}: a {key.id} cannot be a key; give a name")
            if key.value in seen:
                raise YamlError(f"{line}: the key {key.value!r} stands twice; remove one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node; `YamlError` where it is not what it looks like."""
        line = node.start_mark.line + 1
        try:
            value = super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):  # of dates, numbers and tags
            kind = node.tag.rpartition(":")[2]
            raise YamlError(f"{line}: {node.value[:40]!r} is no valid {kind}") from None
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise YamlError(f"{line}: {node.value[:40]} does not fit into 64 bits")
        if isinstance(value, str) and ("\0" in value or not encodable(value)):
            raise YamlError(f"{line}: {value[:40]!r} holds a character that no text may hold")
        return value


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
        text = path.read_text(encoding="utf-8-sig")
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
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"{path}:{line}: the character U+{error.character:04X} in it") from None
    except RecursionError:
        raise YamlError(f"{path}:{_deepest(text)}: nested too deeply for a study") from None
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


def _deepest(text: str) -> int:
    """Return the line at which a text goes deeper than any file that is meant."""
    depth, line = 0, 1
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        line = line if event.start_mark is None else event.start_mark.line + 1
        if depth > DEEPEST:
            break
    return line


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item, item.start_mark.line + 1
    return None
