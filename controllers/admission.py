"""Which suspended Jobs may run now: pure. One caller, behind one queue key, acts on it.

Rules: at most ``per_master`` Jobs at one Alluxio cluster, never two on overlapping paths of one cluster, the oldest
first. A Job that waits holds up nobody but a younger one on its own path. (Kueue can
manage the same Jobs: it, too, acts through ``spec.suspend``.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One Job that has not ended, or a pod whose Job is gone while it still runs."""

    name: str  # "namespace/name"
    dataset: str  # "namespace/name"
    masters: frozenset[str]
    path: str
    created: float
    released: bool


@dataclass(frozen=True)
class Plan:
    """Who is released now, and for everybody else why not, as a sentence for a person."""

    release: tuple[Candidate, ...]
    waiting: dict[str, str]  # by Candidate.name


def plan(candidates: Sequence[Candidate], per_master: int, everywhere: int = 0) -> Plan:
    """Return which Jobs to release. ``everywhere`` limits all clusters together; 0: no such limit.

    Two Jobs are at one cluster when they name one master in common.
    """
    running = [job for job in candidates if job.released]
    queue = sorted((job for job in candidates if not job.released), key=lambda job: (job.created, job.name))
    release: list[Candidate] = []
    waiting: dict[str, str] = {}
    ahead: list[Candidate] = []
    for job in queue:
        reason = _hindrance(job, running, per_master, everywhere) or _older(job, ahead)
        if reason:
            place = 1 + sum(1 for other in ahead if other.masters & job.masters)
            waiting[job.name] = f"place {place} in line: {reason}"
            ahead.append(job)
        else:
            release.append(job)
            running.append(job)
    return Plan(tuple(release), waiting)


def _hindrance(job: Candidate, running: Iterable[Candidate], per_master: int, everywhere: int) -> str:
    everyone = list(running)
    here = [other for other in everyone if other.masters & job.masters]
    blocker = next((other for other in here if overlap(other.path, job.path)), None)
    if blocker:
        return f"{blocker.dataset} is at work on {blocker.path}, which overlaps {job.path}"
    if len(here) >= per_master:
        return f"{len(here)} of {per_master} loads are running at this Alluxio"
    if everywhere and len(everyone) >= everywhere:
        return f"{len(everyone)} of {everywhere} loads are running in all"
    return ""


def _older(job: Candidate, ahead: Iterable[Candidate]) -> str:
    """Whoever waits for "/" would wait for ever, if younger ones below it went on and on."""
    first = next((other for other in ahead if other.masters & job.masters and overlap(other.path, job.path)), None)
    return f"{first.dataset} waits longer for {first.path}, which overlaps {job.path}" if first else ""


def overlap(one: str, other: str) -> bool:
    """Whether one path is the other or lies below it."""
    first, second = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return first.startswith(second) or second.startswith(first)
