"""What a server does with a custom resource's OpenAPI schema: prune, default, validate.

Not here: CEL rules, nullable, and what is known beside x-kubernetes-preserve-unknown-fields; where a schema says
int-or-string anything is taken.
"""

from typing import Any

import jsonschema


def admitted(schema: dict[str, Any], value: Any) -> Any:
    """Return the value without unknown fields and with the defaults filled in."""
    if isinstance(value, list):
        return [admitted(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    defaults = {name: inner["default"] for name, inner in known.items() if "default" in inner}
    of = {name: known.get(name, others) for name in defaults | value}
    return {name: admitted(of[name], item) for name, item in (defaults | value).items() if of[name] is not None}


def errors(schema: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    """Return which fields are wrong, as the server names them, and why, in the library's words."""
    found = sorted(jsonschema.Draft4Validator(schema).iter_errors(value), key=lambda error: error.json_path)
    return [(error.json_path[2:], f"Invalid value: {error.message}") for error in found]
