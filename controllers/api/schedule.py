"""The ScheduledDataBackup: backups by the clock. Only its shape; no controller serves it yet."""

import enum

from pydantic import Field

from controllers.api.databackup import BackupSpec
from controllers.api.dataset_status import Conditions
from controllers.api.model import Count, Model, Time

KIND = "ScheduledDataBackup"
PLURAL = "scheduleddatabackups"


class ConcurrencyPolicy(enum.StrEnum):
    """Whether a backup may start while the one before it runs."""

    FORBID = "Forbid"
    ALLOW = "Allow"


class BackupOwner(enum.StrEnum):
    """With whose deletion the backups go."""

    NONE = "none"
    SELF = "self"
    DATASET = "dataset"


class Retention(Model):
    """Which complete backups are kept. Failed ones never count."""

    keep_last: int | None = Field(default=None, description="Keep the newest so many.", ge=1, le=10_000)
    max_age: str = Field(
        default="", description="Delete what is older, for example 30d or 12h.", pattern=r"^([1-9][0-9]*[smhdw])?$"
    )


class BackupMetadata(Model):
    """Metadata of the backups that are made."""

    labels: dict[str, str] = Field(default={}, description="Labels of every backup.")
    annotations: dict[str, str] = Field(default={}, description="Annotations of every backup.")


class BackupTemplate(Model):
    """The backups that are made."""

    metadata: BackupMetadata = Field(default=BackupMetadata(), description="Labels and annotations of every backup.")
    spec: BackupSpec = Field(description="Spec of every backup.")


class ScheduledDataBackupSpec(Model):
    """When backups are made, of what, and which are kept."""

    schedule: str = Field(description="Five cron fields, for example 0 3 * * *.", min_length=9, max_length=255)
    time_zone: str = Field(default="", description="IANA time zone of the schedule. Empty: UTC.", max_length=64)
    suspend: bool = Field(default=False, description="Start nothing new.")
    immediate: bool = Field(default=False, description="Make one backup at once as well.")
    concurrency_policy: ConcurrencyPolicy = Field(
        default=ConcurrencyPolicy.FORBID, description="Whether backups of this schedule may overlap."
    )
    starting_deadline_seconds: int | None = Field(
        default=None, description="A slot that is missed by more is skipped.", ge=1, le=31_536_000
    )
    retention: Retention = Field(default=Retention(), description="Which complete backups are kept.")
    failed_backups_history_limit: int = Field(
        default=1, description="How many failed backups are kept to look at.", ge=0, le=1000
    )
    backup_owner_reference: BackupOwner = Field(
        default=BackupOwner.NONE, description="With whose deletion the backups go: none, self (the schedule), dataset."
    )
    template: BackupTemplate = Field(description="The backups that are made.")


class ScheduledDataBackupStatus(Model):
    """What the schedule has done."""

    conditions: Conditions = Field(default=(), description="The state in detail.")
    observed_generation: Count = Field(default=0, description="Generation that this status belongs to.")
    last_check_time: Time = Field(default="", description="When the schedule was last looked at.")
    last_schedule_time: Time = Field(default="", description="The last slot for which a backup was made.")
    next_schedule_time: Time = Field(default="", description="The next slot.")
    last_successful_time: Time = Field(default="", description="When a backup was last complete.")
    active: tuple[str, ...] = Field(default=(), description="Backups that run.", max_length=100)
    last_backup_name: str = Field(default="", description="The newest backup.")
