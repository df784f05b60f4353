"""The argv of the Jobs around backups, and of the agent: built by the controller, read by ``fluidctl``.

Like ``command`` it is frozen (version 1): an option may be added with a default, none may change its meaning. Where
things are mounted is part of it. Paths below a claim are relative, have no part "..", and no slash at either end.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from controllers.api.command import RESULT_PATH

#: Where the claim of a backup is mounted.
CLAIM_PATH = "/var/lib/fluidctl/backup"
#: Where the claim of the master's journal is mounted, in the master and in the Job that stages a restore.
JOURNAL_CLAIM_PATH = "/var/lib/fluidctl/journal"
#: The journal itself, and what a master restores from: both below JOURNAL_CLAIM_PATH.
JOURNAL_DIRECTORY, RESTORE_DIRECTORY, RESTORE_FILE = "log", "restore", "restore/metadata.gz"
#: Where the master writes its backups, and the agent beside it reads them.
STAGING_PATH = "/var/lib/fluidctl/staging"
#: How the master names them: nothing else is read, or served.
BACKUP_FILE = re.compile(r"alluxio-backup-[0-9A-Za-z-]{1,100}\.gz")
#: The file that holds the agent's token, in the agent and in the Job that takes a backup.
TOKEN_PATH = "/etc/fluidctl/agent/token"  # noqa: S105 a path
#: Secrets of mount options: <SECRETS_PATH>/<secret>/<key>.
SECRETS_PATH = "/etc/fluidctl/secrets"
#: What is in the directory of a backup.
MANIFEST, METADATA = "manifest.json", "metadata.gz"

TAKE, VERIFY, REMOVE, STAGE, MOUNT = "take-backup", "verify-backup", "delete-backup", "stage-restore", "mount"


@dataclass(frozen=True)
class TakeBackup:
    """``fluidctl take-backup``: ask the master for a backup, bring it into the claim, verify it, give it its name.

    The file comes from the agent, or where ``agent`` is empty from a directory that the master and the Job share:
    the root of the claim, which the master has at ``shared_directory``.
    """

    masters: tuple[str, ...]
    directory: str  # in the claim, at the end; before that it is ".<last part>.partial" beside it
    dataset: dict[str, str]  # namespace, name, uid, mountsHash, path (in Alluxio), for the manifest
    backup: dict[str, str]  # namespace, name, uid
    agent: str = ""  # http://host:port
    shared_directory: str = ""
    no_progress_seconds: int = 900
    result_path: str = RESULT_PATH

    def argv(self) -> list[str]:
        """Return the arguments after ``fluidctl``."""
        source = [f"--agent={self.agent}"] if self.agent else [f"--shared-directory={self.shared_directory}"]
        return [
            TAKE,
            *(f"--master={master}" for master in self.masters),
            *source,
            f"--directory={self.directory}",
            f"--dataset={_json(self.dataset)}",
            f"--backup={_json(self.backup)}",
            f"--no-progress-seconds={self.no_progress_seconds}",
            f"--result-path={self.result_path}",
        ]


@dataclass(frozen=True)
class VerifyBackup:
    """``fluidctl verify-backup``: read a whole backup and compare it with its manifest. Nothing is written."""

    directory: str
    manifest_sha256: str = ""  # "sha256:..."; empty: any
    result_path: str = RESULT_PATH

    def argv(self) -> list[str]:
        """Return the arguments after ``fluidctl``."""
        pin = [f"--manifest-sha256={self.manifest_sha256}"] if self.manifest_sha256 else []
        return [VERIFY, f"--directory={self.directory}", *pin, f"--result-path={self.result_path}"]


@dataclass(frozen=True)
class DeleteBackup:
    """``fluidctl delete-backup``: remove what a backup left in the claim; what is gone already is as good."""

    directory: str
    partial_only: bool = False  # only what was not finished
    backup_uid: str = ""  # of the DataBackup: another's stays; empty: any
    result_path: str = RESULT_PATH

    def argv(self) -> list[str]:
        """Return the arguments after ``fluidctl``."""
        only = ["--partial-only"] if self.partial_only else []
        owner = [f"--backup-uid={self.backup_uid}"] if self.backup_uid else []
        return [REMOVE, f"--directory={self.directory}", *only, *owner, f"--result-path={self.result_path}"]


@dataclass(frozen=True)
class StageRestore:
    """``fluidctl stage-restore``: verify a backup and lay its file beside an empty journal.

    The journal must be empty, or hold what an earlier attempt of the same ``owner`` staged: that is removed first.
    ``discard``: only remove that.
    """

    owner: str  # uid of the Dataset
    directory: str = ""
    mounts_hash: str = ""
    engine_version: str = ""  # of the master that will read it; empty: not known, nothing newer is refused
    manifest_sha256: str = ""  # what the DataBackup's status says; empty: not known
    checksum: str = ""  # sha256:... of the file, as a person pinned it
    discard: bool = False
    result_path: str = RESULT_PATH

    def argv(self) -> list[str]:
        """Return the arguments after ``fluidctl``."""
        values = {
            "directory": self.directory,
            "mounts-hash": self.mounts_hash,
            "engine-version": self.engine_version,
            "manifest-sha256": self.manifest_sha256,
            "checksum": self.checksum,
        }
        given = [f"--{name}={value}" for name, value in values.items() if value]
        given += ["--discard"] if self.discard else []
        return [STAGE, f"--owner={self.owner}", *given, f"--result-path={self.result_path}"]


@dataclass(frozen=True)
class WantedMount:
    """One mount that the master shall have. ``secrets``: option name -> "secret/key", a file below SECRETS_PATH."""

    path: str  # in Alluxio
    uri: str
    read_only: bool = False
    options: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MountStorages:
    """``fluidctl mount``: make the master have exactly these mounts, parents first; one that is there is as good."""

    masters: tuple[str, ...]
    path: str  # of the dataset; a directory that the Job makes
    mounts: tuple[WantedMount, ...]
    remount: bool = False  # also one that is there, where the load that follows would not look into its storage again
    result_path: str = RESULT_PATH

    def argv(self) -> list[str]:
        """Return the arguments after ``fluidctl``."""
        wanted = [
            {"path": m.path, "uri": m.uri, "readOnly": m.read_only, "options": m.options, "secrets": m.secrets}
            for m in self.mounts
        ]
        return [
            MOUNT,
            *(f"--master={master}" for master in self.masters),
            f"--path={self.path}",
            *(["--remount"] if self.remount else []),
            *(f"--mount={_json(each)}" for each in wanted),
            f"--result-path={self.result_path}",
        ]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
