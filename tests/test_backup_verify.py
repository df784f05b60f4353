"""Reading a backup: one pass, constant memory, and nothing that is damaged or strange is taken for a whole one."""

import gzip
import io
import os
import random
import re
import shutil
import tracemalloc
import zlib
from pathlib import Path

import pytest

from controllers.api.result import Exit, Progress
from controllers.api.spelling import decode, encode
from fluidctl.backup.errors import BackupError, volume
from fluidctl.backup.verify import Damaged, refuse_outside, scan, verify
from fluidctl.backup.volume import Directory
from fluidctl.load.errors import StepError
from fluidctl.load.names import covers
from tests.backup_corruption import accepted, corruptions
from tests.backup_files import (
    BYTES,
    DIRECTORIES,
    ENTRIES,
    FILES,
    PATH,
    delimited,
    folder,
    journal,
    journal_of,
    packed,
    sha256,
    taken,
    tree,
    watch,
)


def read(data: bytes, path: str = "/dataset") -> tuple[int, int, int, int]:
    found = scan(io.BytesIO(data), path, untold)
    assert (found.size, f"sha256:{found.sha256}") == (len(data), sha256(data))
    return found.entries, found.files, found.directories, found.bytes


def untold(_: int) -> None:
    """Show nothing."""


def test_entries_and_inodes_are_counted_without_those_above_the_dataset() -> None:
    """ "/" and the dataset's own directory are no part of a count of it."""
    assert read(packed()) == (ENTRIES, FILES, DIRECTORIES, BYTES)
    assert read(packed(), "/") == (ENTRIES, FILES, DIRECTORIES + 1, BYTES)
    assert read(packed(), "/dataset//d1/") == (ENTRIES, FILES, DIRECTORIES - 1, BYTES)


NAMES = ("dataset", "a", "dataset2", "\udcff", "a%b", "ä")


def grown(rng: random.Random) -> dict[str, int | None]:
    """Return a tree: of each path the length, None for a directory. Names come again at every level."""
    paths: dict[str, int | None] = {}
    for _ in range(rng.choice((1, 3, 12))):
        above = rng.choice(["", *(path for path, length in paths.items() if length is None)])
        paths.setdefault(f"{above}/{rng.choice(NAMES)}", rng.choice((None, None, rng.randrange(9))))
    return paths


def test_what_is_outside_of_the_dataset_is_found_in_any_tree_and_without_it_the_count_is_the_datasets() -> None:
    """Outside is what is neither in it nor above it; the topmost of that is told, by the name that a path has."""
    rng, seen = random.Random(7), set()
    for _ in range(2_000):
        paths = grown(rng)
        path = rng.choice(["/", "/dataset", "/not", *paths])
        is_there = path == "/" or paths.get(path, 0) is None
        data = packed(journal_of(paths, rng))
        if not is_there:
            with pytest.raises(Damaged, match="does not hold"):
                scan(io.BytesIO(data), encode(os.fsencode(path)), untold)
            continue
        inside = {each: length for each, length in paths.items() if covers(os.fsencode(path), os.fsencode(each))}
        outside = {each for each in paths if each not in inside and not path.startswith(f"{each}/")}
        topmost = {encode(os.fsencode(each)) for each in outside if each.rpartition("/")[0] not in outside}
        found = scan(io.BytesIO(data), encode(os.fsencode(path)), untold)
        assert set(found.outside) <= topmost
        assert len(found.outside) == min(6, len(topmost))
        if not outside:
            lengths = [length for length in inside.values() if length is not None]
            directories = len(inside) - len(lengths) - (path != "/")
            assert (found.files, found.directories, found.bytes) == (len(lengths), directories, sum(lengths))
        seen.add((bool(outside), path.count("/")))
    assert {(outside, depth) for outside in (False, True) for depth in (1, 2, 3)} <= seen


@pytest.mark.parametrize("name", ["%", "a", "aa%", "a%", "\udcff", "ä", "日"])
@pytest.mark.parametrize("path", ["/dataset", f"/{'%' * 1000}"], ids=["short", "long"])
def test_of_what_is_outside_so_much_is_told_as_a_status_takes(name: str, path: str) -> None:
    """A status takes 1,024 letters, and what is shown can be typed: no letter that is spelled %XX is cut."""
    outside: dict[str, int | None] = {f"/{n}{name * 80}": None for n in range(9)}
    spelled = encode(os.fsencode(path))
    data = packed(journal_of({path: None, **outside}, random.Random(1)))
    with pytest.raises(BackupError) as caught:
        refuse_outside(scan(io.BytesIO(data), spelled, untold), spelled)
    assert len(caught.value.message) < 900
    assert "alluxio fs rm -R" in caught.value.message
    shown = re.findall(r"/\d\S+(?=, )", caught.value.message)
    assert len(shown) == 5
    assert all(os.fsencode(f"{each[:2]}{name * 80}").startswith(decode(each)) for each in shown)


def test_the_count_does_not_depend_on_how_the_file_comes_in_pieces() -> None:
    """Entries of all sizes are cut at every place: at the end of a piece, in a length, in a field."""
    rng = random.Random(2)
    for seed in range(30):
        data = packed(journal(300, padding=seed * 7))
        whole = read(data)

        class Pieces(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(rng.randint(1, 300))

        found = scan(Pieces(data), "/dataset", untold)
        assert (found.entries, found.files, found.directories, found.bytes) == whole


def test_an_entry_may_be_longer_than_what_is_read_at_once() -> None:
    """An inode with a million blocks has 10 MB."""
    big = b"\x5a" + delimited(b"\x10\x00\x48\x05\x1a" + delimited(os.urandom(3_000_000)))
    assert read(packed(journal() + delimited(big))) == (ENTRIES + 1, FILES + 1, DIRECTORIES, BYTES + 5)


BOMB = gzip.compress(bytes(100_000_000), 1)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(journal(), id="not packed"),
        pytest.param(zlib.compress(journal()), id="zlib, not gzip"),
        pytest.param(packed()[:-1], id="cut"),
        pytest.param(packed()[:30], id="cut early"),
        pytest.param(packed() + b"\0", id="a byte more"),
        pytest.param(packed() + packed(), id="a second member"),
        pytest.param(packed() + gzip.compress(b""), id="a second member without content"),
        pytest.param(packed(journal()[:-1]), id="the last entry is cut"),
        pytest.param(packed(journal() + b"\x80"), id="a length is cut"),
        pytest.param(packed(journal() + b"\0"), id="an entry of nothing"),
        pytest.param(packed(journal() + b"\xff" * 10), id="a length of ten bytes"),
        pytest.param(packed(journal() + b"\xff\xff\xff\xff\x7f"), id="an entry of 32 GB"),
        pytest.param(packed(journal() + delimited(b"\x5a\x7f")), id="no journal entry"),
        pytest.param(BOMB, id="100 MB of zeros in 0.4 MB"),
        pytest.param(packed(delimited(folder(0, -1, "")) * 9), id="without the dataset"),
        pytest.param(packed(delimited(folder(0, -1, "")) + delimited(folder(1, 7, "dataset"))), id="it is elsewhere"),
        pytest.param(packed(b""), id="no entries"),
    ],
)
def test_damage_is_found(data: bytes) -> None:
    """Whatever is not one whole gzip member of journal entries is no backup."""
    with pytest.raises(Damaged):
        scan(io.BytesIO(data), "/dataset", untold)


@pytest.mark.parametrize("path", ["/", "/dataset", "/dataset/d1"])
def test_a_directory_above_the_dataset_that_is_there_twice_is_damage(path: str) -> None:
    """No master writes one; so of those above it no more are kept in memory than the path has parts."""
    parts = [folder(9, -1, ""), folder(9, 0, "dataset"), folder(9, 1, "d1")]
    for again in parts[: len([*filter(None, path.split("/"))]) + 1]:
        with pytest.raises(Damaged, match="twice"):
            scan(io.BytesIO(packed(journal() + delimited(again))), path, untold)
    assert read(packed(journal() + delimited(folder(9, 3, "d1"))), path)


def test_what_follows_is_found_also_where_a_read_ends_with_the_member() -> None:
    """There is then nothing behind its end in what was read together with it."""

    class TwoReads(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size if self.tell() else len(packed()))

    for more in (b"x", packed()):
        with pytest.raises(Damaged, match="follows"):
            scan(TwoReads(packed() + more), "/dataset", untold)


def test_every_cut_and_every_flipped_byte_is_found() -> None:
    """gzip's own sum finds it, or where it stands in for nothing, the manifest's."""
    whole = packed(journal(3))
    expected = read(whole)
    for size in range(len(whole)):
        with pytest.raises(Damaged):
            scan(io.BytesIO(whole[:size]), "/dataset", untold)
    for position in range(10, len(whole)):  # before that are time and system, which mean nothing
        data = whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :]
        with pytest.raises(Damaged):
            assert read(data) == expected


def test_memory_does_not_grow_with_the_file() -> None:
    """20 MB of journal are read in less than 8 MB, a bomb as well."""
    data = packed(journal(20_000, padding=1000))
    tracemalloc.start()
    try:
        assert read(data)[1] == 20_000
        with pytest.raises(Damaged):
            scan(io.BytesIO(BOMB), "/dataset", untold)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


def check(claim: Path, path: str = PATH, pin: str = "") -> str:
    """Return why a backup is refused, "" if it is not."""
    try:
        with Directory(str(claim)) as directory, volume("It", written=False):
            verify(directory, path, pin, watch())
    except BackupError as error:
        return error.reason
    return ""


def test_a_backup_that_was_taken_is_whole_and_its_pin_fits(tmp_path: Path) -> None:
    """The facts are those of the file."""
    taken(tmp_path)
    before = tree(tmp_path)
    shown: list[Progress] = []
    with Directory(str(tmp_path)) as claim:
        facts = verify(claim, PATH, "", watch(shown=shown))
    assert (facts.entries, facts.files, facts.directories, facts.bytes) == (ENTRIES, FILES, DIRECTORIES, BYTES)
    assert (facts.size_bytes, facts.checksum) == (len(packed()), sha256(packed()))
    assert facts.manifest_sha256 == sha256((tmp_path / PATH / "manifest.json").read_bytes())
    assert check(tmp_path, pin=facts.manifest_sha256) == ""
    assert check(tmp_path, pin="sha256:" + "0" * 64) == "ManifestChanged"
    assert tree(tmp_path) == before
    assert [each.message for each in shown] == ["reading backup: 0 of 0 MB"]


def test_what_is_missing_is_told_from_what_is_not_finished(tmp_path: Path) -> None:
    """And where a person has written the wrong directory, the message names backups that are near."""
    directory = taken(tmp_path)
    assert check(tmp_path, "sub/imagenet/other") == "BackupMissing"
    assert check(tmp_path, "sub/imagenet") == "BackupIncomplete"
    directory.rename(directory.with_name(".nightly-1a2b3c4d.partial"))
    assert check(tmp_path, "sub/imagenet/.nightly-1a2b3c4d.partial") == "BackupIncomplete"


@pytest.mark.parametrize("wrong", ["sub", "sub/imagenet", "sub/imagenet/nigthly", "sub/imagnet/nightly-1a2b3c4d"])
def test_a_wrong_directory_is_answered_with_the_backups_near_it(tmp_path: Path, wrong: str) -> None:
    """At most five, the newest of a schedule."""
    for number in range(8):
        directory = taken(tmp_path)
        directory.rename(directory.with_name(f"nightly-2026112{number}-1a2b3c4d"))
    taken(tmp_path).rename(tmp_path / "sub/imagenet/.hidden")
    with Directory(str(tmp_path)) as claim, pytest.raises(BackupError) as caught:
        verify(claim, wrong, "", watch())
    names = [f"sub/imagenet/nightly-2026112{number}-1a2b3c4d" for number in range(3, 8)]
    assert f"holds: {', '.join(names)}." in caught.value.message


def test_nothing_is_read_through_a_link_a_pipe_or_a_device(tmp_path: Path) -> None:
    """A claim is written by others: what leads out of it is refused, and a pipe keeps nobody waiting."""
    elsewhere, claim = tmp_path / "elsewhere", tmp_path / "claim"
    whole = taken(elsewhere)
    here = claim / PATH
    here.parent.mkdir(parents=True)
    here.symlink_to(whole)
    assert check(claim) == "BackupForeign"
    here.unlink()
    for name in ("manifest.json", "metadata.gz"):
        for make in (
            lambda path, name=name: path.symlink_to(whole / name),
            lambda path: os.mkfifo(path),
            lambda path: path.mkdir(),
        ):
            taken(claim)
            (here / name).unlink()
            make(here / name)
            assert check(claim) == "BackupForeign"
            shutil.rmtree(here)
    (claim / "sub").rename(claim / "real")
    (claim / "sub").symlink_to("real")
    assert check(claim) == "BackupForeign"


def test_reading_ends_when_the_job_is_told_to_end(tmp_path: Path) -> None:
    """SIGTERM sets an event that is looked at after each piece."""
    taken(tmp_path)
    told = watch()
    told.terminate()
    with Directory(str(tmp_path)) as claim, pytest.raises(StepError) as caught:
        verify(claim, PATH, "", told)
    assert caught.value.code is Exit.TERMINATED


def test_two_hundred_random_corruptions_are_refused(tmp_path: Path) -> None:
    """With a pin all of them. Without, all but those of words in the manifest that nothing else in it depends on."""
    for number, claim in enumerate(corruptions(tmp_path, seed=6, count=200)):
        assert not accepted(claim), f"corruption {number}"
