"""``fluidctl backup`` and ``fluidctl backups``: make a DataBackup, list them, have one read again."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from controllers.api.conditions import TRUE, find
from controllers.api.databackup import VERIFY_ANNOTATION, BackupPhase, DeletionPolicy, PathError, parse_claim_path
from controllers.kube.client import Cluster
from controllers.kube.errors import NotFound
from controllers.kube.resources import DATABACKUPS
from controllers.kube.store import strip
from fluidctl.backup_view import VERIFIED, changes, damaged, listing, of_dataset, panel, phase, read
from fluidctl.exits import Code, Failure
from fluidctl.follow import Display, View, fetch, states

_VIEW = View(changes, panel)
Outcome = Callable[[Mapping[str, Any]], Code | None]


def body(dataset: str, to: str, name: str, policy: str, now: float) -> dict[str, Any]:
    """Return the DataBackup; its name, where none is given, says of what and when. A Failure says what is wrong."""
    if policy not in list(DeletionPolicy):
        raise Failure(Code.USAGE, f"--deletion-policy must be Retain or Delete, not {policy!r}")
    try:
        parse_claim_path(to)
    except PathError as error:
        raise Failure(Code.USAGE, f"--to: {error}") from error
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return {
        "metadata": {"name": name or f"{dataset[:200].rstrip('-.')}-{stamp}"},
        "spec": {
            "dataset": {"name": dataset},
            "backupStorageLocationSpec": {"mountPath": to},
            "deletionPolicy": policy,
        },
    }


def create(source: Cluster, namespace: str, backup: dict[str, Any]) -> str:
    """Create the DataBackup of a Dataset that exists, say so, and return its name."""
    fetch(source, namespace, of_dataset(backup))  # a mistyped name is to fail here, not to wait in the cluster
    name = str(source.create(DATABACKUPS, namespace, backup)["metadata"]["name"])
    print(f"databackup.data.fluid.io/{name} created")
    return name


def print_list(source: Cluster, namespace: str | None, dataset: str, output: str, now: float) -> None:
    """Print the DataBackups of a Dataset, or of all where empty, as ``output`` says: "", "wide" or "json"."""
    found, _ = source.list_all(DATABACKUPS, namespace)
    found = [backup for backup in found if dataset in ("", of_dataset(backup))]
    if output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": [strip(item) for item in found]}, indent=2))
    elif not found:
        of, where = f" of Dataset {dataset}" if dataset else "", f" in namespace {namespace}" if namespace else ""
        if dataset == "verify":  # more likely a name was forgotten
            raise Failure(
                Code.USAGE, f"no DataBackups{of}{where}. To have one verified: fluidctl backups verify BACKUP"
            )
        print(f"No DataBackups{of}{where}.", file=sys.stderr)
    else:
        print("\n".join(listing(found, now, wide=output == "wide", namespaces=namespace is None)))


def request_verification(source: Cluster, namespace: str, name: str, now: float) -> str:
    """Ask the controller to read a complete backup again; return the request, which is the moment."""
    found = fetch(source, namespace, name, DATABACKUPS)
    if phase(read(found)) is not BackupPhase.COMPLETE:
        raise Failure(
            Code.USAGE, f"DataBackup {name} is {phase(read(found))}: only one that is Complete can be verified"
        )
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
    note = {"metadata": {"annotations": {VERIFY_ANNOTATION: stamp}, "uid": found["metadata"]["uid"]}}
    source.merge_patch(DATABACKUPS, namespace, name, note)
    return stamp


def completed(backup: Mapping[str, Any]) -> Code | None:
    """Return OK where the backup is Complete, FAILED where it is Failed, else None."""
    return {BackupPhase.COMPLETE: Code.OK, BackupPhase.FAILED: Code.FAILED}.get(phase(read(backup)))


def verified(request: str) -> Outcome:
    """Return what says OK or FAILED once the verification that was requested has ended."""

    def outcome(backup: Mapping[str, Any]) -> Code | None:
        status = read(backup)
        if status.last_handled_verify != request:
            return None
        condition = find(status.conditions, VERIFIED)
        return Code.OK if condition and condition.status == TRUE else Code.FAILED

    return outcome


def follow(source: Cluster, namespace: str, name: str, outcome: Outcome, limit: float = math.inf) -> None:
    """Show a DataBackup until the outcome is known, at most ``limit`` seconds; a Failure says what is not well."""
    deadline = time.monotonic() + limit
    found = states(source, namespace, name, deadline, time.monotonic, time.sleep, DATABACKUPS)
    with Display(f"{namespace}/{name}", time.time, sys.stdout, _VIEW) as display:
        _end(found, outcome, display)


def _end(found: Iterator[dict[str, Any]], outcome: Outcome, display: Display) -> None:
    for last in found:
        display.show(last)
        code = outcome(last)
        if code is Code.OK:
            return
        if code is Code.FAILED:
            raise Failure(code, f"DataBackup {_about(last)}")
    raise Failure(Code.TIMED_OUT, f"timed out: DataBackup {_about(last)}")


def _about(backup: Mapping[str, Any]) -> str:
    status, metadata = read(backup), backup["metadata"]
    condition = find(status.conditions, VERIFIED)
    unknown = condition.message if condition and phase(status) is BackupPhase.COMPLETE else ""
    damage = damaged(status) or unknown
    text = f"not verified: {damage}" if damage else f"{phase(status)}: {status.message}"
    return f"{metadata['namespace']}/{metadata['name']} is {text}".rstrip(": ")


def find_backup(source: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """Return a DataBackup from which a Dataset can be restored; a Failure says what to give instead."""
    try:
        found = fetch(source, namespace, name, DATABACKUPS)
    except NotFound as error:
        if not error.details.get("name"):
            raise
        message = (
            f"no DataBackup {name} in namespace {namespace} (see fluidctl backups -A). If only its files are left on a "
            "claim, give their directory: pvc://claim/directory"
        )
        raise Failure(Code.NOT_FOUND, message) from error
    if phase(read(found)) is BackupPhase.FAILED or damaged(read(found)):
        raise Failure(Code.USAGE, f"DataBackup {_about(found)}. Take another one: fluidctl backups {of_dataset(found)}")
    return found
