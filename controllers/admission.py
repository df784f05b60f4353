"""Which suspended Jobs may run now: pure. One caller, behind one queue key, acts on it.

Rules: at most ``per_master`` Jobs at one Alluxio cluster, never two on overlapping paths of one cluster, the oldest
first. A Job that waits holds up nobody but a younger one on its own path. A released Job whose pod does not start (no
quota, no image, no node) gives its place to one that waits for it, and goes to the end of the line.
(Kueue can manage the same Jobs: it, too, acts through ``spec.suspend``.)
"""

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN_PLACES = 10
#: How long a released Job may be without a running container while others wait for its place, in seconds.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Candidate:
    """One Job that has not ended, or a pod whose Job is gone while it still runs."""

    name: str  # "namespace/name"
    owner: str  # "namespace/name" of the Dataset, or "backup namespace/name"
    masters: frozenset[str]
    path: str
    since: float  # when it went to the end of the line: its creation, or when it gave its place away
    released: bool
    idle: bool = False  # released, and no container of it has run for longer than PATIENCE_SECONDS


@dataclass(frozen=True)
class Plan:
    """Who is released now, who is suspended again, and for everybody else why not, as a sentence for a person."""

    release: tuple[Candidate, ...]
    park: tuple[Candidate, ...]
    waiting: dict[str, str]  # by Candidate.name


def plan(candidates: Iterable[Candidate], per_master: int, everywhere: int = 0) -> Plan:
    """Return which Jobs to release. ``everywhere`` limits all clusters together; 0: no such limit.

    Two Jobs are at one cluster when they name one master in common.
    """
    running, ahead = _Line(), _Line()
    queue: list[Candidate] = []
    for job in candidates:
        running.add(job) if job.released else queue.append(job)
    release: list[Candidate] = []
    park: dict[str, Candidate] = {}
    waiting: dict[str, str] = {}
    for job in sorted(queue, key=lambda job: (job.since, job.name)):
        reason, blockers = _hindrance(job, running, ahead, per_master, everywhere)
        if not reason:
            release.append(job)
            running.add(job)
            continue
        idle = next((other for other in blockers if other.idle and other.name not in park), None)
        if idle:
            park[idle.name] = idle
        waiting[job.name] = f"{_place(ahead.size(job.masters) + 1)}: {reason}"
        ahead.add(job)
    return Plan(tuple(release), tuple(park.values()), waiting)


class _Line:
    """Jobs by master, so that nobody is held against the Jobs of another cluster."""

    def __init__(self) -> None:
        self._by_master: dict[str, dict[str, Candidate]] = {}
        self.total = 0

    def add(self, job: Candidate) -> None:
        self.total += bool(job.masters)
        for master in job.masters:
            self._by_master.setdefault(master, {})[job.name] = job

    def size(self, masters: frozenset[str]) -> int:
        found = [self._by_master.get(master, {}) for master in masters]
        return len(found[0]) if len(found) == 1 else len(set().union(*found))

    def at(self, masters: Iterable[str]) -> Iterable[Candidate]:
        return (job for master in masters for job in self._by_master.get(master, {}).values())

    def everywhere(self) -> Iterable[Candidate]:
        return self.at(self._by_master)

    def overlapping(self, job: Candidate) -> Candidate | None:
        return next((other for other in self.at(job.masters) if overlap(other.path, job.path)), None)


def _hindrance(
    job: Candidate, running: _Line, ahead: _Line, per_master: int, everywhere: int
) -> tuple[str, Iterable[Candidate]]:
    """Return why the Job must wait, and whose end or idleness would help; ("", ()) where nothing is in its way."""
    if not job.masters:  # it works at no Alluxio
        return "", ()
    here = running.size(job.masters)
    if here >= per_master:
        return f"{here} of {per_master} loads are running at this Alluxio", running.at(job.masters)
    if everywhere and running.total >= everywhere:
        return f"{running.total} of {everywhere} loads are running in all", running.everywhere()
    if blocker := running.overlapping(job):
        return f"{blocker.owner} is at work on {blocker.path}, which overlaps {job.path}", (blocker,)
    # Whoever waits for "/" would wait for ever, if younger ones below it went on and on.
    if older := ahead.overlapping(job):
        return f"{older.owner} waits longer for {older.path}, which overlaps {job.path}", ()
    return "", ()


def _place(place: int) -> str:
    """Say the place, but exactly only to the first: else every release would rewrite the status of all who wait."""
    return f"place {place} in line" if place <= SHOWN_PLACES else f"behind more than {SHOWN_PLACES - 1} others in line"


def overlap(one: str, other: str) -> bool:
    """Whether one path is the other or lies below it."""
    first, second = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return first.startswith(second) or second.startswith(first)
