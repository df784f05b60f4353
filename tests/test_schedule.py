"""Slots of a schedule: every zone, every change of clocks; what is refused, in words."""

from datetime import UTC, datetime

import pytest

from controllers.schedule import last_slot, next_slot, problem


def seconds(text: str) -> float:
    """Seconds since the epoch of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def slots(expression: str, zone: str, start: str, end: str) -> list[str]:
    """Every slot between two times in UTC, as times in UTC."""
    found, now = [], seconds(start)
    while (slot := next_slot(expression, zone, now)) is not None and slot <= seconds(end):
        found.append(datetime.fromtimestamp(slot, UTC).isoformat(" ", "minutes")[:16])
        now = slot
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "start", "end", "expected"),
    [
        ("0 3 * * *", "", "2026-11-24", "2026-11-26", ["2026-11-24 03:00", "2026-11-25 03:00"]),
        ("0 3 * * *", "Asia/Kolkata", "2026-11-24", "2026-11-25", ["2026-11-24 21:30"]),
        # In Berlin 02:30 does not exist on 29 March; it is made up for when the clock has jumped.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28", "2026-03-30", ["2026-03-28 01:30", "2026-03-29 01:00"]),
        # 02:30 comes twice on 25 October, the slot once.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", "2026-10-26", ["2026-10-25 00:30"]),
        # What does not name an hour goes by the time that passes.
        ("30 * * * *", "Europe/Berlin", "2026-10-25", "2026-10-25 02:00", ["2026-10-25 00:30", "2026-10-25 01:30"]),
        ("0 0 29 2 *", "", "2026-01-01", "2033-01-01", ["2028-02-29 00:00", "2032-02-29 00:00"]),
    ],
)  # fmt: skip
def test_slots_come_when_the_clock_on_the_wall_shows_them(
    expression: str, zone: str, start: str, end: str, expected: list[str]
) -> None:
    assert slots(expression, zone, start, end) == expected


@pytest.mark.parametrize("zone", ["", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Pacific/Apia"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "15 * * * *", "*/7 * * * *", "0 0 * * *", "0,30 1-3 * * *"])
@pytest.mark.parametrize("day", ["2026-03-07", "2026-03-28", "2026-04-23", "2026-10-24", "2026-10-31", "2011-12-29"])
def test_the_last_slot_is_the_one_before_the_next(expression: str, zone: str, day: str) -> None:
    """Forwards and backwards give the same slots, also where clocks change."""
    start = seconds(day)
    known = [slot for slot in [next_slot(expression, zone, start - 86_400)] if slot is not None]
    while (slot := next_slot(expression, zone, known[-1])) is not None and slot < start + 3 * 86_400:
        assert slot > known[-1]
        known.append(slot)
    for number in range(48):
        now = start + 3_600 * number + 77 * number
        assert last_slot(expression, zone, now) == max(slot for slot in known if slot <= now)
    assert all(last_slot(expression, zone, slot) == slot for slot in known)


def test_a_fraction_of_a_second_moves_no_slot() -> None:
    """A slot begins at its second."""
    slot = seconds("2026-11-24 03:00")
    assert last_slot("0 3 * * *", "", slot) == slot
    assert last_slot("0 3 * * *", "", slot + 0.9) == slot
    assert last_slot("0 3 * * *", "", slot - 0.1) == slot - 86_400
    assert next_slot("0 3 * * *", "", slot - 0.1) == slot
    assert next_slot("0 3 * * *", "", slot) == slot + 86_400


@pytest.mark.parametrize(
    ("expression", "zone", "words"),
    [
        ("0 3 * *", "", "must have five cron fields"),
        ("0 0 3 * * *", "", "must have five cron fields"),
        ("@daily", "", "must have five cron fields"),
        ("TZ=Asia/Tokyo 0 3 * * *", "", "must have five cron fields"),
        ("60 3 * * *", "", "bad minute"),
        ("0 3 * * MON-XYZ", "", "bad day-of-week"),
        ("0 0 30 2 *", "", "bad day-of-month"),
        ("0 3 * * *", "Mars/Base", "time zone 'Mars/Base' is not known here"),
        ("0 3 * * *", "America", "is not known here"),
        ("0 3 * * *", "../zone.tab", "is not known here"),
        ("0 3 * * *", "zone.tab", "is not known here"),
        ("0 3 * * *", "a\0b", "is not known here"),
        ("0 3 * * *", "\ud800", "is not known here"),
        ("0 3 * * *", "x" * 5_000, "is not known here"),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(expression: str, zone: str, words: str) -> None:
    assert words in problem(expression, zone)


@pytest.mark.parametrize("expression", ["0 3 * * *", " 0  3 * * * ", "*/5 * * * *", "0 3 L * *", "0 3 * jan MON#2"])
@pytest.mark.parametrize("zone", ["", "UTC", "Europe/Berlin"])
def test_what_cron_knows_is_a_schedule(expression: str, zone: str) -> None:
    assert problem(expression, zone) == ""
    assert next_slot(expression, zone, 0.0) is not None
