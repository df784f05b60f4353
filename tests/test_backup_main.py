"""The processes of the Jobs around backups: what the controller builds they understand, and they say how they end."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from controllers.api import job_commands as jobs
from controllers.api.result import Exit, Result
from fluidctl.backup.main import _parser, main
from tests.backup_files import BACKUP, BYTES, DATASET, DIRECTORIES, ENTRIES, FILES, HASH, PATH, taken, tree

COMMANDS = [
    jobs.TakeBackup(("a:1", "b:2"), PATH, DATASET, BACKUP, "http://a:19997", no_progress_seconds=7, result_path="/r"),
    jobs.TakeBackup(("a:1",), PATH, DATASET | {"path": "/ünï \n$(x)"}, BACKUP, "", "/backups"),
    jobs.VerifyBackup(PATH, "sha256:ab"),
    jobs.VerifyBackup(PATH),
    jobs.DeleteBackup(PATH, True),
    jobs.DeleteBackup("a/--odd name/b"),
    jobs.DeleteBackup(PATH, backup_uid="1a2b3c4d-0000"),
    jobs.StageRestore("uid", PATH, HASH, "2.9.6", "sha256:ab", "sha256:cd"),
    jobs.StageRestore("uid", PATH),
    jobs.StageRestore("uid", discard=True),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.argv()[0])
def test_what_the_controller_builds_is_understood(command: Any) -> None:
    """Every option arrives as it was meant."""
    options = vars(_parser().parse_args(command.argv()))
    assert options.pop("step") == command.argv()[0]
    assert tuple(options.pop("master", ())) == getattr(command, "masters", ())
    for name, value in vars(command).items():
        if name != "masters":
            assert (options[name] or type(value)()) == value, name


@pytest.mark.parametrize(
    "directory", ["", "/", "/etc", "a//b", "../x", "a/../b", "a/..", "./a", "a/", "a\0b"], ids=repr
)
def test_a_directory_that_might_lead_out_of_the_claim_is_refused(directory: str) -> None:
    """With the code of an argv that is wrong, before anything is opened."""
    assert main(["verify-backup", f"--directory={directory}", "--claim-path=/nowhere"]) == Exit.USAGE


@pytest.mark.parametrize(
    "argv",
    [
        ["take-backup", "--directory=a/b", "--master=a:1", "--dataset={}", "--backup={}"],
        ["take-backup", "--directory=a/b", "--master=a:1", "--dataset=[]", "--backup={}", "--agent=http://a:1"],
        ["stage-restore", "--owner=a", "--directory=a/b", "--engine-version=latest"],
        ["stage-restore", "--directory=a/b"],
    ],
)
def test_what_cannot_be_meant_is_refused(argv: list[str]) -> None:
    """No source, no object, no version, no owner."""
    assert main(argv) == Exit.USAGE


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, Result]:
    code = main(argv)
    return code, Result.from_json(capsys.readouterr().out.splitlines()[-1])


def test_a_job_says_how_it_ended_on_stdout_and_where_kubernetes_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what the backup is; a failure with its reason and a sentence that says what to do."""
    taken(tmp_path / "claim")
    where = [f"--claim-path={tmp_path}/claim", f"--result-path={tmp_path}/result"]
    code, result = run(capsys, "verify-backup", f"--directory={PATH}", *where)
    assert (code, result.step, result.reason) == (0, "verify-backup", "Complete")
    assert result.backup is not None
    assert result.totals is not None
    assert (result.backup.entries, result.backup.directory) == (ENTRIES, PATH)
    assert (result.totals.files, result.totals.directories, result.totals.bytes) == (FILES, DIRECTORIES, BYTES)
    assert Result.from_json((tmp_path / "result").read_text()) == result

    (tmp_path / "claim" / PATH / "metadata.gz").write_bytes(b"")
    code, result = run(capsys, "verify-backup", f"--directory={PATH}", *where)
    assert (code, result.reason, result.backup) == (Exit.BACKUP_REFUSED, "BackupTruncated", None)
    assert json.loads((tmp_path / "result").read_text())["reason"] == "BackupTruncated"


def test_each_job_works_where_its_volumes_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Staged, discarded, deleted; a claim that is not mounted is named."""
    taken(tmp_path / "claim")
    (tmp_path / "journal").mkdir()
    where = [f"--claim-path={tmp_path}/claim", f"--result-path={tmp_path}/result"]
    staging = ["stage-restore", "--owner=u", f"--journal-path={tmp_path}/journal", *where]
    assert run(capsys, *staging, f"--directory={PATH}", "--engine-version=2.10.1") == (
        0,
        Result.from_json((tmp_path / "result").read_text()),
    )
    assert (tmp_path / "journal" / "restore" / "metadata.gz").exists()
    assert run(capsys, *staging, "--discard")[0] == 0
    assert set(tree(tmp_path / "journal")) == {"log", "restore"}
    assert run(capsys, "delete-backup", f"--directory={PATH}", *where)[0] == 0
    assert not (tmp_path / "claim" / PATH).exists()
    code, result = run(capsys, "delete-backup", f"--directory={PATH}", where[1], f"--claim-path={tmp_path}/none")
    assert (code, result.reason) == (Exit.VOLUME_FAILED, "VolumeFailed")


def test_names_that_are_no_text_do_not_make_a_result_unreadable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A claim holds what others write; the controller takes no half characters."""
    taken(tmp_path).rename(os.fsdecode(os.fsencode(tmp_path) + b"/sub/imagenet/\xff\n-1a2b3c4d"))
    where = [f"--claim-path={tmp_path}", "--result-path=/dev/null"]
    code, result = run(capsys, "verify-backup", f"--directory={PATH}", *where)
    assert (code, result.reason) == (Exit.BACKUP_REFUSED, "BackupMissing")
    assert "sub/imagenet/?" in result.message


def test_a_bug_is_a_result_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller reads one of every Job, and tries it again."""
    monkeypatch.setattr("fluidctl.backup.main.verify", lambda *_: 1 / 0)
    code, result = run(capsys, "verify-backup", "--directory=a", f"--claim-path={tmp_path}", "--result-path=/dev/null")
    assert (code, result.reason) == (Exit.INTERNAL, "Internal")
