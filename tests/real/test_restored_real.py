"""The count of a master that a real Alluxio 2.9.6 restored: no request to the storage, and a part is never proved."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers.api.result import Exit, Totals
from tests.load_kit import Steps
from tests.objectstore import ObjectStore
from tests.objectstore.trees import tree
from tests.real.alluxio import Alluxio


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as made:
        made.fill("bucket", {key: 7 for key, _ in tree("tree=40x20")[1]})
        yield made


@pytest.fixture(scope="module")
def loaded(real_programs: None, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Totals]:
    """Return a backup of a master that has loaded the bucket, and what it counted."""
    place = tmp_path_factory.mktemp("backup")
    with _master(store) as master:
        counted, code = Steps(place / "spill", [master.rpc_address]).both()
        assert (code, counted.proved) == (Exit.COMPLETE, True)
        assert counted.totals is not None
        master.cli("fsadmin", "backup", str(place / "files"), "--local", "--allow-leader")
    (backup,) = (place / "files").glob("*.gz")
    return backup, counted.totals


def _master(store: ObjectStore, backup: Path | None = None) -> Alluxio:
    start = {"alluxio.master.journal.init.from.backup": f"file://{backup}"} if backup else {}
    if backup:
        start["alluxio.master.journal.sync.root.after.init.from.backup"] = "false"
    return Alluxio(store.uri("s3", "bucket"), properties=store.properties("s3") | start)


def test_a_restored_master_is_proved_without_one_request_to_the_storage(
    store: ObjectStore, loaded: tuple[Path, Totals], tmp_path: Path
) -> None:
    """Neither a listing nor a look-up."""
    backup, whole = loaded
    with _master(store, backup) as master:
        steps = Steps(tmp_path / "spill", [master.rpc_address])
        store.reset_counts()
        result, code = steps.run("size", expected=whole)
        counts = store.counts
        more, refused = steps.run("size", expected=Totals(whole.files + 1, whole.directories, whole.bytes))

    assert (code, result.reason, result.proved, result.totals) == (Exit.COMPLETE, "Restored", True, whole)
    assert (counts.lists, counts.heads) == (0, 0)
    assert (refused, more.proved) == (Exit.RESTORE_MISMATCH, False)


def test_a_master_that_restored_a_part_serves_it_and_is_a_mismatch(
    store: ObjectStore, loaded: tuple[Path, Totals], tmp_path: Path
) -> None:
    """As one that was killed while it restored: it says OK to everything, and lacks what came later in the file."""
    backup, whole = loaded
    part = tmp_path / "part.gz"
    with gzip.open(part, "wb") as short:
        short.write(_without_the_last_files(gzip.decompress(backup.read_bytes())))
    with _master(store, part) as master:
        store.reset_counts()
        result, code = Steps(tmp_path / "spill", [master.rpc_address]).run("size", expected=whole)
        counts = store.counts

    assert (code, result.proved) == (Exit.RESTORE_MISMATCH, False)
    assert result.totals is not None
    assert 0 < result.totals.files < whole.files
    assert counts.lists == 0


def _without_the_last_files(entries: bytes) -> bytes:
    """Leave out each second of the messages that hold an inode of a file (field 11): delimited by their lengths."""
    kept, at, seen = [], 0, 0
    while at < len(entries):
        begin, (size, at) = at, _varint(entries, at)
        message, at = entries[at : at + size], at + size
        file = _holds(message, 11)
        seen += file
        if not file or seen % 2:
            kept.append(entries[begin:at])
    return b"".join(kept)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _holds(message: bytes, field: int) -> bool:
    """Whether a top-level field of that number is in the message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag >> 3 == field:
            return True
        size, at = _varint(message, at)
        at += size if tag & 7 == 2 else 0
    return False
