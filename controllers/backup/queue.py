"""Which backup of a Dataset may run: pure. One at a time; who has begun goes on, else the oldest.

Two controllers' views may differ for a moment, and then two may begin: admission still lets one of their Jobs run.
"""

from collections.abc import Iterable

from controllers.backup.seen import Place


def ahead(mine: Place, others: Iterable[Place]) -> Place | None:
    """Return the backup whose turn it is before ``mine``, or None: its own. Who has begun is never sent back.

    One with an obstacle of its own holds up nobody.
    """
    if mine.started:
        return None
    waiting = [other for other in others if other.started or other.able]
    first = min(waiting, key=_order, default=None)
    return first if first is not None and _order(first) < _order(mine) else None


def _order(place: Place) -> tuple[bool, float, str]:
    return not place.started, place.created, place.name
