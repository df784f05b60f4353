"""What people see of a Dataset, for good, young, broken and malicious ones."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from controllers.api.times import epoch
from fluidctl.show import changes, columns, describe, duration, elapsed, listing, panel, progress, read

START = epoch("2026-01-31T12:00:00Z") or 0.0


def _condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    time = "2026-01-31T12:00:05Z"
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": time}


def _dataset(name: str = "imagenet", **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team-a", "creationTimestamp": "2026-01-31T11:59:00Z"}
    return {"metadata": metadata, "spec": {}, "status": status}


def _ready() -> dict[str, Any]:
    return _dataset(
        phase="Ready",
        fileCount=1234567,
        ufsTotalBytes=1610612736,
        cache={"cachedPercentage": "12.5", "workers": 3, "updateTime": "2026-01-31T12:00:05Z"},
        run={"number": 2, "startTime": "2026-01-31T12:00:00Z"},
        size={"attempt": 1, "jobName": "imagenet-0-size-2-1", "completionTime": "2026-01-31T12:01:05Z"},
        load={"attempt": 2, "jobName": "imagenet-0-load-2-2", "completionTime": "2026-01-31T12:01:00Z"},
        volume={"persistentVolumeClaim": "imagenet"},
        conditions=[_condition("Ready", "True", "Ready", "counted and verified"), _condition("Stalled", "False", "No")],
    )


def _loading(files: int = 5000, total: int = 20000) -> dict[str, Any]:
    return _dataset(
        phase="LoadingMetadata",
        run={"number": 1, "startTime": "2026-01-31T12:00:00Z"},
        load={"attempt": 1, "jobName": "imagenet-0-load-1-1"},
        progress={"files": files, "total": total, "filesPerSecond": 900, "updateTime": "2026-01-31T12:00:09Z"},
        conditions=[
            _condition("MasterReachable", "True", "Reachable"),
            _condition("Ready", "False", "Loading", "loading"),
        ],
    )


def _screen(dataset: dict[str, Any], now: float = START + 10) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(panel(dataset, "team-a/imagenet", now))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (200, "3m20s"),
        (3600, "1h"),
        (7500, "2h5m"),
        (273_600, "3d4h"),
        (86_460, "1d"),
    ],
)
def test_a_duration_has_at_most_two_neighbouring_units(seconds: float, text: str) -> None:
    """A clock that runs behind shows nothing, not a negative age."""
    assert duration(seconds) == text


def test_columns_are_aligned_and_no_line_ends_in_spaces() -> None:
    """Every cell of a column starts at the same place."""
    first, second = columns([["a", "bb", "c"], ["aaaa", "b", ""]])

    assert (first, second) == ("a      bb   c", "aaaa   b")


def test_the_list_is_sorted_and_shows_counts_only_where_they_are_complete() -> None:
    """A Dataset that still loads has no number of files yet, and a row never borrows another one's."""
    lines = listing([_ready(), _dataset("aaa")], START)

    assert [line.split() for line in lines] == [
        ["NAME", "PHASE", "FILES", "SIZE", "CACHED", "PROGRESS", "AGE"],
        ["aaa", "Pending", "-", "-", "-", "-", "1m"],
        ["imagenet", "Ready", "1,234,567", "1.50GiB", "12.5%", "-", "1m"],
    ]


def test_the_wide_list_adds_the_message_and_the_list_of_all_namespaces_the_namespace() -> None:
    """In the places where kubectl has them."""
    header, row = listing([_ready()], START, wide=True, namespaces=True)

    assert header.split()[0] == "NAMESPACE"
    assert row.startswith("team-a ")
    assert row.endswith("counted and verified")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(_loading()["status"], "5,000 of 20,000 files (25%), 900/s", id="with an estimate"),
        pytest.param(_loading(total=0)["status"], "5,000 files, 900/s", id="without an estimate"),
        pytest.param(_loading(30000)["status"], "30,000 of 20,000 files (100%), 900/s", id="estimate too low"),
        pytest.param({"phase": "Ready"}, "", id="nothing runs"),
        pytest.param(
            {"phase": "Sizing", "load": {"files": 50}, "progress": {"files": 25, "updateTime": "2026-01-31T12:00:09Z"}},
            "25 of 50 files (50%)",
            id="the count knows how many the load found",
        ),
    ],
)
def test_progress_never_promises_more_than_is_known(status: dict[str, Any], text: str) -> None:
    """No percentage without an estimate, none over 100."""
    assert progress(read({"status": status})) == text


def test_the_time_of_a_run_stops_with_its_end() -> None:
    """For a Ready Dataset it is how long it took, else how long it has taken so far."""
    assert elapsed(read(_ready()), START + 9999) == 65
    assert elapsed(read(_loading()), START + 10) == 10
    assert elapsed(read(_dataset()), START) == 0
    counting_again = _ready()
    counting_again["status"]["phase"] = "Sizing"
    assert elapsed(read(counting_again), START + 9999) == 9999


def test_the_description_tells_counts_steps_volume_and_every_condition() -> None:
    """One screen for the whole story."""
    text = "\n".join(describe(_ready(), START + 100))

    for part in ("team-a/imagenet", "Ready, 1m5s in run 2", "1.50GiB (1,610,612,736 bytes)", "12.5%, 3 workers"):
        assert part in text
    for part in ("attempt 2 (imagenet-0-load-2-2): done", "claim team-a/imagenet", "Stalled", "1m35s"):
        assert part in text


def test_the_description_names_the_directories_that_failed_and_the_last_error() -> None:
    """What a person needs to act."""
    load = {"attempt": 3, "jobName": "j", "lastError": "2 directories denied", "failedDirectories": ["/a b", "/c"]}

    text = "\n".join(describe(_dataset(phase="LoadingMetadata", load=load), START))

    assert "attempt 3 (j): 2 directories denied" in text
    assert "/a b, /c" in text


def test_a_log_gets_one_line_for_each_change_and_none_for_none() -> None:
    """Phase, a condition's status or reason, progress; not times, not what is only there for machines."""
    first, second = _loading(), _loading(6000)

    assert changes(first, first, START) == []
    assert changes(first, second, START + 10) == ["   10s  6,000 of 20,000 files (30%), 900/s"]
    assert changes(second, _ready(), START + 99) == [
        "  1m5s  Phase Ready",
        "  1m5s  Ready=True Ready: counted and verified",
    ]


def test_the_first_line_says_where_it_stands_and_unknown_conditions_are_no_news() -> None:
    """On the first visit every condition is Unknown: eight lines that say nothing."""
    dataset = _dataset(phase="Pending", conditions=[_condition("Sized", "Unknown", "NotYet")])

    assert changes({}, dataset, START) == ["    0s  Phase Pending"]


def test_ready_has_a_line_only_where_it_says_more_than_the_step() -> None:
    """Ready repeats the reason of what it waits for; said twice, a log is half as clear."""
    step, other = (
        _condition("MetadataLoaded", "False", "Loading"),
        _condition("Ready", "False", "Forbidden", "no right"),
    )
    repeated = _dataset(phase="Pending", conditions=[step, _condition("Ready", "False", "Loading")])

    assert changes({}, repeated, START)[1:] == ["    0s  MetadataLoaded=False Loading"]
    assert changes({}, _dataset(conditions=[step, other]), START)[2:] == ["    0s  Ready=False Forbidden: no right"]


def test_the_live_table_shows_phase_elapsed_progress_and_conditions() -> None:
    """The parts that a person watches, without those that are for machines."""
    screen = _screen(_loading())

    for part in ("team-a/imagenet", "LoadingMetadata", "10s", "5,000 of 20,000 files (25%)", "MasterReachable"):
        assert part in screen
    assert "Stalled" not in _screen(_ready())
    assert "1,234,567 files" in _screen(_ready())


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/no-such-tag]", "\x1b[2J", "a\nb", "<none>"])
def test_a_message_is_shown_as_text_whatever_it_holds(text: str) -> None:
    """A tenant's words style nothing, break no table and reach the terminal without escape sequences."""
    dataset = _dataset(phase="Pending", conditions=[_condition("Accepted", "False", "InvalidSpec", text)])

    shown = [
        _screen(dataset),
        *describe(dataset, START),
        *changes({}, dataset, START),
        *listing([dataset], START, wide=True),
    ]

    assert not any("\x1b" in line for line in shown)
    assert not any("\n" in line for line in shown[1:])
    assert "[bold]" in shown[0] or "[bold]" not in text


@pytest.mark.parametrize(
    "status",
    [
        None,
        [],
        "x",
        {"phase": "Unheard"},
        {"conditions": [1, {}, {"type": None}]},
        {"fileCount": -1, "load": {"files": "a"}},
    ],
)
def test_an_unreadable_status_breaks_nothing(status: Any) -> None:
    """Another hand may write anything; a person still sees the rest."""
    dataset = json.loads(json.dumps({**_dataset(), "status": status}))

    assert "imagenet" in "\n".join(listing([dataset], START))
    assert describe(dataset, START)
    assert isinstance(changes({}, dataset, START), list)
    assert _screen(dataset)


def test_everything_about_a_restored_dataset_names_its_backup_and_its_steps() -> None:
    """Where it came from, of which time, and what it promised."""
    restore = {
        "phase": "Verifying",
        "source": "pvc://backups/alluxio/imagenet/one-1a2b3c4d",
        "checksum": "sha256:1",
        "createdAt": "2026-01-30T03:00:00Z",
        "engineVersion": "2.9.6",
        "files": 200_000,
        "bytes": 1 << 30,
    }
    stage = {"attempt": 1, "jobName": "new-0-stage-1-1", "completionTime": "2026-01-31T12:00:05Z"}
    text = "\n".join(describe(_dataset(phase="Sizing", restore=restore, stage=stage), START))

    assert (
        "Verifying from pvc://backups/alluxio/imagenet/one-1a2b3c4d "
        "(of 2026-01-30T03:00:00Z, by Alluxio 2.9.6: 200,000 files, 1.00GiB)" in text
    )
    assert "attempt 1 (new-0-stage-1-1): done" in text


def test_a_restore_that_failed_says_why() -> None:
    """In the words of the Job."""
    restore = {"phase": "Failed", "source": "pvc://backups/x", "reason": "BackupCorrupt", "message": "it ends early"}

    assert any(
        "Failed from pvc://backups/x: it ends early" in line for line in describe(_dataset(restore=restore), START)
    )
