"""The CustomResourceDefinitions, made from the models; `python -m controllers.api.crd DIRECTORY` writes them."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controllers.api import alluxioruntime, core, databackup, dataset, fluid, schedule
from controllers.api.model import GROUP, VERSION
from controllers.api.structural import structural

#: An installer touches only CRDs with this label: those of Fluid have the same names.
LABELS = {"app.kubernetes.io/name": "fluidctl", "app.kubernetes.io/part-of": "fluidctl"}

Column = tuple[str, str, str, int]  # name, type, path, priority
_AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0)


@dataclass(frozen=True)
class Kind:
    """One of our kinds, and how kubectl shows it."""

    kind: str
    plural: str
    description: str
    spec: dict[str, Any]
    status: dict[str, Any]
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()


def _with(schema: dict[str, Any], shape: core.Shape) -> dict[str, Any]:
    """Return the schema of an object with the fields of Fluid's that we never read."""
    foreign: dict[str, Any] = core.schema(shape, "Dataset.status", "Fluid")["properties"]
    return {**schema, "properties": {**schema["properties"], **foreign}}


KINDS = (
    Kind(
        dataset.KIND,
        dataset.PLURAL,
        "A Dataset is data in storages whose metadata is loaded into Alluxio, counted, and published as a volume.",
        structural(dataset.DatasetSpec, defaults=True),
        _with(structural(dataset.DatasetStatus, defaults=False), fluid.DATASET_STATUS),
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
        "A DataBackup is one backup of the metadata of a Dataset, taken from its Alluxio into a volume and read back.",
        structural(databackup.DataBackupSpec, defaults=True),
        structural(databackup.DataBackupStatus, defaults=False),
        ("dbackup",),
        (
            ("Dataset", "string", ".spec.dataset.name", 0),
            ("Phase", "string", ".status.phase", 0),
            ("Verified", "string", '.status.conditions[?(@.type=="Verified")].status', 0),
            ("Entries", "integer", ".status.entryCount", 0),
            ("Size", "integer", ".status.sizeBytes", 0),
            ("Duration", "string", ".status.duration", 0),
            ("Progress", "string", ".status.progress.message", 0),
            ("Path", "string", ".status.location.path", 10),
            ("Message", "string", ".status.message", 10),
            _AGE,
        ),
        (".status.phase",),
    ),
    Kind(
        schedule.KIND,
        schedule.PLURAL,
        "A ScheduledDataBackup makes DataBackups by a schedule, and deletes those that are too old or too many.",
        structural(schedule.ScheduledDataBackupSpec, defaults=True),
        structural(schedule.ScheduledDataBackupStatus, defaults=False),
        ("sdbackup",),
        (
            ("Schedule", "string", ".spec.schedule", 0),
            ("Suspend", "boolean", ".spec.suspend", 0),
            ("Next", "string", ".status.nextScheduleTime", 0),
            ("Last", "string", ".status.lastBackupName", 0),
            ("Last Success", "date", ".status.lastSuccessfulTime", 0),
            ("Message", "string", '.status.conditions[?(@.type=="Ready")].message', 10),
            _AGE,
        ),
    ),
    Kind(
        alluxioruntime.KIND,
        alluxioruntime.PLURAL,
        "An AlluxioRuntime is an Alluxio for the Dataset of its name.",
        alluxioruntime.spec_schema(),
        alluxioruntime.status_schema(),
        ("alluxio",),
        (
            ("Master Phase", "string", ".status.masterPhase", 0),
            ("Worker Phase", "string", ".status.workerPhase", 0),
            ("Workers", "integer", ".status.workerNumberReady", 0),
            ("Message", "string", '.status.conditions[?(@.type=="Ready")].message', 10),
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
                    "spec": kind.spec,
                    "status": kind.status,
                },
            }
        },
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return version


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
