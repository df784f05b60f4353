"""Admission: who may run now. Laws over seeded random lines of Jobs, and the rows that a person would ask about."""

import random
from dataclasses import replace

import pytest

from controllers.admission import Candidate, overlap, plan

MASTERS = ("a:1", "b:1", "c:1")
PATHS = ("/", "/x", "/x/y", "/z", "/z2")


def waiting(name: str, master: str = "a:1", path: str = "/x", since: float = 0.0) -> Candidate:
    """A suspended Job."""
    return Candidate(f"ns/{name}", f"ns/ds-{name}", frozenset({master}), path, since, released=False)


def running(name: str, master: str = "a:1", path: str = "/x") -> Candidate:
    """A Job that was released and has not ended."""
    return Candidate(f"ns/{name}", f"ns/ds-{name}", frozenset({master}), path, 0.0, released=True)


def _line(seed: int) -> list[Candidate]:
    rng = random.Random(seed)
    line: list[Candidate] = []
    for index in range(rng.randrange(12)):
        masters = frozenset(rng.sample(MASTERS, rng.choice((1, 1, 2))))
        made = Candidate(f"ns/{index}", f"ns/d{index}", masters, rng.choice(PATHS), rng.randrange(5), released=False)
        line.append(made)
    # What runs was admitted by the same rules.
    for candidate in plan(line, per_master=2).release:
        if rng.random() < 0.5:
            line.remove(candidate)
            line.append(Candidate(**{**vars(candidate), "released": True}))
    return line


@pytest.mark.parametrize("seed", range(300))
def test_no_two_overlapping_jobs_run_at_one_cluster_and_no_cluster_is_over_its_limit(seed: int) -> None:
    """Whatever waits: after the release every cluster is within its limit and no path is worked on twice."""
    line = _line(seed)
    busy = [job for job in line if job.released] + list(plan(line, per_master=2).release)
    for job in busy:
        here = [other for other in busy if other is not job and other.masters & job.masters]
        assert not any(overlap(other.path, job.path) for other in here)


@pytest.mark.parametrize("seed", range(300))
def test_a_load_never_runs_beside_a_backup_of_the_same_alluxio(seed: int) -> None:
    """A backup works at "/" of its masters, a load below it; who works at no Alluxio (a verification) never waits."""
    rng = random.Random(seed)
    line: list[Candidate] = []
    for index in range(rng.randrange(1, 12)):
        kind, masters = rng.choice(("load", "backup", "verify")), frozenset(rng.sample(MASTERS, rng.choice((1, 2))))
        path, at = ("/" if kind == "backup" else rng.choice(PATHS)), (frozenset() if kind == "verify" else masters)
        line.append(Candidate(f"ns/{index}", f"{kind} ns/{index}", at, path, rng.randrange(5), released=False))
    everywhere = rng.choice((0, 1, 2))
    for _ in range(8):  # rounds, in which some end
        released = plan(line, 3, everywhere).release
        assert {job.owner for job in line if not job.masters and not job.released} <= {job.owner for job in released}
        line = [replace(job, released=True) if job in released else job for job in line]
        busy = [job for job in line if job.released]
        for backup in (job for job in busy if job.owner.startswith("backup")):
            assert not [job for job in busy if job is not backup and job.masters & backup.masters]
        line = [job for job in line if not job.released or rng.random() < 0.5]
    while line:  # nobody waits for ever
        released = plan(line, 3, everywhere).release
        assert released or any(job.released for job in line)
        line = [replace(job, released=True) for job in released] + [
            job for job in line if not job.released and job not in released
        ]


@pytest.mark.parametrize("seed", range(300))
def test_everybody_runs_or_knows_why_not_and_waits_only_for_a_reason_of_his_own_cluster(seed: int) -> None:
    """A waiter names the place in line; nobody waits where nothing is in his way."""
    line = _line(seed)
    found = plan(line, per_master=2)
    busy = [job for job in line if job.released] + list(found.release)
    for job in line:
        if job.released or job in found.release:
            continue
        assert "in line: " in found.waiting[job.name]
        here = [other for other in busy if other.masters & job.masters]
        older = [o for o in line if o.name in found.waiting and o.masters & job.masters and o.since <= job.since]
        mine = [other for other in here + older if other is not job]
        assert len(here) >= 2 or any(overlap(other.path, job.path) for other in mine)


def test_a_released_job_whose_pod_does_not_start_gives_its_place_to_one_that_waits() -> None:
    """Four Jobs without quota, image or node would otherwise keep everybody from a shared Alluxio."""
    idle = [replace(running(f"idle-{index}", path=f"/i{index}"), idle=True) for index in range(2)]
    line = [waiting("one", path="/one", since=1), waiting("two", path="/two", since=2)]

    first = plan([*idle, *line[:1]], per_master=2)
    both = plan([*idle, *line], per_master=2)

    assert first.release == both.release == ()
    assert (len(first.park), len(both.park)) == (1, 2)
    assert plan(idle, per_master=2).park == ()


def test_only_who_is_in_the_way_is_parked() -> None:
    """Not at another cluster, not where the path is the obstacle and its owner runs."""
    idle = replace(running("idle", "b:1", "/x"), idle=True)
    busy = running("busy", "a:1", "/x")
    line = [waiting("same path", "a:1", "/x", 1), waiting("behind it", "a:1", "/x/y", 2)]

    assert plan([idle, busy, *line], per_master=4).park == ()
    assert plan([idle, waiting("same path", "b:1", "/x/y")], per_master=4).park == (idle,)


def test_who_was_parked_stands_behind_those_who_waited() -> None:
    """By the time at which it gave its place away; so it comes round again, and starves nobody."""
    parked, older, younger = waiting("parked", since=5), waiting("older", since=4), waiting("younger", since=6)

    assert plan([parked, older, younger], per_master=1).release == (older,)
    assert plan([parked, younger], per_master=1).release == (parked,)


@pytest.mark.parametrize("seed", range(100))
def test_a_plan_that_was_carried_out_releases_nobody_else(seed: int) -> None:
    """Asked again at once, it says the same: nothing is released twice."""
    line = _line(seed)
    released = plan(line, per_master=2).release
    after = [Candidate(**{**vars(job), "released": job.released or job in released}) for job in line]

    assert plan(after, per_master=2).release == ()


def test_the_oldest_goes_first() -> None:
    """With one place, the Job that was created first gets it."""
    young, old = waiting("young", since=2, path="/b"), waiting("old", since=1, path="/a")

    assert plan([young, old], per_master=1).release == (old,)


def test_a_waiter_for_a_busy_cluster_holds_up_nobody_at_another() -> None:
    """The second in line runs when only the first one's cluster is full."""
    first, second = waiting("first", "a:1", "/y", 1), waiting("second", "b:1", "/y", 2)

    found = plan([running("busy"), first, second], per_master=1)

    assert found.release == (second,)
    assert found.waiting == {"ns/first": "place 1 in line: 1 of 1 loads are running at this Alluxio"}


def test_a_waiter_for_its_own_path_does_not_hold_up_a_younger_one_beside_it() -> None:
    """Overlap blocks only who overlaps; the sentence names the other Dataset and both paths."""
    blocked, free = waiting("blocked", path="/x/y", since=1), waiting("free", path="/other", since=2)

    found = plan([running("busy", path="/x"), blocked, free], per_master=4)

    assert found.release == (free,)
    assert found.waiting["ns/blocked"] == "place 1 in line: ns/ds-busy is at work on /x, which overlaps /x/y"


def test_younger_jobs_below_a_path_do_not_starve_an_older_one_on_it() -> None:
    """Who waits for the root gets it when what runs has ended, though others below it come and come."""
    whole, below = waiting("whole", path="/", since=1), waiting("below", path="/y", since=2)

    found = plan([running("busy", path="/x"), whole, below], per_master=4)

    assert found.release == ()
    assert found.waiting["ns/below"] == "place 2 in line: ns/ds-whole waits longer for /, which overlaps /y"


def test_clusters_that_share_one_address_are_one_cluster() -> None:
    """Two Datasets may name different masters of the same Alluxio."""
    both = Candidate("ns/both", "ns/d", frozenset({"a:1", "b:1"}), "/q", 0.0, released=False)

    assert plan([running("busy", "b:1"), both], per_master=1).release == ()


def test_one_release_changes_the_words_of_ten_waiters_at_most() -> None:
    """Each change is a status write: a line of thousands must not be rewritten whenever it moves."""
    line = [waiting(f"{index:05}", since=index, path=f"/p{index}") for index in range(2_000)]
    before = plan([running("busy"), *line], per_master=1).waiting
    after = plan([running("next"), *line[1:]], per_master=1).waiting

    assert len([name for name, text in after.items() if before[name] != text]) <= 10


def test_the_global_limit_counts_all_clusters_and_zero_means_none() -> None:
    """everywhere=1 lets one run in all; 0 lets all."""
    line = [waiting("one", "a:1", since=1), waiting("two", "b:1", since=2)]

    assert len(plan(line, per_master=4, everywhere=1).release) == 1
    assert len(plan(line, per_master=4, everywhere=0).release) == 2


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("/", "/a", True), ("/a", "/a", True), ("/a", "/a/b", True), ("/a", "/ab", False), ("/a/b", "/a/c", False)],
)
def test_paths_overlap_by_whole_names(one: str, other: str, expected: bool) -> None:
    """/a holds /a/b but not /ab."""
    assert overlap(one, other) is overlap(other, one) is expected
