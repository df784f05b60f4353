"""``fluidctl verify-backup``, and the one way in which every Job reads a backup: in one pass, in constant memory."""

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from google.protobuf.message import DecodeError

from controllers.api.job_commands import MANIFEST, METADATA
from controllers.api.result import BackupFacts
from controllers.api.spelling import encode
from fluidctl.backup.errors import refused
from fluidctl.backup.manifest import MAX_BYTES, Content, Manifest, checksum, parse
from fluidctl.backup.nearby import nearby
from fluidctl.backup.volume import Directory, Strange
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load.watch import Watch

_CHUNK = 1 << 20
_MAX_ENTRY = 64 << 20  # bytes of one journal entry; an inode with a million blocks has 10 MB
_ROOTS_PARENT = -1
_LONGEST = 4096  # bytes of a name that are looked at; no path in a manifest has more
_SHOWN, _LETTERS = 5, 100  # how many paths outside of the dataset are told, and how much of each


class Damaged(Exception):
    """What was read is not the whole and only gzip member with nothing but journal entries in it."""


@dataclass(frozen=True)
class Backup:
    """An open backup whose manifest was read; ``directory`` is its own, to be closed by ``with``."""

    directory: Directory
    manifest: Manifest

    def check(self, watch: Watch, copy: Callable[[bytes], object] = len) -> Content:
        """Read the file, hand what is read to ``copy``, compare all of it with the manifest; return what is in it.

        Raises:
            BackupError: BackupIncomplete, BackupForeign, BackupTruncated, BackupCorrupt.
            OSError, and what Watch.tick raises.
        """
        wanted = self.manifest.content
        try:
            file = self.directory.read(METADATA)
        except FileNotFoundError as error:
            raise refused(
                "BackupIncomplete", f"{METADATA} is missing: copy the whole directory of a backup."
            ) from error
        except Strange as error:
            raise refused("BackupForeign", f"{error}: nothing is read through it.") from error
        with file:
            size = file.seek(0, 2)
            file.seek(0)
            if size < wanted.size:
                raise refused(
                    "BackupTruncated", f"{METADATA} has {size} bytes, its manifest says {wanted.size}: copy it again."
                )
            try:
                found = scan(file, self.manifest.dataset["path"], teller(watch, "reading", size), copy)
            except Damaged as error:
                raise refused("BackupCorrupt", f"{METADATA} is damaged: {error}. Use another backup.") from error
        if found != wanted:
            raise refused("BackupCorrupt", f"{METADATA} is damaged: it is {found}, its manifest says {wanted}.")
        return found


def open_backup(claim: Directory, path: str, pin: str = "") -> Backup:
    """Open the directory of a backup and read its manifest, whose checksum is ``pin``, if there is one.

    Raises:
        BackupError: BackupMissing, BackupIncomplete, ManifestChanged, UnknownFormat, BackupForeign.
        OSError: of the volume.
    """
    if path.rpartition("/")[2].startswith("."):
        raise refused("BackupIncomplete", f"{path} was not finished; a backup's directory has no dot before its name.")
    try:
        directory = claim.enter(path)
    except FileNotFoundError as error:
        raise refused("BackupMissing", f"There is no {path} in the claim. {nearby(claim, path)}") from error
    except Strange as error:
        raise refused("BackupForeign", f"{path}: {error}; nothing is read through it.") from error
    try:
        return Backup(directory, _manifest(claim, directory, path, pin))
    except BaseException:
        with directory:
            raise


def verify(claim: Directory, path: str, pin: str, watch: Watch) -> BackupFacts:
    """Read a whole backup; return what it is. Raise as ``open_backup`` and ``Backup.check``."""
    backup = open_backup(claim, path, pin)
    with backup.directory:
        backup.check(watch)
    return backup.manifest.facts(path)


def scan(file: BinaryIO, path: str, tell: Callable[[int], None], copy: Callable[[bytes], object] = len) -> Content:
    """Read ``file`` to its end and return what is in it; ``path`` is the dataset's, whose own directory is not counted.

    Raises:
        Damaged: it is no backup of Alluxio, not all of one, more than one, or one without ``path``.
    """
    digest, size, journal, gunzip = hashlib.sha256(), 0, _Journal(path), zlib.decompressobj(wbits=31)
    while data := file.read(_CHUNK):
        digest.update(data)
        size += len(data)
        copy(data)
        while True:
            try:
                raw = gunzip.decompress(data, _CHUNK)
            except zlib.error as error:
                raise Damaged(str(error)) from error
            journal.feed(raw)
            data = gunzip.unconsumed_tail
            tell(size)
            if not data and len(raw) < _CHUNK:
                break
        if gunzip.unused_data:
            raise Damaged("something follows the end of its gzip member")
    if not gunzip.eof or journal.rest:
        raise Damaged("it ends in the middle")
    if not journal.found:
        raise Damaged(f"it does not hold the directory {path}")
    counts = journal.entries, journal.files, journal.directories - len(journal.parts), journal.bytes
    return Content(size, digest.hexdigest(), *counts, tuple(journal.outside))


def refuse_outside(content: Content, path: str) -> None:
    """Raise BackupError OutsideDataset where ``content`` is not of the dataset at ``path`` alone."""
    if found := content.outside:
        shown = ", ".join(map(_cut, found[:_SHOWN])) + (", and more" if len(found) > _SHOWN else "")
        raise refused(
            "OutsideDataset",
            f"Alluxio also holds what is outside of {_cut(path)}, and a restore of it could not be proved: {shown}. "
            "Unmount what is mounted there (alluxio fs unmount), remove the rest (alluxio fs rm -R), and take another "
            "backup; storages of the dataset are named in its spec.mounts.",
        )


def _cut(path: str) -> str:
    """Return what is shown of a path: no more than a status takes, and no part of a letter that is spelled %XX."""
    return re.sub("%.?$", "", path[:_LETTERS])


def teller(watch: Watch, doing: str, total: int) -> Callable[[int], None]:
    """Return what shows how many of ``total`` bytes are done, and ends the Job where it was told to end."""

    def tell(done: int) -> None:
        watch.message = f"{doing} backup: {done // 1_000_000} of {total // 1_000_000} MB"
        watch.moved()
        watch.tick()

    return tell


def _manifest(claim: Directory, directory: Directory, path: str, pin: str) -> Manifest:
    try:
        with directory.read(MANIFEST) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise refused("BackupIncomplete", f"{path} holds no {MANIFEST}. {nearby(claim, path)}") from error
    except Strange as error:
        raise refused("BackupForeign", f"{error}: nothing is read through it.") from error
    if pin and checksum(data) != pin:
        raise refused(
            "ManifestChanged",
            f"{MANIFEST} is not the one that was written with this backup: its checksum is "
            f"{checksum(data)}, the DataBackup says {pin}.",
        )
    if len(data) > MAX_BYTES:
        raise refused("BackupForeign", f"{MANIFEST} has more than {MAX_BYTES} bytes: it is not one of fluidctl.")
    return parse(data)


class _Journal:
    """Counts journal entries, each after its length as a varint, in whatever pieces they come.

    A master writes each directory before what is in it, as it needs that order itself when it restores. So the few
    directories above the dataset are known in time, and what else is in them is outside, with all that is below it.
    """

    def __init__(self, path: str) -> None:
        self.entries = self.files = self.directories = self.bytes = 0
        self.rest = b""
        self.parts = ["", *(part for part in path.split("/") if part)]  # names from the root to the dataset
        self.found, self.outside = False, list[str]()
        self._above = {_ROOTS_PARENT: 0}  # id of a directory above -> which of parts is to be in it; one for each

    def feed(self, data: bytes) -> None:
        data = self.rest + data if self.rest else data
        entries = files = directories = size_of_files = position = 0
        parse_entry, above, end = pb.JournalEntry.FromString, self._above, len(data)
        try:
            while position < end:
                size, start = data[position], position + 1
                if size > 127:
                    size, start = _varint(data, position)
                if not 0 < size <= _MAX_ENTRY:
                    raise Damaged(f"a journal entry of {size} bytes")
                if start == 0 or start + size > end:
                    break
                position = start + size
                entry = parse_entry(data[start:position])
                entries += 1
                if entry.HasField("inodeFile"):
                    files += 1
                    file = entry.inodeFile
                    size_of_files += file.length
                    if file.parentId in above:
                        self._beside(file)
                elif entry.HasField("inodeDirectory"):
                    directories += 1
                    if entry.inodeDirectory.parentId in above:
                        self._enter(entry.inodeDirectory)
        except DecodeError as error:
            raise Damaged("something in it is no journal entry") from error
        self.entries += entries
        self.files += files
        self.directories += directories
        self.bytes += size_of_files
        self.rest = data[position:]

    def _enter(self, directory: pb.InodeDirectoryEntry) -> None:
        depth = self._above[directory.parentId]
        if encode(directory.name[:_LONGEST]) != self.parts[depth]:
            self._beside(directory)
        elif self.found or depth + 1 != len(self._above):
            raise Damaged(f"the directory {'/'.join(self.parts[: depth + 1]) or '/'} is in it twice")
        elif depth + 1 < len(self.parts):
            self._above[directory.id] = depth + 1
        else:
            self.found = True

    def _beside(self, inode: pb.InodeDirectoryEntry | pb.InodeFileEntry) -> None:
        if len(self.outside) <= _SHOWN:
            above = self.parts[: self._above[inode.parentId]]
            self.outside.append("/".join([*above, encode(inode.name[:_LETTERS])]))


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a number and where it ends; 0 for the latter where it is not all there."""
    value = 0
    for shift, byte in enumerate(data[position : position + 5]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    if len(data) - position >= 5:
        raise Damaged("a length of more than five bytes")
    return 1, 0
