"""The contract between a Job's container and the controller, version 1.

It is frozen: release N+1 must read what a container that release N started will say. So fields are only ever added, a
reader ignores fields that it does not know, and an exit code keeps its meaning for ever.

A container speaks in three ways:

* its exit code (``Exit``), which alone decides whether a new attempt makes sense;
* one JSON object, the ``Result``, in the termination message (Kubernetes keeps 4,096 bytes of it; we use 3,500);
* JSON lines, ``Progress``, on stdout every few seconds, of which only the last matters.
"""

import enum
import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Self, get_type_hints

VERSION = 1
MAX_RESULT_BYTES = 3500


class Exit(enum.IntEnum):
    """What the container's exit code means. 10 to 19 are permanent: the same input would fail again."""

    COMPLETE = 0
    INTERNAL = 1  # a bug in the container; retried
    USAGE = 2  # the argv was refused: controller and image do not fit together
    PATH_NOT_FOUND = 10
    NOT_A_DIRECTORY = 11
    PERMISSION_DENIED = 12
    UNSUPPORTED_MASTER = 13  # another major version, or a protocol that is not Alluxio's
    MOUNT_MISSING = 14
    NOT_GRPC = 15  # something answers on this port, but not gRPC (a web port, say)
    INVALID_PATH = 16
    BACKUP_REFUSED = 17  # a backup that must not be restored, or an existing Alluxio that cannot be backed up
    MOUNT_REFUSED = 18  # the master, or the storage behind it, refuses a mount
    UNREACHABLE = 20  # no attempt is charged for it
    INCOMPLETE = 21
    NO_PROGRESS = 22
    TERMINATED = 23
    MASTER_CHANGED = 24  # restarted, failed over or formatted in mid-step
    SUSPICIOUS_REFRESH = 25  # the storage shows so much less than before that a person must say it is meant so
    NO_SPACE = 26  # the volume is full
    READ_ONLY_VOLUME = 27
    VOLUME_FAILED = 28  # any other error of a volume
    BACKUP_FAILED = 29  # the master could not write its backup, or what it wrote is damaged
    BACKUP_IN_PROGRESS = 30  # somebody else's backup is under way at this master; no attempt is charged for it
    RESTORE_MISMATCH = 31  # the restored master does not hold what the manifest promises

    @property
    def permanent(self) -> bool:
        """Whether the same input would fail in the same way, so that only a change of it helps."""
        return self is Exit.USAGE or 10 <= self < 20


def describe(code: int) -> tuple[str, bool]:
    """Return the CamelCase reason and whether it is permanent, for any exit code a container can have.

    A code that is not ours (137 for SIGKILL, 255 of Alluxio's shell) is retryable.
    """
    try:
        known = Exit(code)
    except ValueError:
        return (f"Signal{code - 128}" if 128 < code < 160 else f"ExitCode{code}"), False
    return "".join(word.capitalize() for word in known.name.split("_")), known.permanent


@dataclass(frozen=True)
class Totals:
    """Counts of one namespace. ``directories`` leaves out the dataset's own root, as ``find -mindepth 1`` does."""

    files: int = 0
    directories: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Master:
    """Which master answered. ``cluster_id`` survives a restart and changes with a format of the journal."""

    address: str = ""
    version: str = ""
    cluster_id: str = ""
    start_time_ms: int = 0


@dataclass(frozen=True)
class Changes:
    """What a refresh found: entries, that is files and directories together, as the master counted its own work."""

    added: int = 0
    removed: int = 0
    changed: int = 0


@dataclass(frozen=True)
class BackupFacts:
    """What the manifest of a backup says. Sizes in bytes; ``checksum`` and ``manifest_sha256`` as ``sha256:...``.

    ``files``, ``directories`` and ``bytes`` are what a count of the dataset must give once it is restored.
    """

    directory: str = ""  # in the claim
    entries: int = 0  # journal entries in the file
    size_bytes: int = 0  # of the file as it is stored
    checksum: str = ""
    manifest_sha256: str = ""
    files: int = 0
    directories: int = 0
    bytes: int = 0
    engine_version: str = ""
    format_version: int = 0
    mounts_hash: str = ""
    created_at: str = ""  # RFC 3339


@dataclass(frozen=True)
class Result:
    """What a container found. ``evidence`` is opaque to the controller, which hands the load's to the size Job."""

    step: str  # "load", "size", or one of controllers.api.job_commands
    reason: str  # CamelCase
    message: str = ""  # one sentence for a person, with what to do
    totals: Totals | None = None
    master: Master | None = None
    method: str = ""  # how it was loaded: "SyncMetadata", "ListStatus", "AlluxioCLI"
    proved: bool = False  # size: completeness was proved, not only assumed
    failed_directories: tuple[str, ...] = ()
    failed_count: int = 0  # how many, also where the list above was cut
    loaded_by_size: int = 0  # files which the load had missed and the count loaded itself
    seconds: float = 0.0
    evidence: str = ""  # at most 1,000 bytes
    changes: Changes | None = None  # load --refresh: where they are known one by one
    backup: BackupFacts | None = None  # what was backed up, verified or staged

    def to_json(self) -> str:
        """Return one line of at most ``MAX_RESULT_BYTES`` bytes: lists are cut first, then the message."""
        shown = self
        while len((text := _dump(shown)).encode()) > MAX_RESULT_BYTES:
            if shown.failed_directories:
                shown = replace(shown, failed_directories=shown.failed_directories[:-1])
            elif shown.message:
                shown = replace(shown, message=shown.message[: len(shown.message) // 2])
            else:
                raise ValueError("a result does not fit into a termination message even without its lists")
        return text

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a result of this or any later release; raise ValueError where it is not one, whoever wrote it."""
        data = _load(text)
        totals, master, changes, backup = (data.pop(name, None) for name in ("totals", "master", "changes", "backup"))
        return cls(
            **_read(cls, data),
            totals=Totals(**_read(Totals, totals)) if totals is not None else None,
            master=Master(**_read(Master, master)) if master is not None else None,
            changes=Changes(**_read(Changes, changes)) if changes is not None else None,
            backup=BackupFacts(**_read(BackupFacts, backup)) if backup is not None else None,
        )


@dataclass(frozen=True)
class Progress:
    """How far a container is; counted since its start. ``total`` is an estimate, 0 where none is known."""

    step: str
    files: int = 0
    directories: int = 0
    bytes: int = 0
    total: int = 0
    files_per_second: float = 0.0
    message: str = ""
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return one line, without its line feed."""
        return _dump(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a progress line; raise ValueError where it is not one."""
        return cls(**_read(cls, _load(text)))


def _dump(value: Result | Progress) -> str:
    return json.dumps({"v": VERSION, "kind": type(value).__name__, **asdict(value)}, separators=(",", ":"))


def _load(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)  # json.JSONDecodeError is a ValueError
        json.dumps(data, ensure_ascii=False).encode()  # UnicodeEncodeError is one, too: half a character is no text
    except RecursionError:
        raise ValueError("nested too deep for one of ours") from None
    if not isinstance(data, dict) or "v" not in data:
        raise ValueError("not a JSON object with a version")
    return data


def _read(kind: type, data: object) -> dict[str, Any]:
    """Return the fields of ``data`` that ``kind`` has, each of the right type; a number is never below 0.

    What a container writes may be forged by whoever can run a pod with its labels, so nothing is taken on trust.
    """
    if not isinstance(data, dict):
        raise ValueError(f"not the fields of a {kind.__name__}")
    types = get_type_hints(kind)
    made = {field.name: data[field.name] for field in fields(kind) if field.name in data}
    for name, value in made.items():
        if types[name] == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
            made[name] = tuple(value)
        elif not _fits(value, types[name]):
            raise ValueError(f"{name} of a {kind.__name__} cannot be {str(value)[:80]!r}")
    if missing := {field.name for field in fields(kind) if field.default is MISSING} - set(made):
        raise ValueError(f"a {kind.__name__} lacks {', '.join(sorted(missing))}")
    return made


def _fits(value: object, wanted: object) -> bool:
    if wanted in (int, float):
        number = isinstance(value, int if wanted is int else (int, float)) and not isinstance(value, bool)
        return number and 0 <= value < 2**63  # type: ignore[operator]
    return wanted in (str, bool) and isinstance(value, wanted)
