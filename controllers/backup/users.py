"""Which Datasets may still read a backup, so that its files stay while it is being deleted."""

from collections.abc import Iterable, Iterator
from typing import Any

from controllers.api.databackup import BackupPhase, DataBackupStatus, PathError, claim_path, parse_claim_path
from controllers.api.dataset import RestorePhase, parse_status
from controllers.backup.seen import FINAL, Meta

#: How far a restore is while it may still read its backup.
READING = (RestorePhase.STAGING, RestorePhase.STARTING, RestorePhase.VERIFYING)


def users(datasets: Iterable[dict[str, Any]], meta: Meta, status: DataBackupStatus) -> Iterator[str]:
    """Yield the names of those Datasets that read it now or are to read it, by its name or by its path.

    What one that has failed left may be whole (of a lost pod, or of a deadline at the last moment): by path alone.
    """
    if status.phase not in FINAL or status.location is None:
        return  # there is nothing to be read
    name = meta.name if status.phase is BackupPhase.COMPLETE else ""
    path = claim_path(status.location)
    for obj in datasets:
        about = obj["metadata"]
        named = _restores_from(obj, name, path)
        if about.get("namespace") != meta.namespace or not (named or (obj.get("status") or {}).get("restore")):
            continue
        found = parse_status(obj)
        reads = found.restore.phase in READING and (named or found.restore.source == path)
        # It was not begun yet, or it has failed and is tried again.
        coming = found.restore.phase is RestorePhase.FAILED or not (found.restore.phase or found.run.number)
        if reads or (named and coming and "deletionTimestamp" not in about):
            yield about["name"]


def _restores_from(obj: dict[str, Any], name: str, path: str) -> bool:
    """Whether the Dataset wants to start from the DataBackup of that name, if any, or from that ``pvc://claim/...``."""
    wanted = (obj.get("spec") or {}).get("dataRestoreLocation") or {}
    try:
        claim, directory = parse_claim_path(wanted.get("path") or "")
    except PathError:
        return bool(name and wanted.get("backupName") == name)
    return f"pvc://{claim}/{directory}" == path
