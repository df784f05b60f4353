"""The ScheduledDataBackup: backups by the clock."""

import enum
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from controllers.api.databackup import BackupSpec, DeletionPolicy
from controllers.api.dataset_status import Conditions
from controllers.api.model import Count, Model, Text, Time

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
    """Which complete backups are kept. Failed ones, and those found corrupt, never count."""

    keep_last: int | None = Field(default=None, description="Keep the newest so many.", ge=1, le=10_000)
    max_age: str = Field(
        default="",
        description="Delete what is older, for example 30d or 12h, but never the newest.",
        pattern=r"^([1-9][0-9]{0,8}[smhdw])?$",
        max_length=10,
    )

    @property
    def max_age_seconds(self) -> float | None:
        """Return maxAge in seconds, or None where nothing is too old."""
        unit = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
        return float(self.max_age[:-1]) * unit[self.max_age[-1]] if self.max_age else None


class BackupMetadata(Model):
    """Metadata of the backups that are made."""

    labels: dict[str, str] = Field(default={}, description="Labels of every backup.")
    annotations: dict[str, str] = Field(default={}, description="Annotations of every backup.")


class BackupTemplateSpec(BackupSpec):
    """Spec of the backups that are made."""

    deletion_policy: DeletionPolicy | None = Field(
        default=None,
        description="Whether the files go with the objects. Unset: Delete where retention is set, else Retain.",
    )


class BackupTemplate(Model):
    """The backups that are made."""

    metadata: BackupMetadata = Field(default=BackupMetadata(), description="Labels and annotations of every backup.")
    spec: BackupTemplateSpec = Field(description="Spec of every backup.")


class ScheduledDataBackupSpec(Model):
    """When backups are made, of what, and which are kept."""

    schedule: str = Field(description="Five cron fields, for example 0 3 * * *.", min_length=9, max_length=255)
    time_zone: str = Field(default="", description="IANA time zone of the schedule. Empty: UTC.", max_length=64)
    suspend: bool = Field(
        default=False, description="Start nothing new. Of the slots that come meanwhile, the last one is made up for."
    )
    immediate: bool = Field(default=False, description="Make one backup at the creation of the schedule as well.")
    concurrency_policy: ConcurrencyPolicy = Field(
        default=ConcurrencyPolicy.FORBID,
        description="Forbid: a slot that comes while a backup of this schedule is not over is skipped. "
        "Allow: it gets a backup, which waits for its turn.",
    )
    starting_deadline_seconds: int | None = Field(
        default=None,
        description="A slot that is missed by more, because no controller ran, is skipped. Unset: the last one is "
        "made up for, however late.",
        ge=1,
        le=31_536_000,
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
    schedule: Text = Field(default="", description="Schedule and time zone that slots are counted by.")
    schedule_since: Time = Field(default="", description="From when on its slots count.")
    last_slot_time: Time = Field(default="", description="The last slot that got a backup or was skipped.")
    last_schedule_time: Time = Field(default="", description="The last slot that got a backup.")
    next_schedule_time: Time = Field(default="", description="The next slot.")
    last_successful_time: Time = Field(default="", description="When a backup was last complete.")
    active: Annotated[tuple[Text, ...], AfterValidator(lambda names: names[:100])] = Field(
        default=(), description="Backups that are not over."
    )
    last_backup_name: Text = Field(default="", description="The newest backup.")


def parse_status(obj: dict[str, Any]) -> ScheduledDataBackupStatus:
    """Read the status of a schedule. Never raises: what another hand made unreadable reads as not there."""
    return ScheduledDataBackupStatus.read(obj.get("status"), lenient=True)
