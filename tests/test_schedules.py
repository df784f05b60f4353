"""Schedules: one backup for a slot whatever happens, which slots are made up for, and which backups go."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from controllers import schedule
from controllers.api.conditions import FALSE, READY, STALLED, TRUE, find
from controllers.api.databackup import DataBackupSpec
from controllers.api.schedule import ScheduledDataBackupSpec, ScheduledDataBackupStatus
from controllers.api.times import rfc3339
from controllers.decision import Create, Decision, Delete, Problem
from controllers.jobs import SCHEDULE_UID
from controllers.schedules import Made, Observed, decide
from controllers.schedules.backups import made_by, name_of

UID = "5e5e0000-1111-4222-8333-944455556666"
DAY = 86_400.0


def at(text: str) -> float:
    """Seconds since the epoch of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


BORN = at("2026-11-20 12:00")


def spec(**changes: Any) -> ScheduledDataBackupSpec:
    """Every night at three; changes in the form of YAML, those of the template's spec under ``backup``."""
    where = {"dataset": {"name": "imagenet"}, "backupStorageLocationSpec": {"mountPath": "pvc://backups"}}
    given = {"schedule": "0 3 * * *", **changes}
    template = {"spec": {**where, **given.pop("backup", {})}, **given.pop("template", {})}
    return ScheduledDataBackupSpec.read({**given, "template": template})


def observed(now: str | float = BORN, **changes: Any) -> Observed:
    """A schedule that nobody has looked at yet."""
    when = at(now) if isinstance(now, str) else now
    base = Observed(when, "default", "nightly", UID, ScheduledDataBackupStatus(), spec(), created=BORN)
    return replace(base, **changes)


def status_of(decision: Decision) -> ScheduledDataBackupStatus:
    assert isinstance(decision.status, ScheduledDataBackupStatus)
    return decision.status


def created(decision: Decision) -> list[str]:
    return [child.body["metadata"]["name"] for child in decision.children if isinstance(child, Create)]


def deleted(decision: Decision) -> list[str]:
    return [child.name for child in decision.children if isinstance(child, Delete)]


def backup(name: str, when: str = "2026-11-21 03:00", **changes: Any) -> Made:
    """A good backup that began at that time and took a minute."""
    base = Made(name, f"uid-of-{name}", at(when), over=True, good=True, ended=at(when) + 60)
    return replace(base, **changes)


def bad(name: str, when: str = "2026-11-21 03:00") -> Made:
    return backup(name, when, good=False, message="BackupFailed: no")


def ready(decision: Decision) -> tuple[str, str]:
    found = find(status_of(decision).conditions, READY)
    assert found is not None
    return found.status, found.reason


def test_a_new_schedule_waits_for_its_first_slot() -> None:
    decision = decide(observed())
    assert not decision.children
    assert status_of(decision).next_schedule_time == "2026-11-21T03:00:00Z"
    assert decision.requeue_after == 15 * 3600
    assert ready(decision) == (TRUE, "Scheduled")


def test_a_slot_gets_a_backup_under_the_name_of_its_moment_and_is_noted_when_that_is_seen() -> None:
    first = decide(observed("2026-11-21 03:00"))
    assert created(first) == ["nightly-20261121030000"]
    assert status_of(first).last_slot_time == ""
    found = backup("nightly-20261121030000", over=False, good=False, ended=None)
    then = decide(observed("2026-11-21 03:00", status=status_of(first), backups=(found,)))
    status = status_of(then)
    assert not then.children
    assert status.last_slot_time == status.last_schedule_time == "2026-11-21T03:00:00Z"
    assert (status.active, status.last_backup_name) == ((found.name,), found.name)
    assert not created(decide(observed("2026-11-21 03:01", status=status)))


def test_immediate_makes_one_at_once() -> None:
    once = decide(observed(spec=spec(immediate=True)))
    assert created(once) == ["nightly-20261120120000"]
    found = backup("nightly-20261120120000", "2026-11-20 12:00")
    status = status_of(decide(observed(spec=spec(immediate=True), status=status_of(once), backups=(found,))))
    later = observed("2026-11-20 18:00", spec=spec(immediate=True), status=status)
    assert not created(decide(later)), "also when that one was deleted"


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(None, ["nightly-20261125030000"]), (3600, ["nightly-20261125030000"]), (60, [])],
)
def test_of_the_slots_that_no_controller_saw_the_last_is_made_up_for_if_it_is_not_too_late(
    seconds: int | None, name: list[str]
) -> None:
    decision = decide(observed("2026-11-25 03:30", spec=spec(startingDeadlineSeconds=seconds)))
    assert created(decision) == name
    if not name:
        assert status_of(decision).last_slot_time == "2026-11-25T03:00:00Z"
        assert [event.reason for event in decision.events] == ["SlotSkipped"]


def test_a_changed_schedule_counts_from_the_moment_that_it_is_seen() -> None:
    known = status_of(decide(observed()))
    edited = decide(observed("2026-11-20 18:00", status=known, spec=spec(schedule="0 13 * * *")))
    assert not created(edited)
    assert status_of(edited).next_schedule_time == "2026-11-21T13:00:00Z"


def test_a_suspended_schedule_starts_nothing_and_then_makes_up_for_the_last_slot() -> None:
    held = decide(observed("2026-11-23 04:00", spec=spec(suspend=True)))
    assert (held.children, held.requeue_after) == ((), None)
    assert ready(held) == (FALSE, "Suspended")
    assert status_of(held).next_schedule_time == ""
    assert created(decide(observed("2026-11-23 05:00", status=status_of(held)))) == ["nightly-20261123030000"]


@pytest.mark.parametrize("policy", ["Forbid", "Allow"])
def test_a_slot_beside_a_backup_that_is_not_over(policy: str) -> None:
    running = backup("nightly-20261121030000", over=False, good=False, ended=None)
    status = status_of(decide(observed("2026-11-21 03:00", backups=(running,))))
    decision = decide(
        observed("2026-11-22 03:00", status=status, backups=(running,), spec=spec(concurrencyPolicy=policy))
    )
    assert created(decision) == ([] if policy == "Forbid" else ["nightly-20261122030000"])
    if policy == "Forbid":
        assert "nightly-20261121030000 is not over" in decision.events[0].message
        assert status_of(decision).last_slot_time == "2026-11-22T03:00:00Z"
        assert status_of(decision).last_schedule_time == "2026-11-21T03:00:00Z"


def test_a_name_that_somebody_else_has_costs_one_slot_and_no_more() -> None:
    taken = Problem("DataBackupConflict", "a DataBackup nightly-20261121030000 exists that is not ours")
    decision = decide(observed("2026-11-21 03:00", problem=taken))
    assert not decision.children
    assert [event.reason for event in decision.events] == ["SlotSkipped"]
    assert created(decide(observed("2026-11-22 03:00", status=status_of(decision), problem=taken)))


def test_what_the_api_server_refuses_is_said_and_tried_again() -> None:
    decision = decide(observed("2026-11-21 03:00", problem=Problem("Forbidden", "quota")))
    assert ready(decision) == (FALSE, "Forbidden")
    assert created(decision)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec": spec(schedule="0 25 * * *")}, "InvalidSchedule"),
        ({"spec": spec(timeZone="Mars/Base")}, "InvalidSchedule"),
        ({"spec": None, "spec_error": "spec.template: Field required"}, "InvalidSpec"),
    ],
)
def test_a_schedule_that_cannot_be_served_says_so_and_touches_nothing(changes: dict[str, Any], reason: str) -> None:
    decision = decide(observed("2026-11-25 03:30", backups=(bad("a"), bad("b")), **changes))
    assert (decision.children, ready(decision)) == ((), (FALSE, reason))
    stalled = find(status_of(decision).conditions, STALLED)
    assert stalled is not None
    assert stalled.status == TRUE


def test_a_schedule_that_is_deleted_does_nothing_more() -> None:
    assert decide(observed("2026-11-25 03:30", deleting=True)) == Decision()


# --- what is made -----------------------------------------------------------------------------------------------------


def body(seen: Observed) -> dict[str, Any]:
    (child,) = [child for child in decide(seen).children if isinstance(child, Create)]
    return child.body


def test_the_backup_is_one_that_can_be_read_and_is_known_by_its_label() -> None:
    wanted = spec(backup={"backoffLimit": 5}, template={"metadata": {"labels": {"team": "a", SCHEDULE_UID: "forged"}}})
    made = body(observed("2026-11-21 03:00", spec=wanted))
    assert made["metadata"]["labels"]["team"] == "a"
    assert made["metadata"]["labels"][SCHEDULE_UID] == UID
    assert DataBackupSpec.read(made["spec"]).backoff_limit == 5


@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        ({}, "Retain"),
        ({"retention": {"keepLast": 3}}, "Delete"),
        ({"retention": {"maxAge": "30d"}}, "Delete"),
        ({"retention": {"keepLast": 3}, "backup": {"deletionPolicy": "Retain"}}, "Retain"),
        ({"backup": {"deletionPolicy": "Delete"}}, "Delete"),
    ],
)
def test_retention_takes_the_files_too_unless_the_template_says_otherwise(changes: dict[str, Any], policy: str) -> None:
    assert body(observed("2026-11-21 03:00", spec=spec(**changes)))["spec"]["deletionPolicy"] == policy


@pytest.mark.parametrize(("owner", "uid"), [("none", None), ("self", UID), ("dataset", "uid-of-dataset")])
def test_the_backups_go_with_whom_is_asked_for(owner: str, uid: str | None) -> None:
    made = body(observed("2026-11-21 03:00", spec=spec(backupOwnerReference=owner), dataset_uid="uid-of-dataset"))
    assert [found["uid"] for found in made["metadata"]["ownerReferences"]] == ([uid] if uid else [])


def test_names_fit_however_long_that_of_the_schedule_is() -> None:
    names = {name_of(observed(name="x" * 240 + tail), BORN) for tail in ("a", "b")}
    assert len(names) == 2
    assert all(len(name) <= 253 and name.endswith("-20261120120000") for name in names)


@pytest.mark.parametrize("schedule_name", ["nightly", "n" * 253, "a.b"])
def test_a_copy_of_a_backup_under_a_name_of_its_own_is_none_of_the_schedule(schedule_name: str) -> None:
    assert made_by(schedule_name, name_of(observed(name=schedule_name), BORN))
    for copy in ("before-upgrade", f"{schedule_name}-20261120120000-copy", f"{schedule_name[:1]}-20261120120000x"):
        assert not made_by(schedule_name, copy)


# --- what goes --------------------------------------------------------------------------------------------------------

NIGHTS = tuple(backup(f"n{day}", f"2026-11-{day} 03:00") for day in (21, 22, 23, 24))


def pruned(*backups: Made, now: str = "2026-11-24 12:00", **changes: Any) -> list[str]:
    served = ScheduledDataBackupStatus(
        schedule="0 3 * * *", schedule_since=rfc3339(BORN), last_slot_time="2026-11-30T00:00:00Z"
    )
    return deleted(decide(observed(now, status=served, backups=backups, spec=spec(**changes))))


def test_only_good_backups_count_as_kept() -> None:
    assert pruned(*NIGHTS) == []
    assert pruned(*NIGHTS, retention={"keepLast": 2}) == ["n22", "n21"]
    assert pruned(*NIGHTS, bad("x", "2026-11-24 04:00"), retention={"keepLast": 4}) == []
    corrupt = replace(NIGHTS[3], good=False)
    assert pruned(*NIGHTS[:3], corrupt, retention={"keepLast": 3}) == [], "one that was found corrupt keeps no place"


def test_what_is_too_old_goes_but_the_newest_good_one_stays() -> None:
    assert pruned(*NIGHTS, retention={"maxAge": "36h"}) == ["n22", "n21"]
    assert pruned(*NIGHTS, now="2027-11-24 12:00", retention={"maxAge": "1d"}) == ["n23", "n22", "n21"]


def test_the_backups_of_each_dataset_are_counted_by_themselves() -> None:
    """The template may be edited to name another Dataset: the old one's last good backup stays."""
    before = tuple(replace(night, dataset="before") for night in NIGHTS[:2])
    after = tuple(replace(night, dataset="after") for night in NIGHTS[2:])
    assert pruned(*before, *after, retention={"keepLast": 2}) == []
    assert sorted(pruned(*before, *after, retention={"keepLast": 1})) == ["n21", "n23"]
    assert sorted(pruned(*before, *after, now="2027-11-24 12:00", retention={"maxAge": "1d"})) == ["n21", "n23"]


def test_the_next_one_to_be_too_old_is_waited_for() -> None:
    decision = decide(observed("2026-11-24 12:00", backups=NIGHTS, spec=spec(suspend=True, retention={"maxAge": "4d"})))
    assert decision.requeue_after == at("2026-11-25 03:01") - at("2026-11-24 12:00")


def test_failed_backups_are_kept_to_look_at_but_not_all() -> None:
    failed = (bad("x1", "2026-11-22 03:00"), bad("x2", "2026-11-23 03:00"))
    assert pruned(*failed) == ["x1"]
    assert pruned(*failed, failedBackupsHistoryLimit=0) == ["x2", "x1"]
    assert pruned(*failed, failedBackupsHistoryLimit=2) == []


def test_what_goes_already_or_is_under_way_is_left_alone() -> None:
    under_way = replace(NIGHTS[0], over=False, good=False, ended=None)
    assert pruned(under_way, replace(NIGHTS[1], deleting=True), NIGHTS[3], retention={"keepLast": 1}) == []


def test_the_last_success_is_not_forgotten_when_its_backup_is_gone() -> None:
    status = status_of(decide(observed("2026-11-24 12:00", backups=NIGHTS)))
    assert status.last_successful_time == "2026-11-24T03:01:00Z"
    assert status_of(decide(observed("2026-11-24 12:01", status=status))).last_successful_time == "2026-11-24T03:01:00Z"


# --- laws -------------------------------------------------------------------------------------------------------------

ZONES = ["", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia"]
CLOCKS_CHANGE = ["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31", "2011-12-29"]


class Cluster:
    """The DataBackups of one schedule by name, and how often each was created: a second controller has an old view."""

    def __init__(self, wanted: ScheduledDataBackupSpec, born: float) -> None:
        self.spec, self.born = wanted, born
        self.status = ScheduledDataBackupStatus()
        self.backups: dict[str, Made] = {}
        self.creations: list[str] = []

    def seen(self, now: float) -> Observed:
        found = tuple(self.backups.values())
        return observed(now, created=self.born, spec=self.spec, status=self.status, backups=found)

    def pass_(self, now: float, writes: int = 9) -> None:
        """Look once; the controller dies after so many writes: before the status, or between that and the backup."""
        decision = decide(self.seen(now))
        if writes > 0:
            written = status_of(decision).model_dump(mode="json", by_alias=True, exclude_defaults=True)
            self.status = ScheduledDataBackupStatus.read(written)
        for name in created(decision)[: max(0, writes - 1)]:
            if name not in self.backups:  # else 409: it is there, and ours
                self.creations.append(name)
                self.backups[name] = backup(name, rfc3339(now)[:16].replace("T", " "))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", ["30 2 * * *", "15 * * * *", "0 0 * * *"])
def test_every_slot_has_one_backup_whatever_dies_also_where_clocks_change(zone: str, expression: str) -> None:
    """A slot that does not exist on that day, and an hour that comes twice, too."""
    rng = Random(f"{zone}{expression}")
    for day in CLOCKS_CHANGE:
        start = at(day)
        cluster = Cluster(spec(schedule=expression, timeZone=zone), start)
        now, expected = start, []
        while now < start + 1.5 * DAY:
            slot = schedule.next_slot(expression, zone, now)
            assert slot is not None
            for wait in range(3):
                cluster.pass_(slot + wait, rng.randrange(4))
            cluster.pass_(slot + 3)
            expected.append(name_of(observed(), slot))
            now = slot
        assert cluster.creations == expected, (zone, expression, day)


def test_who_waits_is_woken_at_the_slot() -> None:
    for hours in range(0, 24 * 14, 5):
        now = BORN + hours * 3600.0
        served = ScheduledDataBackupStatus(
            schedule="0 3 * * *", schedule_since=rfc3339(BORN), last_slot_time=rfc3339(now)
        )
        decision = decide(observed(now, status=served))
        assert decision.requeue_after is not None
        slot = schedule.next_slot("0 3 * * *", "", now)
        assert now + decision.requeue_after == pytest.approx(slot)
