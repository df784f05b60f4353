"""Staging a restore: every backup that must not be restored is refused with its own reason."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controllers.api.job_commands import StageRestore
from fluidctl.backup.errors import BackupError
from fluidctl.backup.stage import discard, stage
from fluidctl.backup.volume import Directory
from tests.backup_crash import crash
from tests.backup_files import COMMAND, DATASET, HASH, PATH, Masters, holding, packed, sha256, taken, tree, watch

RESTORE = StageRestore("owner-1", PATH, HASH, "2.9.6")
OWNED = json.dumps({"owner": "owner-1"}).encode()
STAGED = {"log": b"", "restore": b"", "restore/metadata.gz": packed(), "restore/owner.json": OWNED}


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    taken(tmp_path / "claim")
    return tmp_path / "claim"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


def staged(claim: Path, journal: Path, **change: Any) -> str:
    """Stage; return the reason of a refusal, else the sentence that is said."""
    with Directory(str(claim)) as backup, Directory(str(journal)) as master:
        try:
            return stage(replace(RESTORE, **change), backup, master, watch())[1]
        except BackupError as error:
            return error.reason if error.code.permanent else "it may be tried again"


def discarded(journal: Path, owner: str = "owner-1") -> dict[str, bytes]:
    with Directory(str(journal)) as master:
        discard(owner, master)
    return tree(journal)


def test_the_file_lies_beside_an_empty_journal_for_its_owner_alone(claim: Path, journal: Path) -> None:
    """With the word whose it is; the backup is left as it was."""
    before = tree(claim)
    assert staged(claim, journal) == ""
    assert tree(journal) == STAGED
    assert [oct(path.stat().st_mode)[-3:] for path in sorted((journal / "restore").iterdir())] == ["600", "600"]
    assert tree(claim) == before


def test_it_is_staged_again_over_what_the_same_owner_staged_and_what_came_of_it(claim: Path, journal: Path) -> None:
    """A master that was killed in mid-restore left a part in the journal, which it would serve for the whole."""
    staged(claim, journal)
    (journal / "log" / "FileSystemMaster" / "v1").mkdir(parents=True)
    (journal / "log" / "FileSystemMaster" / "v1" / "0x0-0x5").write_text("a part")
    (journal / "restore" / ".metadata.gz.partial").write_text("cut")
    assert staged(claim, journal) == ""
    assert tree(journal) == STAGED


@pytest.mark.parametrize("of", ["nobody", "another", "nobody readable", "a link", "a list"])
def test_a_journal_that_is_not_of_this_owner_is_never_touched(claim: Path, journal: Path, of: str) -> None:
    """Alluxio would ignore the restore; and what is in it may be somebody's only copy. One that is empty is free."""
    (journal / "restore").mkdir()
    owner = journal / "restore" / "owner.json"
    match of:
        case "another":
            owner.write_text('{"owner": "owner-2"}')
        case "nobody readable":
            owner.write_bytes(b"[" * 9999)
        case "a link":
            (journal / "mine").write_bytes(OWNED)
            owner.symlink_to(journal / "mine")
        case "a list":
            owner.write_text('["owner-1"]')
    (journal / "log").mkdir()
    (journal / "log" / "_format_1").touch()
    before = tree(journal)
    assert staged(claim, journal) == "JournalNotEmpty"
    assert discarded(journal) == before

    (journal / "log" / "_format_1").unlink()
    assert staged(claim, journal) == ""
    assert {name: data for name, data in tree(journal).items() if name != "mine"} == STAGED


def test_links_in_the_journals_claim_are_not_followed(claim: Path, journal: Path, tmp_path: Path) -> None:
    """What they lead to stays as it is."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    for name in ("log", "restore"):
        (journal / name).symlink_to(elsewhere)
        assert staged(claim, journal) == "JournalNotEmpty"
        (journal / name).unlink()
    assert tree(elsewhere) == {"kept": b""}


def test_what_was_staged_is_discarded_with_its_journal_and_that_again(claim: Path, journal: Path) -> None:
    """Then the master starts anew; a Job that was killed before it could say so finds nothing to do."""
    staged(claim, journal)
    (journal / "log" / "v1").mkdir()
    empty = {"log": b"", "restore": b""}
    assert discarded(journal, "owner-2") == STAGED | {"log/v1": b""}
    assert discarded(journal) == discarded(journal) == empty


def edit(claim: Path, **fields: Any) -> None:
    path = claim / PATH / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields, indent=2))


def take_again(claim: Path, outside: dict[str, int | None]) -> None:
    shutil.rmtree(claim / PATH)
    taken(claim, source=holding(outside))


PIN = sha256(b"what was written with the backup")


@pytest.mark.parametrize(
    ("reason", "change", "spoil"),
    [
        ("BackupMissing", {"directory": "sub/imagenet/other"}, None),
        ("BackupIncomplete", {"directory": "sub/imagenet/.nightly-1a2b3c4d.partial"}, None),
        ("BackupIncomplete", {}, lambda claim: (claim / PATH / "manifest.json").unlink()),
        ("BackupIncomplete", {}, lambda claim: (claim / PATH / "metadata.gz").unlink()),
        ("ManifestChanged", {"manifest_sha256": PIN}, lambda claim: edit(claim, formatVersion=9)),
        ("UnknownFormat", {}, lambda claim: edit(claim, formatVersion=9)),
        ("BackupForeign", {"mounts_hash": "other"}, lambda claim: edit(claim, engine="juicefs")),
        ("MountsDiffer", {"mounts_hash": "other", "engine_version": "2.8.0"}, None),
        ("BackupNewer", {"engine_version": "2.8.9", "checksum": PIN}, None),
        ("BackupNewer", {}, lambda claim: edit(claim, engineVersion="2.10.0")),
        ("BackupNewer", {}, lambda claim: edit(claim, engineVersion="3.0.0")),
        ("BackupTooOld", {}, lambda claim: edit(claim, engineVersion="1.8.2")),
        ("ChecksumMismatch", {"checksum": PIN}, lambda claim: (claim / PATH / "metadata.gz").write_bytes(b"")),
        ("BackupTruncated", {}, lambda claim: (claim / PATH / "metadata.gz").write_bytes(packed()[:-1])),
        ("BackupCorrupt", {}, lambda claim: (claim / PATH / "metadata.gz").write_bytes(packed() + b"x")),
        ("BackupCorrupt", {}, lambda claim: edit(claim, entryCount=89)),
        ("BackupCorrupt", {}, lambda claim: edit(claim, files=39)),
        ("OutsideDataset", {}, lambda claim: take_again(claim, {"/other": None})),
        ("OutsideDataset", {}, lambda claim: take_again(claim, {"/file": 0})),
    ],
)
def test_each_defect_has_its_reason_and_of_two_the_earlier_is_said(
    claim: Path, journal: Path, reason: str, change: dict[str, Any], spoil: Any
) -> None:
    """In the order in which a person would mend them; nothing is staged."""
    if spoil is not None:
        spoil(claim)
    assert staged(claim, journal, **change) == reason
    assert "restore/metadata.gz" not in tree(journal)
    assert "restore/.metadata.gz.partial" not in tree(journal)


def test_a_backup_of_an_older_2x_is_restored_and_that_is_said(claim: Path, journal: Path) -> None:
    """A master whose version nobody knows gets any; one of the same minor needs no words."""
    edit(claim, engineVersion="2.3.0")
    assert staged(claim, journal) == "Alluxio 2.3.0 wrote it, 2.9.6 reads it."
    edit(claim, engineVersion="2.9.9")
    assert staged(claim, journal) == ""
    edit(claim, engineVersion="2.99.0")
    assert staged(claim, journal, engine_version="") == ""


def test_the_pins_of_the_backup_that_was_taken_fit(claim: Path, journal: Path) -> None:
    """Also after the directory was copied under another name."""
    manifest = (claim / PATH / "manifest.json").read_bytes()
    shutil.copytree(claim / PATH, claim / "copy")
    pins = {"manifest_sha256": sha256(manifest), "checksum": sha256(packed())}
    assert staged(claim, journal, directory="copy", **pins) == ""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("used", [False, True], ids=["empty", "staged before"])
def test_a_crash_at_any_moment_is_followed_by_an_attempt_that_ends_the_same(
    tmp_path: Path, claim: Path, after: bool, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that has its name is whole and says whose it is, or a master would start from it."""
    other = taken(tmp_path / "other", replace(COMMAND, dataset=DATASET | {"path": "/"}), Masters(packed()))
    for at in range(1, 100):
        journal = tmp_path / f"journal-{at}"
        journal.mkdir()
        if used:
            assert staged(tmp_path / "other", journal) == ""
            (journal / "log" / "v1").mkdir()
        crashed = crash(monkeypatch, lambda journal=journal: staged(claim, journal), at, after=after)
        left = tree(journal)
        if "restore/metadata.gz" in left or "log/v1" in left:
            assert left["restore/owner.json"] == OWNED
        assert left.get("restore/metadata.gz", packed()) == packed()
        assert staged(claim, journal) == ""
        assert tree(journal) == STAGED

        crash(monkeypatch, lambda journal=journal: discarded(journal), at, after=after)
        assert discarded(journal) == {"log": b"", "restore": b""}
        if not crashed:
            break
    assert other.exists()
    assert 8 < at < 99
