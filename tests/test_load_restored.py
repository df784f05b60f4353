"""The count of a restored master: held against what the backup promises, without a request to the storage."""

from pathlib import Path
from typing import Any

import pytest

from controllers.api.command import Mount
from controllers.api.result import Exit, Result, Totals
from devcluster.master import AlluxioMaster
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods
from fluidctl.load.main import main
from tests.load_kit import Answer, Steps, intercept, odd_tree, truth


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    odd_tree(tmp_path / "tree")
    return tmp_path / "tree"


def count(steps: Steps, expected: Totals, **changes: Any) -> tuple[Result, Exit]:
    return steps.run("size", expected=expected, **changes)


def test_a_master_that_holds_exactly_what_was_promised_is_proved_to_be_restored(steps: Steps, tree: Path) -> None:
    """Odd names, deep, wide and empty directories."""
    steps.run("load")
    result, code = count(steps, truth(tree))

    assert (code, result.reason, result.proved) == (Exit.COMPLETE, "Restored", True)
    assert result.totals == truth(tree)


@pytest.mark.parametrize("off", [Totals(1, 0, 0), Totals(0, 1, 0), Totals(0, 0, 1)], ids=["file", "directory", "byte"])
@pytest.mark.parametrize("sign", [1, -1], ids=["less", "more"])
def test_one_file_directory_or_byte_more_or_less_is_a_mismatch(
    steps: Steps, tree: Path, off: Totals, sign: int
) -> None:
    """And it says what was promised, and what was found."""
    steps.run("load")
    is_ = truth(tree)
    wanted = Totals(
        is_.files + sign * off.files, is_.directories + sign * off.directories, is_.bytes + sign * off.bytes
    )
    result, code = count(steps, wanted)

    assert (code, result.reason, result.proved) == (Exit.RESTORE_MISMATCH, "RestoreMismatch", False)
    assert f"{is_.files:,} files" in result.message
    assert f"{wanted.files:,} files" in result.message


def test_a_part_of_a_namespace_is_a_mismatch_and_is_not_completed_from_the_storage(
    steps: Steps, master: AlluxioMaster, tree: Path
) -> None:
    """What a master holds that was killed while it restored; a count of another kind would load the rest."""
    steps.run("load", "/wide")
    before = master.metrics()
    _, code = count(steps, truth(tree))

    assert code is Exit.RESTORE_MISMATCH
    assert master.metrics() == before


def test_no_listing_reaches_the_storage(steps: Steps, master: AlluxioMaster, tree: Path) -> None:
    """Every request says NEVER."""
    steps.run("load")
    seen: list[int] = []

    def note(request: Any, answer: Answer) -> Any:
        seen.append(request.options.loadMetadataType)
        return answer(request)

    intercept(master, methods.LIST_STATUS, note)
    intercept(master, methods.GET_STATUS, note)
    before = master.metrics()
    count(steps, truth(tree))

    assert len(seen) > truth(tree).directories
    assert set(seen) == {pb.NEVER}
    assert master.metrics() == before


def test_a_master_that_does_not_know_the_dataset_at_all_is_a_mismatch_and_not_a_wrong_path(
    steps: Steps, tree: Path
) -> None:
    """The same input does not fail again: the backup is staged anew."""
    result, code = count(steps, truth(tree), path="/gone")

    assert code is Exit.RESTORE_MISMATCH
    assert "holds 0 files" in result.message


def test_a_master_without_the_mounts_of_the_dataset_is_told_so(steps: Steps, tree: Path) -> None:
    """They are mounted again before anything is counted."""
    _, code = count(steps, truth(tree), mounts=(Mount("/", "s3://another/place"),))

    assert code is Exit.MOUNT_MISSING


def test_the_command_line_says_what_is_expected(
    master: AlluxioMaster, steps: Steps, tree: Path, tmp_path: Path
) -> None:
    """As the controller writes it."""
    steps.run("load")
    whole = truth(tree)
    base = ["size", f"--master=127.0.0.1:{master.port}", "--path=/", f"--spill-path={tmp_path / 's'}"]
    told = [f"--expect-files={whole.files}", f"--expect-directories={whole.directories}"]
    out = f"--result-path={tmp_path / 'result'}"

    assert main([*base, *told, f"--expect-bytes={whole.bytes}", out]) == Exit.COMPLETE
    assert Result.from_json((tmp_path / "result").read_text()).reason == "Restored"
    assert main([*base, *told, "--expect-bytes=0", out]) == Exit.RESTORE_MISMATCH
