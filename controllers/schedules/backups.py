"""The DataBackups of a schedule: the name and the body of one, and which of them go."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from controllers.api.databackup import KIND as BACKUP_KIND
from controllers.api.databackup import DeletionPolicy
from controllers.api.model import API_VERSION
from controllers.api.schedule import KIND, BackupOwner, ScheduledDataBackupSpec
from controllers.decision import Delete
from controllers.jobs import MANAGED_BY, MANAGER, SCHEDULE, SCHEDULE_UID, owner_reference
from controllers.schedules.seen import Made, Observed

#: A name has at most 253 characters, and the moment of the slot takes 15 of them.
_LONGEST = 200


def name_of(seen: Observed, slot: float) -> str:
    """Return the name of the slot's backup: one name for ever, and no other slot's."""
    return f"{_stem(seen.name)}-{datetime.fromtimestamp(int(slot), UTC):%Y%m%d%H%M%S}"


def made_by(schedule: str, backup: str) -> bool:
    """Whether a backup has the name of a slot: a copy of one has its labels, too, and is not ours to delete."""
    return re.fullmatch(f"{re.escape(_stem(schedule))}-[0-9]{{14}}", backup) is not None


def _stem(stem: str) -> str:
    if len(stem) > _LONGEST:
        stem = f"{stem[: _LONGEST - 9].rstrip('-.')}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"
    return stem


def body(seen: Observed, spec: ScheduledDataBackupSpec, name: str) -> dict[str, Any]:
    """Return the DataBackup. Without a word of the template on it, its files go with it where retention is set."""
    template = spec.template
    retained = spec.retention.keep_last is not None or bool(spec.retention.max_age)
    policy = template.spec.deletion_policy or (DeletionPolicy.DELETE if retained else DeletionPolicy.RETAIN)
    labels = {MANAGED_BY: MANAGER, SCHEDULE: seen.name[:63].rstrip("-."), SCHEDULE_UID: seen.uid}
    meta = {
        "name": name,
        "namespace": seen.namespace,
        "labels": template.metadata.labels | labels,
        "annotations": template.metadata.annotations,
        "ownerReferences": _owners(seen, spec),
    }
    given = template.spec.model_dump(mode="json", by_alias=True, exclude_none=True) | {"deletionPolicy": policy.value}
    return {"apiVersion": API_VERSION, "kind": BACKUP_KIND, "metadata": meta, "spec": given}


def _owners(seen: Observed, spec: ScheduledDataBackupSpec) -> list[dict[str, Any]]:
    owner = spec.backup_owner_reference
    if owner is BackupOwner.SELF:
        return [owner_reference(seen.name, seen.uid, KIND)]
    if owner is BackupOwner.DATASET and seen.dataset_uid:
        return [owner_reference(spec.template.spec.dataset.name, seen.dataset_uid)]
    return []


@dataclass(frozen=True)
class Doomed:
    """What goes now, and when something will be too old next, in seconds since the epoch."""

    deletions: tuple[Delete, ...]
    next_at: float | None


def doomed(seen: Observed, spec: ScheduledDataBackupSpec) -> Doomed:
    """Return which backups go. Good ones alone are counted by retention, those of each Dataset by themselves.

    The newest good one of a Dataset always stays: also that of one which the template no longer names.
    """
    living = sorted((b for b in seen.backups if not b.deleting), key=_newest_first)
    bad = [backup for backup in living if backup.over and not backup.good]
    gone, ends = bad[spec.failed_backups_history_limit :], dict[str, float]()
    age = spec.retention.max_age_seconds
    for dataset in sorted({backup.dataset for backup in living}):
        good = [backup for backup in living if backup.good and backup.dataset == dataset]
        kept = good[: spec.retention.keep_last or len(good)]
        ends |= {backup.uid: (backup.ended or backup.created) + age for backup in kept[1:]} if age else {}
        too_old = [backup for backup in kept if ends.get(backup.uid, seen.now + 1) <= seen.now]
        gone = good[len(kept) :] + gone + too_old
    next_at = min((at for at in ends.values() if at > seen.now), default=None)
    return Doomed(tuple(Delete(BACKUP_KIND, backup.name, backup.uid) for backup in gone), next_at)


def _newest_first(backup: Made) -> tuple[float, str]:
    return -(backup.ended or backup.created), backup.name
