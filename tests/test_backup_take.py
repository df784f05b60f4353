"""Taking and deleting backups: whatever happens at whichever moment, there is never half a backup under its name."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controllers.api.result import Exit
from fluidctl.backup.delete import delete
from fluidctl.backup.errors import BackupError, volume
from fluidctl.backup.master import failure, readable
from fluidctl.backup.take import Written, take
from fluidctl.backup.verify import verify
from fluidctl.backup.volume import Directory
from fluidctl.load.errors import Halted
from tests.backup_crash import crash
from tests.backup_files import BACKUP, COMMAND, ENTRIES, NOW, PATH, Masters, holding, packed, taken, tree, watch

PARTIAL = "sub/imagenet/.nightly-1a2b3c4d.partial"


def whole_or_hidden(claim: Path) -> None:
    """Assert that every directory of a backup has a valid manifest and file, or a dot before its name."""
    place = claim / "sub/imagenet"
    for directory in place.iterdir() if place.exists() else ():
        if not directory.name.startswith("."):
            with Directory(str(claim)) as opened:
                assert verify(opened, f"sub/imagenet/{directory.name}", "", watch()).entries == ENTRIES


def remove(claim: Path, path: str = PATH, uid: str = "", *, partial_only: bool = False) -> None:
    with Directory(str(claim)) as directory:
        delete(directory, path, uid, partial_only=partial_only)


def why(claim: Path, source: Any = None, **command: Any) -> str:
    """Return the reason for which a backup is not taken."""
    with pytest.raises(BackupError) as caught, volume("It", written=True):
        taken(claim, replace(COMMAND, **command), source)
    return caught.value.reason


def test_a_backup_is_two_files_for_its_owner_alone(tmp_path: Path) -> None:
    """A backup holds the credentials of its mounts."""
    directory = taken(tmp_path)
    assert set(tree(tmp_path)) == {"sub", "sub/imagenet", PATH, f"{PATH}/manifest.json", f"{PATH}/metadata.gz"}
    assert [(each.name, oct(each.stat().st_mode)[-3:]) for each in sorted(directory.iterdir())] == [
        ("manifest.json", "600"),
        ("metadata.gz", "600"),
    ]
    assert oct(directory.stat().st_mode)[-3:] == "700"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_moment_leaves_nothing_half_and_the_next_attempt_ends_the_same(
    tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each write to the volume; then once more, with what the crash left."""
    taken(tmp_path / "model")
    wanted = tree(tmp_path / "model")
    for at in range(1, 100):
        claim = tmp_path / "claim"
        claim.mkdir()
        crashed = crash(monkeypatch, lambda claim=claim: taken(claim), at, after=after)
        whole_or_hidden(claim)
        taken(claim)
        assert tree(claim) == wanted
        shutil.rmtree(claim)
        if not crashed:
            break
    assert 10 < at < 99


def test_an_attempt_after_one_that_finished_gives_its_result_and_asks_no_master(tmp_path: Path) -> None:
    """A Job may die between the rename and its last word."""
    taken(tmp_path)
    before, source = tree(tmp_path), Masters()
    (tmp_path / PARTIAL).mkdir()  # of an attempt that ran beside it
    taken(tmp_path, source=source)
    assert (tree(tmp_path), source.asked) == (before, 0)


def test_a_directory_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    """It is another backup, a damaged one, a file, or a link."""
    here = taken(tmp_path)
    assert why(tmp_path, backup=BACKUP | {"uid": "other"}) == "DirectoryTaken"
    (here / "metadata.gz").write_bytes(packed()[:-1])
    assert why(tmp_path) == "DirectoryTaken"
    shutil.rmtree(here)
    for make in (Path.mkdir, Path.touch, lambda path: path.symlink_to(tmp_path)):
        make(here)
        before = tree(tmp_path)
        assert why(tmp_path) == "DirectoryTaken"
        assert tree(tmp_path) == before
        here.rmdir() if here.is_dir() and not here.is_symlink() else here.unlink()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(Masters(packed()[:-1]), id="cut"),
        pytest.param(Masters(packed() + packed()), id="two members"),
        pytest.param(Masters(entries=ENTRIES + 1), id="an entry is missing"),
        pytest.param(Masters(packed(b"\x05\x1a\x03\x08\xe0\x0b"), entries=1), id="without the dataset"),
    ],
)
def test_what_is_not_what_the_master_says_it_wrote_is_damaged(tmp_path: Path, source: Masters) -> None:
    """Some backups of Alluxio were corrupt, and nobody found out before they were needed."""
    assert why(tmp_path, source) == "BackupDamaged"
    assert set(tree(tmp_path)) == {"sub", "sub/imagenet"}


OUTSIDE = {"/other": None, "/other/deep": None, "/dataset2": None, "/file": 7}
MANAGED = {"agent": "http://agent"}


def test_what_could_not_be_restored_with_the_dataset_is_refused_for_good_and_leaves_nothing(tmp_path: Path) -> None:
    """A restored master is counted from the dataset on. The message says what it is and how it goes."""
    with pytest.raises(BackupError) as caught:
        taken(tmp_path, replace(COMMAND, **MANAGED), holding(OUTSIDE))
    assert (caught.value.reason, caught.value.code) == ("OutsideDataset", Exit.BACKUP_REFUSED)
    assert all(path in caught.value.message for path in ("/other", "/dataset2", "/file", "alluxio fs rm -R"))
    assert "/other/deep" not in caught.value.message
    assert set(tree(tmp_path)) == {"sub", "sub/imagenet"}
    for each in OUTSIDE:
        alone = {path: length for path, length in OUTSIDE.items() if each.startswith(path)}
        assert why(tmp_path, holding(alone), **MANAGED) == "OutsideDataset"
    assert why(tmp_path, holding({f"/d{n}": None for n in range(9)}), **MANAGED) == "OutsideDataset"
    taken(tmp_path, replace(COMMAND, **MANAGED), holding({}))
    assert (tmp_path / PATH).exists()


def test_of_an_alluxio_that_somebody_else_runs_a_backup_holds_all(tmp_path: Path) -> None:
    """On purpose; it can be verified, and is not restored into an Alluxio of the dataset's own."""
    taken(tmp_path, source=holding(OUTSIDE))
    with Directory(str(tmp_path)) as claim:
        assert verify(claim, PATH, "", watch()).files == 2


def failing(number: int) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "reason", "code"),
    [
        (errno.ENOSPC, "NoSpace", Exit.NO_SPACE),
        (errno.EDQUOT, "NoSpace", Exit.NO_SPACE),
        (errno.EROFS, "ReadOnlyVolume", Exit.READ_ONLY_VOLUME),
        (errno.EACCES, "VolumeNotWritable", Exit.VOLUME_FAILED),
        (errno.EIO, "VolumeFailed", Exit.VOLUME_FAILED),
        (errno.ESTALE, "VolumeFailed", Exit.VOLUME_FAILED),
    ],
)
def test_an_error_of_the_volume_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str, code: Exit
) -> None:
    """With an exit code for each kind that a person answers in another way."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fadvise", failing(number))
        with pytest.raises(BackupError) as caught, volume("The claim", written=True):
            taken(tmp_path)
    assert (caught.value.reason, caught.value.code) == (reason, code)
    assert "The claim" in caught.value.message
    assert set(tree(tmp_path)) == {"sub", "sub/imagenet"}


def test_where_cleaning_up_fails_too_the_first_error_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next attempt removes what stayed."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fadvise", failing(errno.ENOSPC))
        patch.setattr(os, "unlink", failing(errno.EIO))
        assert why(tmp_path) == "NoSpace"
    assert (tmp_path / PARTIAL).is_dir()
    taken(tmp_path)
    assert not (tmp_path / PARTIAL).exists()


def test_an_attempt_whose_place_another_took_gives_nothing_a_name(tmp_path: Path) -> None:
    """A node that was lost may come back while the attempt that replaced it is at work."""

    class Overtaken(Masters):
        def bring(self, partial: Directory) -> Written:
            (tmp_path / PARTIAL).rename(tmp_path / "away")
            (tmp_path / PARTIAL).mkdir()
            return super().bring(partial)

    assert why(tmp_path, Overtaken()) == "AnotherAttempt"
    whole_or_hidden(tmp_path)
    assert not (tmp_path / PATH).exists()


def test_an_attempt_whose_place_another_took_removes_nothing_of_it(tmp_path: Path) -> None:
    """The kubelet of a node that comes back ends what runs there: the attempt that runs now must not feel it."""

    class Thawed(Masters):
        def bring(self, partial: Directory) -> Written:
            (tmp_path / PARTIAL).rename(tmp_path / "away")
            (tmp_path / PARTIAL).mkdir()
            (tmp_path / PARTIAL / "metadata.gz").write_bytes(b"of the next attempt")
            raise Halted

    with pytest.raises(Halted):
        taken(tmp_path, source=Thawed())
    assert (tmp_path / PARTIAL / "metadata.gz").read_bytes() == b"of the next attempt"


def test_a_link_in_the_place_of_what_is_made_is_not_followed(tmp_path: Path) -> None:
    """What is removed and written stays in the claim."""
    claim, outside = tmp_path / "claim", tmp_path / "outside"
    (claim / "sub/imagenet").mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (claim / PARTIAL).symlink_to(outside)
    taken(claim)
    remove(claim)
    (claim / PARTIAL).mkdir()
    (claim / PARTIAL / "link").symlink_to(outside)
    remove(claim)
    assert tree(tmp_path / "outside") == {"kept": b"kept"}
    assert set(tree(claim)) == {"sub", "sub/imagenet"}


def test_told_to_stop_it_leaves_nothing(tmp_path: Path) -> None:
    """Whatever ends an attempt removes what it began."""

    class Told(Masters):
        def bring(self, partial: Directory) -> Written:
            super().bring(partial)
            raise Halted

    with pytest.raises(Halted):
        taken(tmp_path, source=Told())
    assert set(tree(tmp_path)) == {"sub", "sub/imagenet"}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_deletion_that_dies_leaves_nothing_half_and_is_repeated(
    tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being deleted loses its name first."""
    for at in range(1, 100):
        claim = tmp_path / str(at)
        taken(claim)
        (claim / PARTIAL).mkdir()
        (claim / PARTIAL / "metadata.gz").touch()
        crashed = crash(monkeypatch, lambda claim=claim: remove(claim), at, after=after)
        whole_or_hidden(claim)
        remove(claim)
        assert set(tree(claim)) == {"sub", "sub/imagenet"}
        if not crashed:
            break
    assert 5 < at < 99


def test_only_what_was_not_finished_is_removed_where_that_is_asked(tmp_path: Path) -> None:
    """And what is gone already is as good, with or without the directories above it."""
    taken(tmp_path)
    before = tree(tmp_path)
    (tmp_path / PARTIAL).mkdir()
    remove(tmp_path, partial_only=True)
    assert tree(tmp_path) == before
    for path in ("sub/imagenet/no-1a2b3c4d", "no/such/no-1a2b3c4d"):
        remove(tmp_path, path)
    assert tree(tmp_path) == before


def test_nothing_but_the_directory_of_a_backup_is_deleted(tmp_path: Path) -> None:
    """One of any name needs a manifest; one with the first digits of a uid may have lost it; a link is none."""
    here = taken(tmp_path)
    named = here.rename(here.with_name("copy"))
    remove(tmp_path, "sub/imagenet/copy")
    assert not named.exists()
    other = taken(tmp_path / "other")
    for path, make in {
        "sub": Path.exists,
        "sub/imagenet": Path.exists,
        "sub/link-1a2b3c4d": lambda path: path.symlink_to(other),
        "sub/file-1a2b3c4d": Path.touch,
        "sub/link-1a2b3c4d/inner-1a2b3c4d": Path.is_symlink,
    }.items():
        make(tmp_path / path)
        before = tree(tmp_path)
        with pytest.raises(BackupError) as caught:
            remove(tmp_path, path)
        assert caught.value.reason == "NotABackup"
        assert tree(tmp_path) == before
    (other / "manifest.json").unlink()
    remove(tmp_path / "other")
    assert not other.exists()


def test_a_backup_is_deleted_for_its_own_databackup_alone(tmp_path: Path) -> None:
    """Anybody may name a directory: the manifest says whose it is, and where that is unreadable the name."""
    here = taken(tmp_path)
    before = tree(tmp_path)
    for uid in ("1a2b3c4d-9999", "ffffffff-0000"):
        with pytest.raises(BackupError) as caught:
            remove(tmp_path, uid=uid)
        assert (caught.value.reason, tree(tmp_path)) == ("NotABackup", before)
    remove(tmp_path, uid=BACKUP["uid"])
    assert not here.exists()

    damaged = taken(tmp_path)
    (damaged / "manifest.json").write_bytes(b"{")
    with pytest.raises(BackupError):
        remove(tmp_path, uid="ffffffff-0000")
    remove(tmp_path, uid=BACKUP["uid"])
    assert not damaged.exists()


JAVA = (
    b"xpsr\0\x13java.io.IOExceptionxq\0~\0\nt\0\x0ain the wayxt\0\x15alluxio.master.backup"
    b"t\0\x1eFailed to create directory /\xc3\xa4xt\0\x03app"
)


def test_of_a_failed_backup_the_readable_part_of_javas_exception_is_said() -> None:
    """Its message and its first cause's; and where that says that a volume is full or read-only, it is named so."""
    assert readable(JAVA) == "Failed to create directory /ä: in the way"
    assert [readable(data) for data in (b"", b"t", b"t\xff\xffa b", os.urandom(3))] == ["", "", "", ""]
    assert failure(readable(JAVA)).reason == "BackupFailed"
    assert failure("x: No space left on device").code is Exit.NO_SPACE
    assert failure("Read-only file system").code is Exit.READ_ONLY_VOLUME
    assert "does not say why" in failure("").message


def test_the_time_in_the_manifest_is_that_of_the_end(tmp_path: Path) -> None:
    """And the master's version is the one that wrote."""
    with Directory(str(tmp_path)) as claim:
        facts = take(COMMAND, claim, Masters(version="2.8.1"), watch(), lambda: NOW)
    assert (facts.created_at, facts.engine_version, facts.directory) == (NOW, "2.8.1", PATH)
