"""Structural schemas (Kubernetes, "Specifying a structural schema") from the JSON schema that pydantic writes.

No references, no alternatives for null; formats of integers. Only defaults that say something are kept, and none in a
status; a default of a whole object is never written, because CEL rules would see it before the defaults inside it.
"""

from dataclasses import dataclass
from typing import Any

from controllers.api.model import INT64_MAX, Model

_KEPT = (
    "type", "format", "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
    "maxItems", "required",
)  # fmt: skip


def structural(model: type[Model], *, defaults: bool) -> dict[str, Any]:
    """Return the structural schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return _Structural(schema.get("$defs", {}), defaults).convert(schema)


@dataclass(frozen=True)
class _Structural:
    definitions: dict[str, Any]
    defaults: bool

    def convert(self, node: dict[str, Any]) -> dict[str, Any]:
        node = self._resolve(node)
        schema = {key: value for key, value in node.items() if key in _KEPT or key.startswith("x-kubernetes-")}
        if node.get("x-unserved"):
            schema["description"] += " This release does not act on it."
        if node.get("x-unserved-elsewhere"):
            schema["description"] += " An existing Alluxio (spec.alluxio) is not changed for it."
        if "properties" in node:
            schema["properties"] = {name: self.convert(item) for name, item in node["properties"].items()}
        if "items" in node:
            schema["items"] = self.convert(node["items"])
        if isinstance(node.get("additionalProperties"), dict):
            schema["additionalProperties"] = self.convert(node["additionalProperties"])
        if schema.get("type") == "integer":
            schema = _sized(schema)
        default = node.get("default")
        return schema | ({"default": default} if self.defaults and default and not isinstance(default, dict) else {})

    def _resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """Put a definition in the place of its reference, and what is not null in the place of an alternative."""
        if "anyOf" in node:
            (choice,) = (item for item in node["anyOf"] if item.get("type") != "null")
            return self._resolve({**choice, **{key: value for key, value in node.items() if key != "anyOf"}})
        if "$ref" in node:
            target = self.definitions[node["$ref"].rpartition("/")[2]]
            return self._resolve({**target, **{key: value for key, value in node.items() if key != "$ref"}})
        return node


def _sized(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an integer with its format; a bound that the format has anyhow is left out."""
    schema = {"format": "int32" if schema.get("maximum", INT64_MAX) < 2**31 else "int64", **schema}
    # The format says as much; as a bound the API server takes none that a double cannot hold.
    useless = (("maximum", INT64_MAX), ("minimum", -INT64_MAX))
    return {key: value for key, value in schema.items() if (key, value) not in useless}
