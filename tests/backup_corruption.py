"""Random corruptions of a backup's directory, and whether one is accepted."""

import gzip
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controllers.api.job_commands import StageRestore
from fluidctl.backup.errors import BackupError
from fluidctl.backup.stage import stage
from fluidctl.backup.volume import Directory
from tests.backup_files import DATASET, PATH, Masters, journal, packed, sha256, taken, watch

_ENGINE = "2.9.6"
#: What nothing in the file can contradict. Whoever may write them may write another backup as well: hence the pin.
_WORDS = ("engineVersion", "createdAt", "dataset", "backup")


@dataclass(frozen=True)
class Corrupted:
    """A claim with one corrupted backup. ``pin``, ``manifest``, ``file``: as they were."""

    claim: Path
    what: str
    pin: str
    manifest: dict[str, Any]
    file: bytes


def corruptions(place: Path, seed: int, count: int) -> Iterator[Corrupted]:
    """Yield so many, each in a directory that the next one replaces."""
    rng = random.Random(seed)
    claim = place / "claim"
    other = taken(place / "other", source=Masters(packed(journal(50)), 110))
    for _ in range(count):
        shutil.rmtree(claim, ignore_errors=True)
        here = taken(claim)
        manifest, file = (here / "manifest.json").read_bytes(), (here / "metadata.gz").read_bytes()
        work = rng.choice(WORKS)
        while _content(here) == (manifest, file):  # a flip of the same bit twice, say
            work(here, other, rng)
        yield Corrupted(claim, work.__name__, sha256(manifest), json.loads(manifest), file)


def accepted(corrupted: Corrupted) -> bool:
    """Return whether it would be restored: with the pin, or without it and with other data than it was taken with."""
    if _staged(corrupted, corrupted.pin):
        return True
    if not _staged(corrupted, ""):
        return False
    manifest = json.loads((corrupted.claim / PATH / "manifest.json").read_bytes())
    same = {name: value for name, value in manifest.items() if name not in _WORDS}
    return same != {name: corrupted.manifest[name] for name in same} and not _forged(corrupted)


def _forged(corrupted: Corrupted) -> bool:
    """Whether it is another whole backup: both files were replaced by those of one."""
    return corrupted.what == "replace_by_another"


def _staged(corrupted: Corrupted, pin: str) -> bool:
    journal_claim = corrupted.claim.parent / "journal"
    shutil.rmtree(journal_claim, ignore_errors=True)
    journal_claim.mkdir()
    command = StageRestore("owner", PATH, DATASET["mountsHash"], _ENGINE, pin)
    with Directory(str(corrupted.claim)) as claim, Directory(str(journal_claim)) as master:
        try:
            stage(command, claim, master, watch())
        except BackupError:
            assert not (journal_claim / "restore" / "metadata.gz").exists()
            return False
    assert (journal_claim / "restore" / "metadata.gz").read_bytes() == (
        corrupted.claim / PATH / "metadata.gz"
    ).read_bytes()
    return True


def _content(here: Path) -> tuple[bytes, bytes] | None:
    files = here / "manifest.json", here / "metadata.gz"
    if any(path.is_symlink() or not path.is_file() or path.stat().st_size > 10_000_000 for path in files):
        return None
    return files[0].read_bytes(), files[1].read_bytes()


def flip_bits(here: Path, other: Path, rng: random.Random) -> None:
    path = _any(here, rng)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 50))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def truncate(here: Path, other: Path, rng: random.Random) -> None:
    path = _any(here, rng)
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def append(here: Path, other: Path, rng: random.Random) -> None:
    with _any(here, rng).open("ab") as file:
        file.write(rng.randbytes(rng.choice((1, 8, 5000))))


def remove_bytes(here: Path, other: Path, rng: random.Random) -> None:
    path = _any(here, rng)
    data, first = path.read_bytes(), rng.randrange(path.stat().st_size)
    path.write_bytes(data[:first] + data[first + rng.randint(1, 100) :])


def zero_a_block(here: Path, other: Path, rng: random.Random) -> None:
    path = _any(here, rng)
    data = bytearray(path.read_bytes())
    first = rng.randrange(len(data))
    size = min(rng.choice((16, 512)), len(data) - first)
    data[first : first + size] = bytes(size)
    path.write_bytes(data)


def remove_file(here: Path, other: Path, rng: random.Random) -> None:
    _any(here, rng).unlink()


def swap_file(here: Path, other: Path, rng: random.Random) -> None:
    path = _any(here, rng)
    path.write_bytes((other / path.name).read_bytes())


def replace_by_another(here: Path, other: Path, rng: random.Random) -> None:
    shutil.rmtree(here)
    shutil.copytree(other, here)


def exchange_names(here: Path, other: Path, rng: random.Random) -> None:
    (here / "manifest.json").rename(here / "x")
    (here / "metadata.gz").rename(here / "manifest.json")
    (here / "x").rename(here / "metadata.gz")


def second_member(here: Path, other: Path, rng: random.Random) -> None:
    path = here / "metadata.gz"
    more = gzip.compress(rng.choice((b"", journal(3), rng.randbytes(100))), mtime=0)
    path.write_bytes(rng.choice((path.read_bytes() + more, more + path.read_bytes())))


def pack_anew(here: Path, other: Path, rng: random.Random) -> None:
    """The same entries in other bytes, with the manifest as it was."""
    (here / "metadata.gz").write_bytes(gzip.compress(journal(), rng.choice((1, 2)), mtime=0))


def another_journal(here: Path, other: Path, rng: random.Random) -> None:
    """Whole files, of which the manifest knows sum and size, with other counts than it says."""
    data = packed(journal(rng.randint(1, 60), rng.randint(0, 9)))
    path = here / "manifest.json"
    manifest = json.loads(path.read_bytes())
    if len(data) == manifest["file"]["size"]:
        return
    manifest["file"] |= {"size": len(data), "sha256": sha256(data).removeprefix("sha256:")}
    path.write_text(json.dumps(manifest, indent=2))
    (here / "metadata.gz").write_bytes(data)


def edit_manifest(here: Path, other: Path, rng: random.Random) -> None:
    """One field of it says something else, of the same or of another kind."""
    path = here / "manifest.json"
    manifest = json.loads(path.read_bytes())
    part = rng.choice((manifest, manifest, manifest["file"], manifest["dataset"]))
    name = rng.choice(sorted(part))
    value = part[name]
    part[name] = rng.choice((None, [], "x", 7, -1, 2**70, 1.5, True, {}, value + 1 if type(value) is int else "0"))
    path.write_text(json.dumps(manifest, indent=2))


def grow_sparse(here: Path, other: Path, rng: random.Random) -> None:
    """A file of many gigabytes that takes no space; half of the time the manifest says so, too."""
    size = rng.choice((2**31, 2**33))
    with (here / "metadata.gz").open("r+b") as file:
        file.truncate(size)
    if rng.random() < 0.5:
        path = here / "manifest.json"
        manifest = json.loads(path.read_bytes())
        manifest["file"]["size"] = size
        path.write_text(json.dumps(manifest, indent=2))


def by_link(here: Path, other: Path, rng: random.Random) -> None:
    path = _any(here, rng)
    path.rename(here.parent / "elsewhere")
    path.symlink_to(here.parent / "elsewhere")


def half_copied(here: Path, other: Path, rng: random.Random) -> None:
    """As cp -r leaves it that was stopped: the file is cut, the manifest may not be there."""
    truncate(here, other, rng) if rng.random() < 0.5 else (here / "manifest.json").unlink()


def _any(here: Path, rng: random.Random) -> Path:
    return here / rng.choice(("manifest.json", "metadata.gz"))


WORKS: tuple[Callable[[Path, Path, random.Random], None], ...] = (
    flip_bits,
    truncate,
    append,
    remove_bytes,
    zero_a_block,
    remove_file,
    swap_file,
    replace_by_another,
    exchange_names,
    second_member,
    pack_anew,
    another_journal,
    edit_manifest,
    grow_sparse,
    by_link,
    half_copied,
)
