"""The DataBackup: one backup of a dataset's metadata, and one attempt at it."""

import enum
import re
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from controllers.api.dataset_status import Conditions
from controllers.api.model import Count, Model, Text, Time, rules

KIND = "DataBackup"
PLURAL = "databackups"
#: Set to a new value (RFC 3339), it has a complete backup read and compared again.
VERIFY_ANNOTATION = "data.fluid.io/verify-requested-at"

_CLAIM_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class DeletionPolicy(enum.StrEnum):
    """What becomes of the files when the object is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class BackupPhase(enum.StrEnum):
    """Complete and Failed are final, whatever happens later."""

    PENDING = "Pending"
    EXECUTING = "Executing"
    COMPLETE = "Complete"
    FAILED = "Failed"


class DatasetReference(Model):
    """The dataset that is backed up."""

    name: str = Field(description="Name of the Dataset.", min_length=1, max_length=253)
    namespace: str = Field(
        default="", description="Namespace of the Dataset. Only the backup's own; empty means that.", max_length=63
    )


class BackupStorageLocation(Model):
    """Where a backup is kept."""

    mount_path: str = Field(
        description="pvc://claim/directory; the claim is in the namespace of the backup.",
        max_length=512,  # with names below it the location fits a status
        json_schema_extra=rules(
            (
                "self.matches('^pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/.*)?$')",
                "must be pvc://claim/directory: only a PersistentVolumeClaim of this namespace holds backups",
            ),
            ("!self.split('/').exists(part, part == '.' || part == '..')", "must hold no part . or .."),
        ),
    )


class RunAs(Model):
    """The user of the pods that write, verify and delete the backup. Never root."""

    uid: int = Field(description="Numeric id of the user.", ge=1, le=2**31 - 1)
    gid: int = Field(description="Numeric id of the group, which owns what the volume lets it own.", ge=0, le=2**31 - 1)


#: What decides how a backup goes. It is one attempt at one moment, so none of it can change.
_FIXED = (
    "dataset",
    "backupStorageLocationSpec",
    "runAs",
    "backoffLimit",
    "activeDeadlineSeconds",
    "startingDeadlineSeconds",
    "runningDeadlineSeconds",
)
_IMMUTABLE = (
    " && ".join(f"has(self.{n}) == has(oldSelf.{n}) && (!has(self.{n}) || self.{n} == oldSelf.{n})" for n in _FIXED),
    "only deletionPolicy and ttlSecondsAfterFinished can change: create another DataBackup",
)


class BackupSpec(Model):
    """What is backed up, and where to."""

    dataset: DatasetReference = Field(description="The dataset that is backed up.")
    backup_storage_location_spec: BackupStorageLocation = Field(description="Where the backup is kept.")
    run_as: RunAs | None = Field(
        default=None, description="The user of the pods that write, verify and delete the backup."
    )
    backoff_limit: int = Field(default=2, description="How often a failed attempt is repeated.", ge=0, le=100)
    active_deadline_seconds: int = Field(
        default=3600,
        description="A backup that is not complete so long after its first Job was released has failed.",
        ge=1,
        le=31_536_000,
    )
    starting_deadline_seconds: int | None = Field(
        default=None,
        description="A backup that could not start so long after its creation has failed. Unset: it waits.",
        ge=1,
        le=31_536_000,
    )
    running_deadline_seconds: int = Field(
        default=600,
        description="A backup whose Job is released and has no running container for so long has failed.",
        ge=1,
        le=31_536_000,
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None, description="The object is deleted so long after its end. Unset: never.", ge=0, le=31_536_000
    )


class DataBackupSpec(BackupSpec):
    """What is backed up, and where to. A backup is one attempt at one moment: neither can change."""

    model_config = ConfigDict(json_schema_extra=rules(_IMMUTABLE))

    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN, description="Whether the files go with the object."
    )


class JobReference(Model):
    """The Job that does the work."""

    name: Text = Field(default="", description="Name of the Job.")
    uid: Text = Field(default="", description="Uid of the Job.")


class BackupMaster(Model):
    """The master whose metadata is backed up: one with another cluster id holds other metadata."""

    address: Text = Field(default="", description="host:port of the master that answered.")
    cluster_id: Text = Field(default="", description="Id of its journal.")
    start_time_ms: Count = Field(default=0, description="When it started, in milliseconds since the epoch.")


class BackupLocation(Model):
    """The directory that holds the backup; of one that is not complete, where something of it may be."""

    pvc_name: Text = Field(default="", description="Name of the claim.")
    path: Text = Field(default="", description="Directory in the claim, without a slash at either end.")


class BackupSource(Model):
    """What was backed up."""

    dataset_uid: Text = Field(default="", description="Uid of the Dataset.", alias="datasetUID")
    mounts_hash: Text = Field(default="", description="Hash of its mounts.")
    ufs_total: Text = Field(default="", description="Its size, as people read it.")
    file_num: Text = Field(default="", description="Its files.")
    run: Count = Field(default=0, description="Number of its run: another one may mount and load anew meanwhile.")


class WorkStatus(Model):
    """The Jobs of one kind: the attempt that is next or under way, and how those before it failed."""

    attempt: Count = Field(default=0, description="Number of the attempt, which is in the name of its Job.")
    start_time: Time = Field(default="", description="When this attempt began.")
    failures: Count = Field(default=0, description="Failed attempts that were charged.")
    last_failure_time: Time = Field(
        default="", description="When an attempt failed last; the back-off counts from here."
    )
    last_reason: Text = Field(default="", description="Reason of the last failed attempt.")
    last_error: Text = Field(default="", description="What the last failed attempt said.")


class BackupProgress(Model):
    """How far the Job that runs is; written every 30 seconds, more often at first."""

    message: Text = Field(default="", description="The progress in a few words.")
    update_time: Time = Field(default="", description="When this was true.")


class DataBackupStatus(Model):
    """How the backup went. Everything that decides the next step is here or in the Jobs."""

    phase: BackupPhase | None = Field(default=None, description="Pending, Executing, Complete or Failed.")
    conditions: Conditions = Field(default=(), description="Executing, Complete, Failed, Verified, and kstatus' two.")
    observed_generation: Count = Field(default=0, description="Generation that this status belongs to.")
    last_handled_verify: Text = Field(
        default="", description="Value of the last annotation data.fluid.io/verify-requested-at that was served."
    )
    start_time: Time = Field(default="", description="When the first Job was released.")
    completion_time: Time = Field(default="", description="When the backup ended, well or not.")
    duration: Text = Field(default="", description="How long it took, as people read it.")
    attempts: Count = Field(default=0, description="How many attempts there were.")
    failure_reason: Text = Field(
        default="", description="Why it failed, in one word. Before phase Failed: it will, once nothing of it is left."
    )
    message: Text = Field(default="", description="What happened, for a person.")
    job_ref: JobReference | None = Field(default=None, description="The Job that does the work.")
    progress: BackupProgress = Field(default=BackupProgress(), description="How far the Job that runs is.")
    take: WorkStatus = Field(default=WorkStatus(), description="The Jobs that take the backup.")
    verify: WorkStatus = Field(default=WorkStatus(), description="The Jobs that verify it on request.")
    cleanup: WorkStatus = Field(default=WorkStatus(), description="The Jobs that remove files.")
    master: BackupMaster | None = Field(default=None, description="The master whose metadata is backed up.")
    location: BackupLocation | None = Field(default=None, description="The directory that holds the backup.")
    entry_count: Count | None = Field(default=None, description="Journal entries in the backup.")
    size_bytes: Count | None = Field(default=None, description="Bytes of the backup.")
    checksum: Text = Field(default="", description="sha256:... of the backup.")
    manifest_sha256: Text = Field(
        default="", description="Checksum of the manifest, which binds it to this object.", alias="manifestSha256"
    )
    source: BackupSource | None = Field(default=None, description="What was backed up.")
    format_version: Count = Field(default=0, description="Version of the layout of the backup.")
    engine_version: Text = Field(default="", description="Version of Alluxio that wrote it.")


class PathError(ValueError):
    """A mountPath that names no directory of a claim; the text says what to do."""


def parse_claim_path(text: str) -> tuple[str, str]:
    """Return the claim and the directory in it of ``pvc://claim/directory``, without a slash at either end.

    Raises PathError, in words for who wrote it.
    """
    scheme, _, rest = text.partition("://")
    claim, _, directory = rest.partition("/")
    if scheme != "pvc" or not _CLAIM_NAME.fullmatch(claim):
        why = "the name of a claim has lower-case letters, digits, - and ."
        why = why if scheme == "pvc" else "only a PersistentVolumeClaim holds backups"
        raise PathError(f"{text!r} is not pvc://claim/directory: {why}")
    parts = [part for part in directory.split("/") if part]
    if any(part in (".", "..") for part in parts) or _CONTROL.search(directory):
        raise PathError(f"the directory of {text!r} must hold no part . or .. and no control characters")
    return claim, "/".join(parts)


def claim_path(location: BackupLocation) -> str:
    """Return ``pvc://claim/directory``."""
    return f"pvc://{location.pvc_name}/{location.path}"


def spec_problem(error: ValidationError) -> str:
    """Return up to three sentences for who wrote a spec that does not fit its model."""
    problems = error.errors(include_url=False)[:3]
    return "; ".join(f"spec.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problems)


def parse_status(obj: dict[str, Any]) -> DataBackupStatus:
    """Read the status of a DataBackup. Never raises: what another hand made unreadable reads as not there."""
    return DataBackupStatus.read(obj.get("status"), lenient=True)
