"""``fluidctl take-backup``: has a master write a backup, brings it into the claim, verifies it, gives it its name.

Until then its directory is ".<name>.partial". What has the name is durable and whole: the file first, then the
manifest, then the name.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from controllers.api.job_commands import MANIFEST, METADATA, TakeBackup
from controllers.api.result import BackupFacts, Exit
from fluidctl.backup.errors import BackupError, refused
from fluidctl.backup.manifest import Manifest, parse
from fluidctl.backup.verify import Damaged, open_backup, refuse_outside, scan, teller
from fluidctl.backup.volume import Directory
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """What a master said of the backup that it wrote."""

    entries: int
    engine_version: str


class Source(Protocol):
    """Where backups come from."""

    def bring(self, partial: Directory) -> Written:
        """Have a backup written, and make METADATA in ``partial`` of it. Raise as the calls of a step do."""


def take(command: TakeBackup, claim: Directory, source: Source, watch: Watch, now: Callable[[], str]) -> BackupFacts:
    """Take the backup, unless an earlier attempt of the same has: a Job may have died before it could say so.

    Raises:
        BackupError: BackupDamaged, DirectoryTaken, OutsideDataset. OSError of the claim. Strange.
        What ``source`` raises.
    """
    place, _, last = command.directory.rpartition("/")
    partial = f".{last}.partial"
    with claim.enter(place, create=True) as parent:
        parent.remove(partial)
        if parent.has(last):
            return _earlier(command, claim, watch)
        parent.make(partial)
        with parent.enter(partial) as directory:
            try:
                manifest = _fill(command, directory, source, watch, now)
                if not directory.is_at(parent, partial):
                    raise BackupError(
                        Exit.INCOMPLETE, "AnotherAttempt", "Another attempt of this backup runs, and began after this."
                    )
                parent.rename(partial, last)
            except BaseException:
                _forget(parent, partial, directory)
                raise
    return manifest.facts(command.directory)


def _fill(command: TakeBackup, directory: Directory, source: Source, watch: Watch, now: Callable[[], str]) -> Manifest:
    """Bring the file, read it again from the volume, and write what it is."""
    written = source.bring(directory)
    directory.change_mode(0o700)
    with directory.read(METADATA) as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            content = scan(file, command.dataset["path"], teller(watch, "verifying", size))
        except Damaged as error:
            raise _damaged(str(error)) from error
    if content.entries != written.entries:
        raise _damaged(f"it holds {content.entries} journal entries, the master says {written.entries}")
    if command.agent:  # an Alluxio of the dataset's own; another's holds more on purpose
        refuse_outside(content, command.dataset["path"])
    manifest = Manifest(written.engine_version, command.dataset, command.backup, now(), content)
    data = manifest.to_bytes()
    parse(data)  # whatever could not be read later must not be written
    directory.put(MANIFEST, data)
    return manifest


def _earlier(command: TakeBackup, claim: Directory, watch: Watch) -> BackupFacts:
    """Return what an attempt before this one finished."""
    try:
        backup = open_backup(claim, command.directory)
        with backup.directory:
            backup.check(watch)
    except BackupError as error:
        raise _taken(command, error.message) from error
    if backup.manifest.backup != command.backup:
        raise _taken(command, "it is another backup.")
    return backup.manifest.facts(command.directory)


def _forget(parent: Directory, partial: str, directory: Directory) -> None:
    """Remove what was begun, not what another attempt began since; where the volume refuses, the next attempt does."""
    try:
        if directory.is_at(parent, partial):
            parent.remove(partial)
    except OSError as error:
        log.warning("%s stays: %s", partial, error)


def _damaged(what: str) -> BackupError:
    return BackupError(
        Exit.BACKUP_FAILED,
        "BackupDamaged",
        f"What the master wrote is damaged: {what}. Look at its log and its volume.",
    )


def _taken(command: TakeBackup, why: str) -> BackupError:
    return refused(
        "DirectoryTaken",
        f"{command.directory} is there and is not this backup: {why} Nothing is overwritten: remove it.",
    )
