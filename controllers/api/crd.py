"""The CustomResourceDefinitions, made from the models: `python -m controllers.api.crd DIRECTORY` writes them as YAML.

JSON schema as pydantic writes it is turned into a structural schema (Kubernetes, "Specifying a structural schema"): no
references, no alternatives for null, formats of integers. Only defaults that say something are kept, and none in a
status; a default of a whole object is never written, because CEL rules would see it before the defaults inside it.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controllers.api import alluxioruntime, databackup, dataset, schedule
from controllers.api.model import GROUP, INT64_MAX, VERSION, Model

#: An installer touches only CRDs with this label: those of Fluid have the same names.
LABELS = {"app.kubernetes.io/name": "fluidctl", "app.kubernetes.io/part-of": "fluidctl"}

_KEPT = (
    "type", "format", "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
    "maxItems", "required",
)  # fmt: skip

Column = tuple[str, str, str, int]  # name, type, path, priority
_AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0)


@dataclass(frozen=True)
class Kind:
    """One of our kinds, and how kubectl shows it."""

    kind: str
    plural: str
    description: str
    spec: type[Model]
    status: type[Model]
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()


KINDS = (
    Kind(
        dataset.KIND,
        dataset.PLURAL,
        "A Dataset is data in storages whose metadata is loaded into Alluxio, counted, and published as a volume.",
        dataset.DatasetSpec,
        dataset.DatasetStatus,
        ("dset",),
        (
            ("Phase", "string", ".status.phase", 0),
            ("Files", "integer", ".status.fileCount", 0),
            ("Size", "string", ".status.ufsTotal", 0),
            ("Cached", "string", ".status.cacheStates.cachedPercentage", 0),
            ("Progress", "string", ".status.progress.message", 0),
            ("Message", "string", '.status.conditions[?(@.type=="Ready")].message', 10),
            _AGE,
        ),
        (".status.phase",),
    ),
    Kind(
        databackup.KIND,
        databackup.PLURAL,
        "A DataBackup is one backup of the metadata of a Dataset. This release stores it and does not act on it.",
        databackup.DataBackupSpec,
        databackup.DataBackupStatus,
        ("dbackup",),
        (
            ("Dataset", "string", ".spec.dataset.name", 0),
            ("Phase", "string", ".status.phase", 0),
            ("Path", "string", ".status.location.path", 0),
            ("Entries", "integer", ".status.entryCount", 0),
            ("Size", "integer", ".status.sizeBytes", 0),
            ("Duration", "string", ".status.duration", 0),
            _AGE,
        ),
        (".status.phase",),
    ),
    Kind(
        schedule.KIND,
        schedule.PLURAL,
        "A ScheduledDataBackup makes a DataBackup by a schedule. This release stores it and does not act on it.",
        schedule.ScheduledDataBackupSpec,
        schedule.ScheduledDataBackupStatus,
        ("sdbackup",),
        (
            ("Schedule", "string", ".spec.schedule", 0),
            ("Suspend", "boolean", ".spec.suspend", 0),
            ("Next", "date", ".status.nextScheduleTime", 0),
            ("Last", "string", ".status.lastBackupName", 0),
            _AGE,
        ),
    ),
    Kind(
        alluxioruntime.KIND,
        alluxioruntime.PLURAL,
        "An AlluxioRuntime is an Alluxio for the Dataset of its name. This release stores it and does not act on it.",
        alluxioruntime.AlluxioRuntimeSpec,
        alluxioruntime.AlluxioRuntimeStatus,
        ("alluxio",),
        (
            ("Master Phase", "string", ".status.masterPhase", 0),
            ("Worker Phase", "string", ".status.workerPhase", 0),
            ("Fuse Phase", "string", ".status.fusePhase", 0),
            _AGE,
        ),
    ),
)


def definition(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}", "labels": LABELS},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["fluid"],
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "shortNames": list(kind.short_names),
                "singular": kind.kind.lower(),
            },
            "scope": "Namespaced",
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path} | ({"priority": priority} if priority else {})
            for name, type_, path, priority in kind.columns
        ],
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": kind.description,
                "required": ["spec"],
                "properties": {
                    "apiVersion": {"type": "string", "description": "Version of this representation."},
                    "kind": {"type": "string", "description": f"{kind.kind}."},
                    "metadata": {"type": "object"},
                    "spec": structural(kind.spec, defaults=True),
                    "status": structural(kind.status, defaults=False),
                },
            }
        },
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return version


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
    return {key: value for key, value in schema.items() if (key, value) != ("maximum", INT64_MAX)}


class _Dumper(yaml.SafeDumper):
    """Never writes an anchor: a reader of the YAML should not have to look elsewhere."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render() -> Iterator[tuple[str, str]]:
    """Yield the file name and the YAML of every CRD."""
    for kind in KINDS:
        text = yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
        yield f"{GROUP}_{kind.plural}.yaml", f"# Generated by python -m controllers.api.crd; do not edit.\n{text}"


def main(arguments: list[str]) -> int:
    """Write the CRDs into the directory that is the only argument."""
    if len(arguments) != 1:
        print("usage: python -m controllers.api.crd DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in render():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
