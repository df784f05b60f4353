"""A restore: the first run of a Dataset whose own Alluxio starts from a backup instead of loading.

stage (no master runs; a Job verifies the backup and lays it beside the empty journal), then the master reads it, mount,
and size, which has to count exactly what the manifest promises. What does not is never served: it is staged again, or
given up, or where a person has said so, abandoned for a load from the storage.
"""

from typing import Any, NamedTuple

from controllers.api.conditions import FALSE, TRUE, UNKNOWN
from controllers.api.databackup import BackupPhase, DataBackupStatus, PathError, claim_path, parse_claim_path
from controllers.api.dataset import (
    DatasetSpec,
    DatasetStatus,
    LoadStatus,
    OnRestoreFailure,
    Phase,
    RestorePhase,
    RestoreStatus,
    SizeStatus,
    StepStatus,
)
from controllers.api.model import TEXT_LENGTH
from controllers.api.result import BackupFacts, Exit, Result, Totals, describe
from controllers.api.times import rfc3339
from controllers.dataset.seen import LOAD, MOUNT, SIZE, STAGE, Observed
from controllers.decision import Problem

LOADER = "Restore"  # in status.load.loader: nothing was loaded
MISMATCH = describe(Exit.RESTORE_MISMATCH)[0]
JOURNAL_LOST, NOT_STARTED = "JournalLost", "MasterNotStarted"
#: A mount that fails for one of these at a restored master may only say that it holds a part.
_HALF = {describe(code)[0] for code in (Exit.MOUNT_REFUSED, Exit.PATH_NOT_FOUND)}

_UNDER_WAY = (RestorePhase.STAGING, RestorePhase.STARTING, RestorePhase.VERIFYING)


class Source(NamedTuple):
    """Where the backup is, and what is known of it beforehand."""

    claim: str
    directory: str
    manifest_sha256: str = ""

    def __str__(self) -> str:
        return f"pvc://{self.claim}/{self.directory}"


def under_way(status: DatasetStatus) -> bool:
    """Whether the run restores, and it is not known yet how that ends."""
    return status.restore.phase in _UNDER_WAY


def unfinished(status: DatasetStatus) -> bool:
    """Whether a restore has begun, and was neither proved nor abandoned."""
    return under_way(status) or status.restore.phase == RestorePhase.FAILED


# --- how one begins ---------------------------------------------------------------------------------------------------


def plan(seen: Observed) -> tuple[str, ...]:
    """Return the steps of a new run. Only the first one restores, however often it has to begin anew."""
    spec, status = seen.spec, seen.status
    if spec is None or spec.alluxio is not None:
        return ()
    if status.restore.phase == RestorePhase.ABANDONED and not _discarded(status):
        return (STAGE, MOUNT, LOAD, SIZE)
    first = not status.run.number or unfinished(status)
    return (STAGE, MOUNT, SIZE) if spec.data_restore_location and first else (MOUNT, LOAD, SIZE)


def _discarded(status: DatasetStatus) -> bool:
    return STAGE not in status.run.plan or bool(status.stage.completion_time)


def fresh(seen: Observed, steps: tuple[str, ...], reason: str) -> RestoreStatus:
    """Return the restore's status for a new run of these steps, which begins for that reason."""
    if STAGE in steps and LOAD not in steps:
        return RestoreStatus(phase=RestorePhase.STAGING, start_time=rfc3339(seen.now))
    found = seen.status.restore
    if reason != "MasterReset" or found.phase != RestorePhase.RESTORED:
        return found
    text = "the master lost what was restored; everything is loaded from the storage, which is newer than the backup"
    return found.model_copy(update={"phase": RestorePhase.ABANDONED, "reason": reason, "message": text})


def source(seen: Observed, spec: DatasetSpec) -> Source | Problem:
    """Return where the backup is; a Problem where that is not known, or not yet."""
    wanted = spec.data_restore_location
    if wanted is None:
        return Problem("InvalidSpec", "spec.dataRestoreLocation is gone")
    if not wanted.backup_name:
        try:
            return Source(*parse_claim_path(wanted.path))
        except PathError as error:
            return Problem("InvalidSpec", str(error))
    return _of_backup(wanted.backup_name, seen.backup)


def _of_backup(name: str, found: DataBackupStatus | None) -> Source | Problem:
    if found is None:
        return Problem("BackupNotFound", f"waiting for DataBackup {name}: there is none of that name here")
    if found.phase == BackupPhase.FAILED:
        text = f"DataBackup {name} failed ({found.failure_reason}): name another one in spec.dataRestoreLocation"
        return Problem("BackupFailed", text)
    if found.phase != BackupPhase.COMPLETE or found.location is None:
        return Problem("BackupNotComplete", f"waiting for DataBackup {name}: it is {found.phase or 'Pending'}")
    claim, directory = parse_claim_path(claim_path(found.location))
    return Source(claim, directory, found.manifest_sha256)


def moved(seen: Observed) -> bool:
    """Whether a person named another backup while the restore from one is under way."""
    if seen.spec is None or not unfinished(seen.status) or not seen.status.restore.source:
        return False
    found = source(seen, seen.spec) if seen.spec.data_restore_location else None
    return isinstance(found, Source) and str(found)[:TEXT_LENGTH] != seen.status.restore.source[:TEXT_LENGTH]


# --- how it goes on ---------------------------------------------------------------------------------------------------


def changed(status: DatasetStatus, **values: Any) -> DatasetStatus:
    """Return the status with these values in the restore."""
    return status.model_copy(update={"restore": status.restore.model_copy(update=values)})


def retried(status: DatasetStatus) -> DatasetStatus:
    """Return the status with which a restore that was given up has a new chance."""
    if status.restore.phase != RestorePhase.FAILED:
        return status
    return changed(status, phase=RestorePhase.STAGING, reason="", message="")


def refused(status: DatasetStatus, spec: DatasetSpec, step: str, result: Result) -> Problem | None:
    """Return why a step that ended well is no success of a restore; None where it is, or none is under way."""
    if not under_way(status):
        return None
    if step == STAGE:
        return _not_staged(spec, result)
    if step == SIZE and not (result.proved and result.totals == expected(status)):
        return Problem(MISMATCH, "the Job that counted did not say that it found what the backup promises")
    return None


def _not_staged(spec: DatasetSpec, result: Result) -> Problem | None:
    found, wanted = result.backup, spec.data_restore_location
    if found is None:
        return Problem("ResultLost", "the Job that verified the backup did not say what it is")
    if wanted and wanted.checksum and wanted.checksum != found.checksum:
        text = f"the backup is {found.checksum}, spec.dataRestoreLocation.checksum asks for {wanted.checksum}"
        return Problem("ChecksumMismatch", text)
    return None


def staged(status: DatasetStatus, found: BackupFacts) -> DatasetStatus:
    """Return the status with what the manifest promises: from here on a master may start from it."""
    return changed(
        status,
        phase=RestorePhase.STARTING,
        entry_count=found.entries,
        files=found.files,
        directories=found.directories,
        bytes=found.bytes,
        checksum=found.checksum,
        manifest_sha256=found.manifest_sha256,
        engine_version=found.engine_version,
        created_at=found.created_at,
    )


def mounted(status: DatasetStatus) -> DatasetStatus:
    """Return the status once the restored master serves and has its mounts."""
    return changed(status, phase=RestorePhase.VERIFYING) if under_way(status) else status


def expected(status: DatasetStatus) -> Totals | None:
    """Return what the count must give, or None where nothing was promised."""
    found = status.restore
    return Totals(found.files, found.directories, found.bytes) if under_way(status) else None


def proved(status: DatasetStatus, ended: str) -> DatasetStatus:
    """Return the status once the count is what the manifest promises: the metadata is there, nothing was loaded."""
    if not under_way(status):
        return status
    load = status.load.model_copy(update={"completion_time": ended, "loader": LOADER})
    done = changed(status, phase=RestorePhase.RESTORED, completion_time=ended, reason="", message="")
    return done.model_copy(update={"load": load})


# --- how it fails -----------------------------------------------------------------------------------------------------


def begins_anew(status: DatasetStatus, step: str, reason: str) -> bool:
    """Whether a failure leaves no other way than to stage the backup again: this master holds a part, or nothing."""
    if not under_way(status):
        return False
    return reason in (MISMATCH, JOURNAL_LOST, NOT_STARTED) or (step == MOUNT and reason in _HALF)


def failed(status: DatasetStatus, spec: DatasetSpec, reason: str, message: str) -> DatasetStatus:
    """Return the status after a failure that leads back to the stage: again, failed, or abandoned for a load."""
    if not status.stage.given_up:
        return changed(status, phase=RestorePhase.STAGING, reason=reason, message=message)
    wanted = spec.data_restore_location
    if wanted is not None and wanted.on_failure is OnRestoreFailure.FAIL:
        return changed(status, phase=RestorePhase.FAILED, reason=reason, message=message)
    return abandoned(status, reason, message)


def abandoned(status: DatasetStatus, reason: str, message: str) -> DatasetStatus:
    """Return the status of a run that removes what was staged and loads everything from the storage."""
    update = {
        "phase": Phase.PENDING,
        "run": status.run.model_copy(update={"plan": (STAGE, MOUNT, LOAD, SIZE)}),
        STAGE: StepStatus(attempt=status.stage.attempt + 1),
        MOUNT: StepStatus(attempt=status.mount.attempt + 1),
        LOAD: LoadStatus(attempt=status.load.attempt + 1),
        SIZE: SizeStatus(attempt=status.size.attempt + 1),
    }
    lost = changed(status, phase=RestorePhase.ABANDONED, reason=reason, message=message)
    return lost.model_copy(update=update)


def left_behind(seen: Observed, status: DatasetStatus) -> DatasetStatus:
    """Return the status where a person took dataRestoreLocation away before the restore was proved: abandoned."""
    if seen.spec is None or seen.spec.data_restore_location is not None or not unfinished(status):
        return status
    return abandoned(status, "RestoreRemoved", "spec.dataRestoreLocation was removed before the restore was proved")


# --- what a person reads ----------------------------------------------------------------------------------------------


def condition(status: DatasetStatus, reason: str, message: str) -> tuple[str, str, str] | None:
    """Return status, reason and message of Restored, where the run stands so; None where nothing is restored."""
    found = status.restore
    if found.phase is None:
        return None
    if found.phase == RestorePhase.RESTORED:
        text = (
            f"{found.files:,} files, {found.directories:,} directories, {found.bytes:,} bytes, as {found.source} says"
        )
        if STAGE not in status.run.plan:  # a later run: its numbers are others
            run = status.run
            text = f"restored at {found.completion_time}: {text}; run {run.number} ({run.reason}) is of the storage"
        return TRUE, "Restored", text
    if under_way(status):
        return UNKNOWN, reason, message
    return FALSE, found.reason, found.message
