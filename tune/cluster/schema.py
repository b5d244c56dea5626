"""Values of a wrong kind, by the schema of cluster files that Ray brings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from refkd.errors import RefKDError
from tune import compat
from tune.cluster.findings import Fault, Faults
from tune.cluster.source import ClusterFile, value_at
from tune.cluster.unknown import unknown

KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a section of keys and values",
    "string": "text",
}
HINTS = {
    "availability_zone": "write one text with commas between: us-west-2a,us-west-2b",
    "ssh_proxy_command": "name the command, or remove ssh_proxy_use_node_id",
}


def check_schema(file: ClusterFile) -> Faults:
    """Yield unknown keys and wrong values by Ray's schema."""
    from jsonschema import Draft7Validator

    content = _with_text_keys(file.content)
    if file.kind == "local":
        content.pop("min_workers", None)  # of fixed machines alone, and not in the schema
    for error in Draft7Validator(ray_schema()).iter_errors(content):
        keys = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            known = error.schema.get("properties", {})
            yield from (unknown((*keys, key), known) for key in error.instance if key not in known)
        elif error.validator != "required":
            found = value_at(content, keys)
            wanted = _wanted(error.validator, error.validator_value)
            what = "is empty" if found is None else f"is not {wanted}"
            remedy = HINTS.get(str(keys[-1] if keys else ""), f"write {wanted}")
            yield Fault(keys, found, what, remedy)
        elif keys:  # what is missing at the top, `ray up` fills in
            key = error.message.split("'")[1]
            yield Fault((*keys, key), None, "is missing", HINTS.get(key, "write it out"))


def ray_schema() -> dict[str, Any]:
    """Return the schema of cluster files of the installed Ray, without importing Ray."""
    path = compat.cluster_file_schema()
    if path is None:
        raise RefKDError("Ray is not installed; run: pip install 'refkd[tune]'")
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def _wanted(validator: str, value: Any) -> str:
    if validator == "type":
        kinds = [value] if isinstance(value, str) else value
        return " or ".join(KINDS[kind] for kind in kinds)
    if validator == "minimum":
        return f"{value} or more"
    if validator == "enum":
        return f"one of {', '.join(map(str, value))}"
    return f"what Ray's schema expects ({validator}: {value})"


def _with_text_keys(content: Any) -> Any:
    """Return the content with all keys as text, which a schema takes for granted."""
    if isinstance(content, Mapping):
        return {str(key): _with_text_keys(value) for key, value in content.items()}
    return [_with_text_keys(v) for v in content] if isinstance(content, list) else content
