"""The contract between a Job and the controller: what one writes the other reads, and nothing forged gets through."""

import json
from dataclasses import replace
from typing import Any

import pytest

from controllers.api.command import Mount, StepCommand
from controllers.api.result import MAX_RESULT_BYTES, Changes, Exit, Master, Progress, Result, Totals, describe

FULL = Result(
    "size",
    "Counted",
    message="Counted, and proved to be complete.",
    totals=Totals(3, 1, 2**60),
    master=Master("m:19998", "2.9.6", "cluster", 1_700_000_000_000),
    method="SyncMetadata",
    proved=True,
    failed_directories=("/a%FF", "/b"),
    failed_count=7,
    loaded_by_size=2,
    seconds=1.5,
    evidence="{}",
    changes=Changes(7, 103, 3),
)


def test_a_result_reads_back_as_it_was_written() -> None:
    """Every field; so does the smallest one."""
    assert Result.from_json(FULL.to_json()) == FULL
    assert Result.from_json(Result("load", "Loaded").to_json()) == Result("load", "Loaded")


def test_a_progress_line_reads_back_as_it_was_written() -> None:
    """One line, no line feed."""
    line = Progress("load", 1, 2, 3, 4, 5.5, "words\nand more", 6.0).to_json()

    assert "\n" not in line
    assert Progress.from_json(line) == Progress("load", 1, 2, 3, 4, 5.5, "words\nand more", 6.0)


def test_a_result_fits_into_a_termination_message_whatever_the_names_are() -> None:
    """Names are dropped first; how many there were stays."""
    long = replace(FULL, failed_directories=tuple(f"/{index}" + "\u00e9" * 400 for index in range(50)), failed_count=50)

    text = long.to_json()

    assert len(text.encode()) <= MAX_RESULT_BYTES
    assert Result.from_json(text).failed_count == 50
    assert len(replace(long, message="m" * 9000).to_json().encode()) <= MAX_RESULT_BYTES


def test_a_reader_ignores_what_a_later_release_adds() -> None:
    """Release N reads what release N+1 writes, and the other way round."""
    data = json.loads(FULL.to_json()) | {"v": 2, "invented": {"later": 1}}

    assert Result.from_json(json.dumps(data)) == FULL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"v":1}',
        '{"v":1,"step":"load"}',
        "[" * 3_000,
        '{"v":1,"step":"load","reason":5}',
        '{"v":1,"step":"load","reason":"x","totals":[]}',
        '{"v":1,"step":"load","reason":"x","totals":{"files":"abc"}}',
        '{"v":1,"step":"load","reason":"x","totals":{"files":-5}}',
        '{"v":1,"step":"load","reason":"x","totals":{"files":true}}',
        '{"v":1,"step":"load","reason":"x","totals":{"files":1e400}}',
        '{"v":1,"step":"load","reason":"x","totals":{"bytes":9223372036854775808}}',
        '{"v":1,"step":"load","reason":"x","failed_directories":"abc"}',
        '{"v":1,"step":"load","reason":"x","failed_directories":[1]}',
        '{"v":1,"step":"load","reason":"x","proved":"yes"}',
        '{"v":1,"step":"load","reason":"x","seconds":NaN}',
        r'{"v":1,"step":"load","reason":"x","message":"half a character: \ud800"}',
    ],
)
def test_what_is_no_result_is_refused_not_believed(text: str) -> None:
    """ValueError, and nothing else, for whatever a container may write."""
    with pytest.raises(ValueError, match=r".+"):
        Result.from_json(text)
    if "files" not in text:
        return
    with pytest.raises(ValueError, match=r".+"):
        Progress.from_json(json.dumps({"v": 1, "step": "load", "files": "many"}))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, ("Complete", False)),
        (2, ("Usage", True)),
        (10, ("PathNotFound", True)),
        (15, ("NotGrpc", True)),
        (20, ("Unreachable", False)),
        (21, ("Incomplete", False)),
        (137, ("Signal9", False)),
        (255, ("ExitCode255", False)),
    ],
)
def test_every_exit_code_has_a_reason_and_says_whether_a_new_attempt_makes_sense(
    code: int, expected: tuple[str, bool]
) -> None:
    """Ours and everybody else's."""
    assert describe(code) == expected


def test_the_numbers_of_the_exit_codes_are_frozen() -> None:
    """A Job that release N started is read by release N+1."""
    assert {int(code): code.name for code in Exit} == {
        0: "COMPLETE",
        1: "INTERNAL",
        2: "USAGE",
        10: "PATH_NOT_FOUND",
        11: "NOT_A_DIRECTORY",
        12: "PERMISSION_DENIED",
        13: "UNSUPPORTED_MASTER",
        14: "MOUNT_MISSING",
        15: "NOT_GRPC",
        16: "INVALID_PATH",
        17: "BACKUP_REFUSED",
        18: "MOUNT_REFUSED",
        20: "UNREACHABLE",
        21: "INCOMPLETE",
        22: "NO_PROGRESS",
        23: "TERMINATED",
        24: "MASTER_CHANGED",
        25: "SUSPICIOUS_REFRESH",
        26: "NO_SPACE",
        27: "READ_ONLY_VOLUME",
        28: "VOLUME_FAILED",
        29: "BACKUP_FAILED",
        30: "BACKUP_IN_PROGRESS",
        31: "RESTORE_MISMATCH",
    }


def test_the_argv_is_frozen() -> None:
    """The container of release N+1 understands what the controller of release N asks for."""
    command: dict[str, Any] = {
        "step": "load",
        "masters": ("a:1", "b:2"),
        "path": "/p=q r",
        "mounts": (Mount("/m=x", "s3://b/c=d"),),
        "directories": ("/d",),
    }

    assert StepCommand(**command, evidence="{}", accept_unverified=True).argv() == [
        "load",
        "--master=a:1",
        "--master=b:2",
        "--path=/p=q r",
        '--mount=["/m=x", "s3://b/c=d"]',
        "--parallelism=16",
        "--no-progress-seconds=900",
        "--directory=/d",
        "--evidence={}",
        "--accept-unverified",
        "--result-path=/dev/termination-log",
        "--spill-path=/var/spool/fluidctl",
    ]


def test_the_argv_of_a_refresh_and_of_the_check_of_a_master_are_frozen() -> None:
    """They say what to compare with; without these options a Job does what it always did."""
    base = StepCommand("load", ("m:19998",), "/d")
    refresh = replace(base, refresh=True, since_ms=5, known_paths=7, max_removed_fraction=0.1)

    assert [word for word in refresh.argv() if word not in base.argv()] == [
        "--refresh",
        "--since-ms=5",
        "--known-paths=7",
        "--max-removed-fraction=0.1",
    ]
    check = replace(base, step="size", known_cluster="c-1")
    assert [word for word in check.argv() if word not in base.argv()] == ["size", "--known-cluster=c-1"]
    restored = replace(base, step="size", expected=Totals(3, 1, 42))
    assert [word for word in restored.argv() if word not in base.argv()] == [
        "size",
        "--expect-files=3",
        "--expect-directories=1",
        "--expect-bytes=42",
    ]
