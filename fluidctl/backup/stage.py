"""``fluidctl stage-restore``: verifies a backup and lays its file where a master with an empty journal starts from it.

In the claim of the journal: JOURNAL_DIRECTORY, the master's; RESTORE_DIRECTORY with the file and owner.json, which says
whose restore the journal and the file belong to. owner.json is written before the file and goes after all else, so a
Job that was killed between any two steps is followed by one that begins anew.
"""

import json

from controllers.api.job_commands import JOURNAL_DIRECTORY, METADATA, RESTORE_DIRECTORY, StageRestore
from controllers.api.result import BackupFacts, Exit
from fluidctl.backup.errors import BackupError, refused, volume
from fluidctl.backup.manifest import Manifest, version
from fluidctl.backup.verify import Backup, open_backup, refuse_outside
from fluidctl.backup.volume import Directory, Strange, seal
from fluidctl.load.watch import Watch

OWNER = "owner.json"
CLAIM, JOURNAL = "The volume of the backup", "The volume of the master's journal"


def stage(command: StageRestore, claim: Directory, journal: Directory, watch: Watch) -> tuple[BackupFacts, str]:
    """Stage the backup; return what it is and a sentence.

    Raises:
        BackupError: the first that applies of: BackupMissing, BackupIncomplete, ManifestChanged, UnknownFormat,
            BackupForeign, MountsDiffer, BackupNewer, ChecksumMismatch, JournalNotEmpty, BackupTruncated, BackupCorrupt,
            OutsideDataset; and those of the volumes.
    """
    with volume(CLAIM, written=False):
        backup = open_backup(claim, command.directory, command.manifest_sha256)
    with backup.directory:
        said = _guard(command, backup.manifest)
        with volume(JOURNAL, written=True):
            _wipe(journal, command.owner)
            with _enter(journal, RESTORE_DIRECTORY) as restore:
                restore.put(OWNER, json.dumps({"owner": command.owner}).encode())
                _copy(backup, restore, watch)
    return backup.manifest.facts(command.directory), said


def discard(owner: str, journal: Directory) -> None:
    """Remove what was staged for ``owner``, and the journal that came of it; another's stays."""
    with volume(JOURNAL, written=True):
        if _owner(journal) == owner:
            _wipe(journal, owner)
            with _enter(journal, RESTORE_DIRECTORY) as restore:
                restore.remove(OWNER)


def _guard(command: StageRestore, manifest: Manifest) -> str:
    """Refuse what fits neither the dataset nor the master nor the pin; return what a person should know."""
    if command.mounts_hash and manifest.dataset["mountsHash"] != command.mounts_hash:
        raise refused(
            "MountsDiffer",
            f"It was taken of {manifest.dataset['namespace']}/{manifest.dataset['name']}, which has other mounts: give "
            "the Dataset the same mounts, or load it from its storage.",
        )
    said = _guard_version(manifest.engine_version, command.engine_version) if command.engine_version else ""
    if command.checksum and command.checksum != f"sha256:{manifest.content.sha256}":
        raise refused(
            "ChecksumMismatch",
            f"Its file is sha256:{manifest.content.sha256}, the Dataset asks for {command.checksum}: name the backup "
            "that is meant, or correct checksum.",
        )
    return said


def _guard_version(wrote: str, reads: str) -> str:
    """Compare versions of Alluxio. The journal of an older 2.x is read; one of 1.x or of a newer minor is not."""
    (major, minor), (our_major, our_minor) = version(wrote), version(reads)
    if major != our_major:
        message = (
            f"Alluxio {wrote} wrote it, {reads} does not read the journal of another major version: use {major}.x."
        )
        raise refused("BackupNewer" if major > our_major else "BackupTooOld", message)
    if minor > our_minor:
        message = f"Alluxio {wrote} wrote it, which is newer than the {reads} that shall read it: use {wrote} or newer."
        raise refused("BackupNewer", message)
    return f"Alluxio {wrote} wrote it, {reads} reads it." if minor < our_minor else ""


def _wipe(journal: Directory, owner: str) -> None:
    """Empty the journal and what was staged, if they are this owner's; where the journal is empty, they may be.

    What is in the journal goes first: while it is there, owner.json must say whose it is.
    """
    with _enter(journal, JOURNAL_DIRECTORY) as log:
        if log.names() and _owner(journal) != owner:
            raise refused(
                "JournalNotEmpty",
                "The master's journal holds metadata already, and a restore would be ignored: use an AlluxioRuntime of "
                "another name, or delete this one with the claim of its journal.",
            )
        for name in log.names():
            log.remove(name)
    with _enter(journal, RESTORE_DIRECTORY) as restore:
        for name in restore.names():
            if name != OWNER:
                restore.remove(name)


def _owner(journal: Directory) -> str:
    """Return for whom something was staged, "" where nobody says so readably."""
    try:
        with _enter(journal, RESTORE_DIRECTORY) as restore, restore.read(OWNER) as file:
            said = json.loads(file.read(4096))
    except (FileNotFoundError, Strange, ValueError, RecursionError):
        return ""
    return str(said.get("owner", "")) if isinstance(said, dict) else ""


def _copy(backup: Backup, restore: Directory, watch: Watch) -> None:
    """Copy the file in the pass that verifies it; it has its name only when both are done."""
    temporary = f".{METADATA}.partial"
    try:
        with restore.create(temporary) as file:

            def write(data: bytes) -> None:
                with volume(JOURNAL, written=True):  # what reads is in another volume, with other errors
                    file.write(data)

            with volume(CLAIM, written=False):
                refuse_outside(backup.check(watch, write), backup.manifest.dataset["path"])
            seal(file)
            written, wanted = file.tell(), backup.manifest.content.size
        if written != wanted:
            raise BackupError(Exit.VOLUME_FAILED, "VolumeFailed", f"{JOURNAL} took {written} of {wanted} bytes.")
        restore.rename(temporary, METADATA)
    except BaseException:
        restore.remove(temporary)
        raise


def _enter(journal: Directory, name: str) -> Directory:
    try:
        return journal.enter(name, create=True)
    except Strange as error:
        raise refused("JournalNotEmpty", f"{JOURNAL} holds something strange: {error}. Use another claim.") from error
