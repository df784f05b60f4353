"""What a server does with a custom resource's OpenAPI schema: prune, default, validate. CEL rules are not evaluated."""

import copy
import json
from typing import Any

import jsonschema

from devcluster.refusals import Cause, cause


def admitted(schema: dict[str, Any], value: Any, top: bool = True) -> Any:
    """Return a copy without unknown fields and without nulls where a default stands in, with the defaults filled in."""
    if isinstance(value, list):
        return [admitted(schema.get("items", {}), item, False) for item in value]
    if not isinstance(value, dict):
        return value
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    free = schema.get("x-kubernetes-preserve-unknown-fields") or rest is True
    result = {}
    for name, item in value.items():
        inner = known.get(name, rest if isinstance(rest, dict) else None)
        if (free and inner is None) or (top and name in ("apiVersion", "kind", "metadata")):
            result[name] = copy.deepcopy(item)
        elif inner is not None and not (item is None and not inner.get("nullable") and "default" in inner):
            result[name] = admitted(inner, item, False)
    missing = {name: inner for name, inner in known.items() if name not in result and "default" in inner}
    return result | {name: admitted(inner, copy.deepcopy(inner["default"]), False) for name, inner in missing.items()}


def validator(schema: dict[str, Any]) -> jsonschema.Draft4Validator:
    """Return what ``errors`` needs, to be made once for a schema."""
    return jsonschema.Draft4Validator(_plain(schema))


def errors(check: jsonschema.Draft4Validator, value: Any) -> list[Cause]:
    """Return what is wrong as causes of a metav1.Status (field, message, reason), in the server's words where short."""
    return [_cause(error) for error in sorted(check.iter_errors(value), key=lambda error: error.json_path)]


def _cause(error: jsonschema.ValidationError) -> Cause:
    field, rule, value = error.json_path[2:], error.validator_value, json.dumps(error.instance)
    if error.validator == "required":
        name = error.message.split("'")[1]  # one error for each name, which stands nowhere else
        return cause(f"{field}.{name}".strip("."), "Required value", "FieldValueRequired")
    if error.validator == "enum":
        text = f"Unsupported value: {value}: supported values: {json.dumps(rule)[1:-1]}"
        return cause(field, text, "FieldValueNotSupported")
    if error.validator == "type":
        text = f"Invalid value: {value}: {field} in body must be of type {rule}"
        return cause(field, text, "FieldValueTypeInvalid")
    return cause(field, f"Invalid value: {value}: {error.message}")


def _plain(schema: Any) -> Any:
    """Return the schema in the words of JSON Schema draft 4, which has no nullable and no int-or-string."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(item) for name, item in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        plain["type"] = ["integer", "string"]
    elif schema.get("nullable") is True:
        plain["type"] = [schema["type"], "null"]
    return plain
