"""What the tests of backups share: a tiny writer of Alluxio's backup files, and backups made of them."""

import gzip
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from random import Random

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


def folder(number: int, parent: int, name: str) -> bytes:
    """Return the entry of a directory."""
    inode = pb.InodeDirectoryEntry(id=number, parentId=parent, name=os.fsencode(name))
    return pb.JournalEntry(inodeDirectory=inode).SerializeToString()


def journal_of(paths: Mapping[str, int | None], rng: Random) -> bytes:
    """Return the entries of "/" and of these paths: a length is a file's, None is a directory.

    Each directory comes before what is in it, and has a greater or smaller number: no other order is a master's.
    """
    numbers = {"": 0} | {path: rng.getrandbits(60) + 1 for path in paths}
    entries, ready = list[bytes](), list[tuple[str, int | None]]([("", None)])
    while ready:
        path, length = ready.pop(rng.randrange(len(ready)))
        above, _, name = path.rpartition("/")
        parent = numbers[above] if path else -1
        if length is None:
            entries.append(folder(numbers[path], parent, name))
            ready += [each for each in paths.items() if each[0].rpartition("/")[0] == path]
        else:
            inode = pb.InodeFileEntry(parentId=parent, name=os.fsencode(name), length=length)
            entries.append(pb.JournalEntry(inodeFile=inode).SerializeToString())
    return b"".join(map(delimited, entries))


def journal(files: int = FILES, directories: int = DIRECTORIES, padding: int = 0) -> bytes:
    """Return the entries of a master with "/", "/dataset", so many directories below it, and files of 0, 1, 2... bytes.

    ``padding``: bytes of other fields in each inode, which a reader skips.
    """
    other = b"\x22" + delimited(b"n" * padding) if padding else b""
    entries = [b"\x1a\x03\x08\xe0\x0b"]  # what else a journal holds
    entries += [folder(0, -1, ""), folder(1, 0, "dataset"), *(folder(n + 2, 1, f"d{n}") for n in range(directories))]
    for size in range(files):
        block = b"\x22" + delimited(b"\x08\x80\x80\x80\xc0\x0f\x10" + bytes([size % 100]))
        inode = pb.InodeFileEntry(parentId=1, length=size).SerializeToString() + other
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


def holding(paths: Mapping[str, int | None]) -> Masters:
    """Return masters with a dataset and these paths beside it."""
    inside: dict[str, int | None] = {"/dataset": None, "/dataset/d": None, "/dataset/d/f": 3}
    held = {**inside, **paths}
    return Masters(packed(journal_of(held, Random(3))), 1 + len(held))


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
