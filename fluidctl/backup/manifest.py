"""manifest.json, which makes a directory a backup: written last, read as something that anybody may have written."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from controllers.api.job_commands import METADATA
from controllers.api.result import BackupFacts
from fluidctl.backup.errors import refused

FORMAT_VERSION = 1
ENGINE = "alluxio"
MAX_BYTES = 65_536
_VERSION = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})(?:[^0-9\s][!-~]{0,100})?")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[!-~]{1,253}")
_DATASET = {
    "namespace": _NAME,
    "name": _NAME,
    "uid": _NAME,
    "mountsHash": re.compile(r"[0-9a-f]{1,64}"),
    "path": re.compile(r"/.{0,4095}", re.DOTALL),
}
_BACKUP = {"namespace": _NAME, "name": _NAME, "uid": _NAME}
_COUNTS = ("entryCount", "files", "directories", "bytes")
_FIELDS = {"formatVersion", "engine", "engineVersion", "dataset", "backup", "createdAt", "file", *_COUNTS}


@dataclass(frozen=True)
class Content:
    """What is in a backup's file: bytes as stored and their sha256 (hexadecimal), journal entries, and all inodes among
    them; ``directories`` without the dataset's own and those above it.

    ``outside``: paths beside the dataset and the directories above it, the first few. Where there are none, the inodes
    are those of the dataset. A manifest does not say it.
    """

    size: int
    sha256: str
    entries: int
    files: int
    directories: int
    bytes: int
    outside: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Manifest:
    """What the manifest of a backup says. ``dataset`` and ``backup`` as in job_commands.TakeBackup."""

    engine_version: str
    dataset: dict[str, str]
    backup: dict[str, str]
    created_at: str
    content: Content

    def to_bytes(self) -> bytes:
        """Return the file; ``parse`` reads from it what is in here."""
        content = self.content
        return json.dumps(
            {
                "formatVersion": FORMAT_VERSION,
                "engine": ENGINE,
                "engineVersion": self.engine_version,
                "dataset": self.dataset,
                "backup": self.backup,
                "createdAt": self.created_at,
                "entryCount": content.entries,
                "files": content.files,
                "directories": content.directories,
                "bytes": content.bytes,
                "file": {"name": METADATA, "size": content.size, "sha256": content.sha256},
            },
            indent=2,
        ).encode()

    def facts(self, directory: str) -> BackupFacts:
        """Return what a result says of the backup in that directory."""
        content = self.content
        return BackupFacts(
            directory=directory,
            entries=content.entries,
            size_bytes=content.size,
            checksum=f"sha256:{content.sha256}",
            manifest_sha256=checksum(self.to_bytes()),
            files=content.files,
            directories=content.directories,
            bytes=content.bytes,
            engine_version=self.engine_version,
            format_version=FORMAT_VERSION,
            mounts_hash=self.dataset["mountsHash"],
            created_at=self.created_at,
        )


def parse(data: bytes) -> Manifest:
    """Read a manifest; only what ``to_bytes`` writes is one, byte for byte.

    Raises:
        BackupError: UnknownFormat: of a later (or no) format. BackupForeign: not of Alluxio, or not readable.
    """
    try:
        raw = json.loads(data, object_pairs_hook=_object, parse_constant=_fail)
        if not isinstance(raw, dict):
            raise ValueError("it is no JSON object")
        _check_origin(raw)
        manifest = _read(raw)
        if manifest.to_bytes() != data:
            raise ValueError("it is written in another way than fluidctl writes it")
    except (ValueError, RecursionError) as error:  # of UnicodeDecodeError, JSONDecodeError
        raise refused("BackupForeign", f"Its manifest cannot be read: {error}. It was damaged or edited.") from error
    return manifest


def checksum(data: bytes) -> str:
    """Return sha256:..."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def version(text: str) -> tuple[int, int]:
    """Return major and minor of a version such as 2.9.6; as numbers, for 2.10 is newer than 2.9. Raise ValueError."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:50]!r} is no version")
    return int(found[1]), int(found[2])


def _check_origin(raw: dict[str, Any]) -> None:
    """Refuse what was not made for us before its fields are looked at: they may be others."""
    if raw.get("engine") != ENGINE:
        raise refused("BackupForeign", f"It is not a backup of Alluxio, but of {str(raw.get('engine'))[:50]!r}.")
    if type(raw.get("formatVersion")) is not int or raw["formatVersion"] != FORMAT_VERSION:
        raise refused(
            "UnknownFormat",
            f"Its layout is of version {str(raw.get('formatVersion'))[:50]}, this release reads {FORMAT_VERSION}: "
            "use the release that wrote it, or a newer one.",
        )


def _read(raw: dict[str, Any]) -> Manifest:
    raw = _exactly(raw, _FIELDS)
    dataset, backup = _exactly(raw["dataset"], _DATASET), _exactly(raw["backup"], _BACKUP)
    file = _exactly(raw["file"], ("name", "size", "sha256"))
    if file["name"] != METADATA:
        raise ValueError(f"its file is not {METADATA}")
    entries, files, directories, size = (_count(raw, name) for name in _COUNTS)
    sha256 = _text(file, "sha256", _SHA256)
    return Manifest(
        engine_version=_text(raw, "engineVersion", _VERSION),
        dataset={name: _text(dataset, name, _DATASET[name]) for name in dataset},
        backup={name: _text(backup, name, _BACKUP[name]) for name in backup},
        created_at=_text(raw, "createdAt", _TIME),
        content=Content(_count(file, "size"), sha256, entries, files, directories, size),
    )


def _exactly(raw: object, names: Iterable[str]) -> dict[str, Any]:
    if not isinstance(raw, dict) or set(raw) != set(names):
        raise ValueError(f"something has not exactly the fields {', '.join(sorted(names))}")
    return raw


def _text(raw: dict[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = raw[name]
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{name} cannot be {str(value)[:50]!r}")
    return value


def _count(raw: dict[str, Any], name: str) -> int:
    value = raw[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} cannot be {str(value)[:50]!r}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a field is there twice")
    return dict(pairs)


def _fail(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
