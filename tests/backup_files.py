"""What the tests of backups share: a tiny writer of Alluxio's backup files, and backups made of them."""

import gzip
import hashlib
from pathlib import Path

from controllers.api.job_commands import TakeBackup
from controllers.api.result import Progress
from fluidctl.backup.take import Written, take
from fluidctl.backup.volume import Directory, seal
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load.watch import Watch

NOW = "2026-11-24T03:00:00Z"
HASH = "0123456789abcdef"
DATASET = {"namespace": "default", "name": "imagenet", "uid": "d-1", "mountsHash": HASH, "path": "/dataset"}
BACKUP = {"namespace": "default", "name": "nightly", "uid": "1a2b3c4d-0000"}
PATH = "sub/imagenet/nightly-1a2b3c4d"
COMMAND = TakeBackup(masters=("a:1",), directory=PATH, dataset=DATASET, backup=BACKUP)
FILES, DIRECTORIES, BYTES, ENTRIES = 40, 7, 780, 40 * 2 + 9 + 1


def delimited(entry: bytes) -> bytes:
    """Return an entry with its length before it."""
    size, prefix = len(entry), b""
    while size > 127:
        prefix += bytes([size & 127 | 128])
        size >>= 7
    return prefix + bytes([size]) + entry


def journal(files: int = FILES, directories: int = DIRECTORIES, padding: int = 0) -> bytes:
    """Return the entries of a master with "/", "/dataset", so many directories below it, and files of 0, 1, 2... bytes.

    ``padding``: bytes of other fields in each inode, which a reader skips.
    """
    other = b"\x1a" + delimited(b"n" * padding) if padding else b""
    entries = [b"\x1a\x03\x08\xe0\x0b"]  # what else a journal holds
    entries += [pb.JournalEntry(inodeDirectory=pb.InodeDirectoryEntry()).SerializeToString()] * (directories + 2)
    for size in range(files):
        block = b"\x22" + delimited(b"\x08\x80\x80\x80\xc0\x0f\x10" + bytes([size % 100]))
        inode = pb.InodeFileEntry(length=size).SerializeToString() + other
        entries += [block, b"\x5a" + delimited(inode)]
    return b"".join(map(delimited, entries))


def packed(data: bytes | None = None) -> bytes:
    """Return a gzip member, the same for the same data."""
    return gzip.compress(journal() if data is None else data, mtime=0)


def sha256(data: bytes) -> str:
    """Return sha256:..."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def watch(shown: list[Progress] | None = None) -> Watch:
    """Return a watch that ends nothing by itself."""
    return Watch("test", (shown if shown is not None else []).append, lambda: 0.0, 900)


class Masters:
    """take.Source that needs no master: the file is there at once."""

    def __init__(self, data: bytes | None = None, entries: int = ENTRIES, version: str = "2.9.6") -> None:
        self.data, self.entries, self.version = packed() if data is None else data, entries, version
        self.asked = 0

    def bring(self, partial: Directory) -> Written:
        """Write the file."""
        self.asked += 1
        with partial.create("metadata.gz") as file:
            file.write(self.data)
            seal(file)
        return Written(self.entries, self.version)


def taken(claim: Path, command: TakeBackup = COMMAND, source: Masters | None = None) -> Path:
    """Take a backup into ``claim`` and return its directory."""
    claim.mkdir(exist_ok=True)
    with Directory(str(claim)) as directory:
        take(command, directory, source or Masters(), watch(), lambda: NOW)
    return claim / command.directory


def tree(root: Path) -> dict[str, bytes]:
    """Return all that is below ``root``: links by where they lead, directories as nothing."""
    return {str(path.relative_to(root)): _content(path) for path in sorted(root.rglob("*"))}


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return str(path.readlink()).encode()
    return path.read_bytes() if path.is_file() else b""
