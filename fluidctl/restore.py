"""``fluidctl restore``: a Dataset, and its AlluxioRuntime, that start from a backup.

What is restored fits only storages that are mounted as they were. So the spec is copied: from the Dataset that was
backed up, or from what ``--like`` names.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from controllers.api.databackup import PathError, parse_claim_path
from controllers.api.dataset import OnRestoreFailure, RestoreSpec, SpecError, parse_spec
from controllers.api.model import API_VERSION
from controllers.kube.client import Cluster
from controllers.kube.errors import NotFound
from controllers.kube.resources import ALLUXIORUNTIMES, DATASETS, Resource
from controllers.runtime.names import NAME
from fluidctl.backup_view import of_dataset
from fluidctl.backups import find_backup
from fluidctl.exits import Code, Failure

Object = dict[str, Any]

_GIVE_IT = "give its manifest with --like FILE, or a Dataset with the same mounts with --like NAME"
#: Where nothing says how the runtime was: the least that serves.
_RUNTIME_SPEC: Object = {"replicas": 1}


def plan(
    source: Cluster, namespace: str, backup: str, name: str, like: str, restore: Mapping[str, str]
) -> list[Object]:
    """Return what is to be created, in this order; nothing is written. A Failure says what to give.

    The AlluxioRuntime comes first: without a Dataset it starts nothing, and another try uses it as it is.

    ``restore`` has the fields ``onFailure`` and ``checksum`` of spec.dataRestoreLocation.
    """
    if not NAME.fullmatch(name):
        text = f"--as {name}: must be at most 40 lower-case letters, digits and dashes, with a letter first"
        raise Failure(Code.USAGE, text)
    where, like = _location(source, namespace, backup, like)
    dataset, runtime = _template(source, namespace, like)
    spec = _checked(dataset, like)
    if _get(source, DATASETS, namespace, name):
        raise Failure(Code.USAGE, f"Dataset {name} exists: a backup is restored into a new one, choose another --as")
    location = {**where, **{key: value for key, value in restore.items() if value}}
    made = _object("Dataset", namespace, name, {**spec, "dataRestoreLocation": location})
    if existing := _get(source, ALLUXIORUNTIMES, namespace, name):
        if existing["metadata"].get("ownerReferences") or "deletionTimestamp" in existing["metadata"]:
            text = f"AlluxioRuntime {name} still belongs to a Dataset of before: wait until it is gone, or delete it"
            raise Failure(Code.USAGE, text)
        print(f"AlluxioRuntime {name} exists and is used as it is.", file=sys.stderr)
        return [made]
    if runtime is None:
        print("No AlluxioRuntime to copy: one with a single worker and all defaults is made.", file=sys.stderr)
    return [_object("AlluxioRuntime", namespace, name, runtime or _RUNTIME_SPEC), made]


def check(restore: Mapping[str, str]) -> None:
    """Raise a Failure where --on-failure or --checksum cannot be."""
    if restore["onFailure"] not in list(OnRestoreFailure):
        raise Failure(Code.USAGE, f"--on-failure must be Fail or LoadFromUFS, not {restore['onFailure']!r}")
    if RestoreSpec.read({"path": "-", **restore}, lenient=True).checksum != restore["checksum"]:
        raise Failure(Code.USAGE, f"--checksum must be sha256: and 64 digits, not {restore['checksum']!r}")


def create(source: Cluster, namespace: str, objects: list[Object]) -> None:
    """Create the objects in their order and say so."""
    for item in objects:
        resource = DATASETS if item["kind"] == DATASETS.kind else ALLUXIORUNTIMES
        source.create(resource, namespace, item)
        print(f"{resource.kind.lower()}.{resource.group}/{item['metadata']['name']} created")


def as_yaml(objects: list[Object]) -> str:
    """Return the objects as kubectl takes them."""
    return yaml.safe_dump_all(objects, sort_keys=False)


def _location(source: Cluster, namespace: str, backup: str, like: str) -> tuple[dict[str, str], str]:
    """Return what spec.dataRestoreLocation says of the backup, and what the spec is copied from."""
    if "://" not in backup:
        return {"backupName": backup}, like or of_dataset(find_backup(source, namespace, backup))
    try:
        parse_claim_path(backup)
    except PathError as error:
        raise Failure(Code.USAGE, str(error)) from error
    if not like:
        raise Failure(Code.USAGE, f"a directory does not say which Dataset was backed up: {_GIVE_IT}")
    return {"path": backup}, like


def _template(source: Cluster, namespace: str, like: str) -> tuple[Object, Object | None]:
    """Return the Dataset that is copied, and the spec of its AlluxioRuntime, if there is one."""
    if "/" in like or like.endswith((".yaml", ".yml", ".json")):
        return _read(like)
    dataset = _get(source, DATASETS, namespace, like)
    if dataset is None:
        text = f"no Dataset {like} in namespace {namespace}, whose mounts the restored one must have: {_GIVE_IT}"
        raise Failure(Code.NOT_FOUND, text)
    runtime = _get(source, ALLUXIORUNTIMES, namespace, like)
    return dataset, runtime and runtime["spec"]


def _read(file: str) -> tuple[Object, Object | None]:
    try:
        documents = list(yaml.safe_load_all(Path(file).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Failure(Code.USAGE, f"--like {file} cannot be read: {error}") from error
    found = [item for item in documents if isinstance(item, dict) and item.get("apiVersion") == API_VERSION]
    datasets = [item for item in found if item.get("kind") == DATASETS.kind]
    runtimes = [item for item in found if item.get("kind") == ALLUXIORUNTIMES.kind]
    if len(datasets) != 1 or len(runtimes) > 1:
        many = f"{len(datasets)} Datasets and {len(runtimes)} AlluxioRuntimes"
        raise Failure(Code.USAGE, f"--like {file} must hold one Dataset and at most one AlluxioRuntime, not {many}")
    return datasets[0], (runtimes[0].get("spec") or {}) if runtimes else None


def _checked(dataset: Object, like: str) -> Object:
    """Return the spec to copy."""
    try:
        spec = parse_spec(dataset)
    except SpecError as error:
        raise Failure(Code.USAGE, f"--like {like}: {error.message}") from error
    if spec.alluxio:
        raise Failure(
            Code.USAGE,
            f"Dataset {like} uses an Alluxio that somebody else runs (spec.alluxio); a restore fills only one of the "
            "Dataset's own (an AlluxioRuntime): see docs/backup.md",
        )
    return dict(dataset["spec"])


def _get(source: Cluster, resource: Resource, namespace: str, name: str) -> Object | None:
    try:
        return source.get(resource, namespace, name)
    except NotFound as error:
        if error.details.get("name"):
            return None
        raise  # the kind itself is not known


def _object(kind: str, namespace: str, name: str, spec: Object) -> Object:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
