"""The DataBackup: one backup of a dataset's metadata. Only its shape; no controller serves it yet."""

import enum

from pydantic import ConfigDict, Field

from controllers.api.dataset_status import Conditions
from controllers.api.model import Count, Model, Text, Time, rules

KIND = "DataBackup"
PLURAL = "databackups"


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
        max_length=1024,
        pattern=r"^pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/.*)?$",
        json_schema_extra=rules(("!self.split('/').exists(part, part == '..')", "must hold no part ..")),
    )


class RunAs(Model):
    """The user of the pod that writes the backup."""

    uid: Count = Field(description="Numeric id of the user.")
    gid: Count = Field(description="Numeric id of the group.")


class DataBackupSpec(Model):
    """What is backed up, and where to. A backup is one attempt at one moment: neither can change."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.dataset == oldSelf.dataset"
                " && self.backupStorageLocationSpec == oldSelf.backupStorageLocationSpec",
                "dataset and backupStorageLocationSpec cannot change: create another DataBackup",
            )
        )
    )

    dataset: DatasetReference = Field(description="The dataset that is backed up.")
    backup_storage_location_spec: BackupStorageLocation = Field(description="Where the backup is kept.")
    run_as: RunAs | None = Field(default=None, description="The user of the pod that writes the backup.")
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN, description="Whether the files go with the object."
    )
    backoff_limit: int = Field(default=2, description="How often a failed attempt is repeated.", ge=0, le=100)
    active_deadline_seconds: int = Field(
        default=3600, description="A backup that takes longer has failed.", ge=1, le=31_536_000
    )
    starting_deadline_seconds: int | None = Field(
        default=None, description="A backup that could not start by then has failed.", ge=1, le=31_536_000
    )
    running_deadline_seconds: int = Field(
        default=600, description="A Job whose pod does not run by then has failed.", ge=1, le=31_536_000
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None, description="The object is deleted so long after its end. Unset: never.", ge=0, le=31_536_000
    )


class JobReference(Model):
    """The Job that does the work."""

    name: str = Field(default="", description="Name of the Job.")
    uid: str = Field(default="", description="Uid of the Job.")


class BackupMaster(Model):
    """The master that was asked; a restart shows here."""

    pod_name: str = Field(default="", description="Name of its pod.")
    pod_uid: str = Field(default="", description="Uid of its pod.", alias="podUID")
    restart_count: Count = Field(default=0, description="How often its container had started again.")


class BackupLocation(Model):
    """The directory that holds the backup."""

    pvc_name: str = Field(default="", description="Name of the claim.")
    path: str = Field(default="", description="Directory in the claim.")


class BackupSource(Model):
    """What was backed up."""

    dataset_uid: str = Field(default="", description="Uid of the Dataset.", alias="datasetUID")
    mounts_hash: str = Field(default="", description="Hash of its inputs.")
    ufs_total: str = Field(default="", description="Its size, as people read it.")
    file_num: str = Field(default="", description="Its files.")


class DataBackupStatus(Model):
    """How the backup went."""

    phase: BackupPhase | None = Field(default=None, description="Pending, Executing, Complete or Failed.")
    conditions: Conditions = Field(default=(), description="Executing, Complete, Failed, Verified.")
    observed_generation: Count = Field(default=0, description="Generation that this status belongs to.")
    start_time: Time = Field(default="", description="When the backup began.")
    completion_time: Time = Field(default="", description="When it ended, well or not.")
    duration: str = Field(default="", description="How long it took, as people read it.")
    attempts: Count = Field(default=0, description="How many attempts there were.")
    failure_reason: str = Field(default="", description="Why it failed, in one word.")
    message: Text = Field(default="", description="What happened, for a person.")
    job_ref: JobReference | None = Field(default=None, description="The Job that does the work.")
    master: BackupMaster | None = Field(default=None, description="The master that was asked.")
    location: BackupLocation | None = Field(default=None, description="The directory that holds the backup.")
    entry_count: Count | None = Field(default=None, description="Journal entries in the backup.")
    size_bytes: Count | None = Field(default=None, description="Bytes of the backup.")
    checksum: str = Field(default="", description="sha256:... of the backup.")
    manifest_sha256: str = Field(
        default="", description="Checksum of the manifest, which binds it to this object.", alias="manifestSha256"
    )
    source: BackupSource | None = Field(default=None, description="What was backed up.")
    format_version: Count = Field(default=0, description="Version of the layout of the backup.")
    engine_version: str = Field(default="", description="Version of Alluxio that wrote it.")
