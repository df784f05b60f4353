"""When a schedule of five cron fields is due: pure arithmetic on seconds since the epoch.

Fields, names and daylight saving time are those of Debian's cron, as cronsim reads them: what would come in the hour
that a change of clocks leaves out comes right after it, and what names an hour comes once where it is repeated.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

#: Clocks go back by no more than this; cronsim looks at their hands alone.
_REPEATED = timedelta(hours=3)
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def problem(expression: str, zone: str) -> str:
    """Return why this schedule cannot be served, in words for its author; "" where it can."""
    try:
        _zone(zone)
    except ValueError:
        return f"time zone {zone!r} is not known here: use an IANA name, for example Europe/Berlin"
    if len(expression.split()) != 5:
        return f"{expression!r} must have five cron fields: minute, hour, day of month, month, day of week"
    try:
        next(CronSim(expression, _SOME_DAY))
    except CronSimError as error:
        return f"{expression!r} is no cron schedule: {str(error).lower()}"
    except StopIteration:
        return f"{expression!r} never comes"
    return ""


def next_slot(expression: str, zone: str, after: float) -> float | None:
    """Return the first slot after that time, or None where none comes; the schedule has no ``problem``."""
    local = datetime.fromtimestamp(after, _zone(zone))
    slots = (slot.timestamp() for slot in CronSim(expression, local))
    return next((slot for slot in slots if slot > after), None)


def last_slot(expression: str, zone: str, until: float) -> float | None:
    """Return the last slot at or before that time, or None where none was; the schedule has no ``problem``."""
    local = datetime.fromtimestamp(int(until) + 1, _zone(zone))
    start = local + _REPEATED if local.fold else local
    slots = (slot.timestamp() for slot in CronSim(expression, start, reverse=True))
    return next((slot for slot in slots if slot <= until), None)


def _zone(name: str) -> tzinfo:
    """Return the zone; raise ValueError where there is none of that name."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, OSError) as error:  # OSError: the name of a directory, or one too long
        raise ValueError(name) from error
