"""The status of a Dataset: what the controller found and did. Import it from `controllers.api.dataset`."""

import enum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from controllers.api.conditions import FALSE, TRUE, UNKNOWN, Condition
from controllers.api.model import INT64_MAX, TEXT_LENGTH, Count, Difference, Model, Text, Time
from controllers.api.times import epoch


class Phase(enum.StrEnum):
    """A summary for people; the conditions carry the truth."""

    PENDING = "Pending"
    LOADING_METADATA = "LoadingMetadata"
    SIZING = "Sizing"
    READY = "Ready"
    FAILED = "Failed"


class RunStatus(Model):
    """One pass from changed inputs to Ready. The number only grows."""

    number: Count = Field(default=0, description="Number of the run; 0 before the first.")
    inputs: Text = Field(default="", description="Hash of what decides the content: masters, path, mounts.")
    start_time: Time = Field(default="", description="When the run began.")
    reason: Text = Field(default="", description="Why it began, for example InputsChanged.")
    plan: tuple[Text, ...] = Field(
        default=(), description="Its steps in order: of stage, mount, load, size. Empty: load, size.", max_length=8
    )


class StepStatus(Model):
    """What the load and the size step have in common; counts are those of the last result."""

    attempt: Count = Field(default=0, description="Number of the attempt in this run.")
    failures: Count = Field(default=0, description="Failed attempts in a row.")
    job_name: Text = Field(default="", description="Name of the Job of the attempt.")
    start_time: Time = Field(default="", description="When the step began.")
    completion_time: Time = Field(default="", description="When the step succeeded.")
    last_failure_time: Time = Field(
        default="", description="When an attempt failed last; the back-off counts from here."
    )
    files: Count = Field(default=0, description="Files found.")
    directories: Count = Field(default=0, description="Directories found, without the root of the dataset.")
    bytes: Count = Field(default=0, description="Bytes in these files.")
    last_error: Text = Field(default="", description="What the last failed attempt said.")
    last_reason: Text = Field(default="", description="Reason of the last failed attempt.")
    given_up: bool = Field(default=False, description="Whether no attempt follows by itself for an hour.")


class LoadStatus(StepStatus):
    """The step that makes the master know the namespace."""

    loader: Text = Field(default="", description="Which loader ran.")
    failed_directories: Annotated[tuple[Text, ...], AfterValidator(lambda names: names[:5])] = Field(
        default=(), description="Some of the directories that could not be loaded, at most five."
    )
    failed_count: Count = Field(default=0, description="How many directories could not be loaded.")
    evidence: Annotated[str, AfterValidator(lambda text: text if len(text) <= 1000 else "")] = Field(
        default="", description="What the load hands to the count; opaque."
    )


class SizeStatus(StepStatus):
    """The step that counts and proves."""

    loaded_by_size: Count = Field(default=0, description="Files that the load had missed and the count loaded itself.")
    proved: bool = Field(default=False, description="Whether completeness was proved, not only assumed.")


class MasterStatus(Model):
    """The Alluxio master that answered the last step."""

    address: Text = Field(default="", description="host:port.")
    version: Text = Field(default="", description="Version of Alluxio.")
    cluster_id: Text = Field(default="", description="Survives a restart, changes when the journal is formatted.")
    start_time_ms: Count = Field(default=0, description="Start of the master, milliseconds since 1970.")
    checking: Count = Field(
        default=0, description="Start of a master that is asked whether it still has the metadata; 0: none is."
    )


class CountStatus(Model):
    """One complete count."""

    files: Count = Field(default=0, description="Files.")
    directories: Count = Field(default=0, description="Directories, without the root of the dataset.")
    bytes: Count = Field(default=0, description="Bytes in these files.")
    completion_time: Time = Field(default="", description="When it was counted.")


class RefreshStatus(Model):
    """The last refresh, and what its schedule counts from."""

    trigger: Text = Field(default="", description="Requested (by the annotation) or Schedule.")
    start_time: Time = Field(default="", description="When it began.")
    completion_time: Time = Field(default="", description="When it succeeded.")
    before: CountStatus = Field(default=CountStatus(), description="The last complete count before it.")
    added: Count | None = Field(default=None, description="Entries added, as the master counted them.")
    removed: Count | None = Field(default=None, description="Entries removed, as the master counted them.")
    changed: Count | None = Field(default=None, description="Entries changed, as the master counted them.")
    files_delta: Difference = Field(default=0, description="Files now, less the files before.")
    directories_delta: Difference = Field(default=0, description="Directories now, less the directories before.")
    bytes_delta: Difference = Field(default=0, description="Bytes now, less the bytes before.")
    suspicious: Text = Field(
        default="", description="Why it may be the storage's fault that so much is gone; empty: nothing is suspicious."
    )
    schedule: Text = Field(default="", description="The schedule and its time zone, as they were seen last.")
    schedule_since: Time = Field(default="", description="When it was seen first; slots count from here.")
    last_schedule_time: Time = Field(default="", description="The slot of the schedule that was served last.")


class ProgressStatus(Model):
    """How far the running step is; written every 30 seconds, more often at first."""

    step: Text = Field(default="", description="stage, load or size.")
    files: Count = Field(default=0, description="Files so far.")
    directories: Count = Field(default=0, description="Directories so far.")
    bytes: Count = Field(default=0, description="Bytes so far.")
    total: Count = Field(default=0, description="Estimate of all files; 0 where there is none.")
    files_per_second: Count = Field(default=0, description="Rate of late.")
    message: Text = Field(default="", description="The progress in a few words.")
    update_time: Time = Field(default="", description="When these numbers were true.")


class CacheStatus(Model):
    """State of the cache, as the master reports it."""

    capacity_bytes: Count = Field(default=0, description="Capacity of all workers.")
    used_bytes: Count = Field(default=0, description="Bytes that the workers hold, of all datasets of this Alluxio.")
    cached_percentage: Text = Field(default="", description="Used bytes in percent of the dataset's bytes.")
    hit_ratios: dict[str, str] = Field(
        default={}, description="Cache hits in percent of the reads: total, local, remote."
    )
    workers: Count = Field(default=0, description="Live workers.")
    lost_workers: Count = Field(default=0, description="Lost workers.")
    update_time: Time = Field(default="", description="When these numbers were read.")


class VolumeStatus(Model):
    """The published volume."""

    persistent_volume: Text = Field(default="", description="Name of the PersistentVolume.")
    persistent_volume_claim: Text = Field(default="", description="Name of the PersistentVolumeClaim.")


class RestorePhase(enum.StrEnum):
    """How far a restore is."""

    STAGING = "Staging"  # no master runs; a Job verifies the backup and lays it beside the journal
    STARTING = "Starting"  # the master reads it
    VERIFYING = "Verifying"  # the master serves; what it holds is counted
    RESTORED = "Restored"
    FAILED = "Failed"
    ABANDONED = "Abandoned"  # onFailure: LoadFromUFS; what was staged is removed, and everything is loaded


class RestoreStatus(Model):
    """How the restore from a backup went."""

    phase: RestorePhase | None = Field(
        default=None, description="Staging, Starting, Verifying, Restored, Failed or Abandoned."
    )
    source: Text = Field(default="", description="The backup that was used: pvc://claim/directory.")
    entry_count: Count = Field(default=0, description="Journal entries that the manifest promises.")
    files: Count = Field(default=0, description="Files that the manifest promises.")
    directories: Count = Field(default=0, description="Directories that the manifest promises.")
    bytes: Count = Field(default=0, description="Bytes that the manifest promises.")
    checksum: Text = Field(default="", description="Checksum of the backup.")
    manifest_sha256: Text = Field(default="", description="Checksum of its manifest.", alias="manifestSha256")
    engine_version: Text = Field(default="", description="Version of Alluxio that wrote it.")
    created_at: Time = Field(default="", description="When it was written.")
    start_time: Time = Field(default="", description="When the restore began.")
    completion_time: Time = Field(default="", description="When it was proved.")
    reason: Text = Field(default="", description="Why it failed.")
    message: Text = Field(default="", description="What happened, for a person.")


def _conditions(value: Any) -> tuple[Condition, ...]:
    given = (_condition(item) for item in (value if isinstance(value, list | tuple) else ()))
    return tuple(condition for condition in given if condition.type and condition.status in (TRUE, FALSE, UNKNOWN))


def _condition(value: Any) -> Condition:
    """Read one condition; what is not readable in it is left out, without its type it is nothing."""
    if isinstance(value, Condition):
        return value
    given: dict[str, Any] = value if isinstance(value, dict) else {}
    texts = {name: item[:TEXT_LENGTH] for name, item in given.items() if isinstance(item, str)}
    if epoch(texts.get("lastTransitionTime")) is None:
        texts.pop("lastTransitionTime", None)
    generation = given.get("observedGeneration")
    readable = type(generation) is int and 0 <= generation <= INT64_MAX
    return Condition.from_dict({**texts, "observedGeneration": generation if readable else 0})


def _written(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    """Return the JSON form; a time that is not known yet is left out, as the API server takes no empty one."""
    return [
        {name: value for name, value in condition.to_dict().items() if name != "lastTransitionTime" or value}
        for condition in conditions
    ]


def condition_schema() -> dict[str, Any]:
    """Return the schema of conditions: a map by type."""
    text = {"type": "string"}
    return {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the state, in the form of metav1.Condition.",
            "required": ["type", "status"],
            "properties": {
                "type": {**text, "description": "Name of the condition.", "maxLength": TEXT_LENGTH},
                "status": {**text, "description": "Whether it holds.", "enum": ["True", "False", "Unknown"]},
                "reason": {**text, "description": "Why, in one CamelCase word.", "maxLength": 1024},
                "message": {**text, "description": "Why, for a person.", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "description": "Of which spec."},
                "lastTransitionTime": {**text, "format": "date-time", "description": "Since when."},
                "lastUpdateTime": {**text, "format": "date-time", "description": "Written by Fluid only."},
                "lastProbeTime": {**text, "format": "date-time", "description": "Written by Fluid only."},
            },
        },
    }


#: metav1.Condition, a map by type; what another hand left unreadable is skipped.
Conditions = Annotated[
    tuple[Condition, ...],
    BeforeValidator(_conditions),
    PlainSerializer(_written),
    WithJsonSchema(condition_schema()),
]


class DatasetStatus(Model):
    """What the controller found and did. Everything that decides the next step is here or in the children."""

    phase: Phase | None = Field(default=None, description="Summary: Pending, LoadingMetadata, Sizing, Ready or Failed.")
    conditions: Conditions = Field(default=(), description="The state in detail.")
    observed_generation: Count = Field(default=0, description="Generation of the spec that this status belongs to.")
    last_handled_refresh: str = Field(default="", description="Value of the last refresh annotation that was served.")
    last_handled_retry: str = Field(default="", description="Value of the last retry annotation that was served.")
    run: RunStatus = Field(default=RunStatus(), description="The current run.")
    stage: StepStatus = Field(default=StepStatus(), description="The step that lays a backup beside the journal.")
    mount: StepStatus = Field(default=StepStatus(), description="The step that mounts the storages.")
    load: LoadStatus = Field(default=LoadStatus(), description="The load step of the run.")
    size: SizeStatus = Field(default=SizeStatus(), description="The count step of the run.")
    master: MasterStatus = Field(default=MasterStatus(), description="The master that answered the last step.")
    progress: ProgressStatus = Field(default=ProgressStatus(), description="The running step.")
    refresh: RefreshStatus = Field(default=RefreshStatus(), description="The last refresh.")
    file_count: Count | None = Field(default=None, description="Files in the dataset, counted and complete.")
    ufs_total_bytes: Count | None = Field(default=None, description="Bytes in the dataset, counted and complete.")
    ufs_total: Text = Field(default="", description="ufsTotalBytes for people, for example 443.89MiB.")
    file_num: Text = Field(default="", description="fileCount as text, as Fluid has it.")
    cache: CacheStatus = Field(default=CacheStatus(), description="State of the cache.")
    cache_states: dict[str, str] = Field(default={}, description="State of the cache for people, as Fluid has it.")
    volume: VolumeStatus = Field(default=VolumeStatus(), description="The published volume.")
    restore: RestoreStatus = Field(default=RestoreStatus(), description="The restore from a backup.")
