"""A refresh and the check of a restarted master, decision by decision: what begins when, what stays, what is told."""

import re
from dataclasses import replace
from typing import Any

import pytest

from controllers.api.conditions import (
    AVAILABLE,
    FALSE,
    METADATA_LOADED,
    READY,
    RECONCILING,
    REFRESHING,
    SIZED,
    STALLED,
    TRUE,
    Condition,
    find,
)
from controllers.api.dataset import DatasetStatus, MasterStatus, Phase, parse_status, status_dict
from controllers.api.result import Changes, Exit, Master, Result, Totals
from controllers.api.times import epoch, rfc3339
from controllers.dataset import LOAD, SIZE, JobState, JobView, MasterView, Observed, Problem, decide
from controllers.decision import Decision
from controllers.jobs import JOB, STEP
from controllers.volumes import CLAIM, VOLUME
from tests.builders import NOW, REACHABLE, at, doomed, good, job, made, observed, published, spec

HOUR = 3600.0
MASTER = MasterStatus(address="alluxio-0.alluxio:19998", cluster_id="cluster-1", start_time_ms=1_000)


def ready(**changes: Any) -> DatasetStatus:
    """A Dataset of 3 files that has been Ready for half a minute."""
    shown = {"file_count": 3, "ufs_total_bytes": 42, "ufs_total": "42.00B", "file_num": "3", "master": MASTER}
    return at(Phase.READY, **shown, **changes)


def seen(status: DatasetStatus | None = None, asked: str = "", **changes: Any) -> Observed:
    """That Dataset with its volume, and the refresh annotation where a value is given."""
    base = observed(status=status or ready(), **published())
    return replace(base, meta=replace(base.meta, refresh=asked), **changes)


def decided(what: Observed) -> DatasetStatus:
    """Decide, and hold what no refresh may do: leave Ready, touch the volume, or start two Jobs."""
    decision = decide(what)
    assert decision.status is not None
    assert not doomed(decision, VOLUME, CLAIM)
    assert len(created(decision)) <= 1
    # What is written is what the next pass reads.
    assert parse_status({"status": status_dict(decision.status)}) == decision.status
    return decision.status


def created(decision: Decision) -> list[dict[str, Any]]:
    """Return the Jobs that a decision creates."""
    return made(decision, JOB)


def argv(decision: Decision) -> dict[str, str]:
    """Return the options of the one Job that is created; "" for one without a value."""
    (body,) = created(decision)
    words = body["spec"]["template"]["spec"]["containers"][0]["command"]
    return {name: value for name, _, value in (word.partition("=") for word in words[1:])}


def shows(status: DatasetStatus, kind: str) -> Condition:
    """Return a condition that must be there."""
    found = find(status.conditions, kind)
    assert found is not None
    return found


def go_on(what: Observed, *jobs: JobView, **changes: Any) -> Observed:
    """Return what is seen after the decision was carried out, with these Jobs."""
    return replace(what, status=decided(what), jobs=jobs, **changes)


def ended(step: str, result: Result, code: int = 0, **changes: Any) -> JobView:
    """A Job of the second run that ended now, with these last words."""
    state = JobState.FAILED if code else JobState.SUCCEEDED
    return job(step, state, run=2, result=result, exit_code=code, **{"finished": NOW, **changes})


def loaded(**changes: Any) -> JobView:
    """The load of a refresh that succeeded."""
    return ended(LOAD, good(LOAD, changes=Changes(7, 103, 3)), **changes)


SUSPICIOUS = Result(LOAD, "SuspiciousRefresh", message="90 of 100 entries are gone")


# --- on demand --------------------------------------------------------------------------------------------------------


def test_an_annotation_begins_a_run_that_changes_nothing_but_the_run() -> None:
    """Phase, volume, counts and master stay; the request is echoed when the run begins."""
    before = seen(asked="monday")
    decision = decide(before)
    status = decided(before)

    assert (status.run.number, status.run.reason, status.run.inputs) == (2, "Refresh", "aaaa")
    assert (status.phase, status.last_handled_refresh) == (Phase.READY, "monday")
    assert (status.file_count, status.ufs_total_bytes, status.ufs_total, status.master) == (3, 42, "42.00B", MASTER)
    assert argv(decision) | {"--refresh": "", "--known-paths": "4", "--max-removed-fraction": "0.1"} == argv(decision)
    assert argv(decision)["--since-ms"] == str(int(1000 * NOW))
    for kind in (READY, AVAILABLE, METADATA_LOADED, SIZED):
        assert shows(status, kind).status == TRUE, kind
    assert "3 files, 42.00B" in shows(status, READY).message
    assert (shows(status, REFRESHING).status, shows(status, REFRESHING).reason) == (TRUE, "JobCreated")
    assert shows(status, RECONCILING).status == FALSE
    assert shows(status, STALLED).status == FALSE


@pytest.mark.parametrize("asked", ["", "monday"])
def test_a_value_that_was_served_and_no_value_ask_for_nothing(asked: str) -> None:
    """Whoever removes the annotation wants nothing either."""
    status = decided(seen(ready(last_handled_refresh="monday"), asked=asked))

    assert (status.run.number, status.last_handled_refresh) == (1, "monday")


def test_what_is_asked_for_during_a_run_is_served_after_it() -> None:
    """A second request while the first one loads, and while it counts: one more run, when it is Ready."""
    what = go_on(seen(asked="monday"), job(LOAD, JobState.RUNNING, run=2))
    what = go_on(replace(what, meta=replace(what.meta, refresh="tuesday")), loaded())
    assert (what.status.run.number, what.status.last_handled_refresh) == (2, "monday")
    what = go_on(go_on(what, ended(SIZE, good(SIZE))))
    assert what.status.run.number == 2
    what = go_on(what)
    assert (what.status.run.number, what.status.last_handled_refresh) == (3, "tuesday")


def test_who_is_failed_says_that_the_refresh_follows_and_who_is_created_with_a_request_is_served_by_the_load() -> None:
    """The way out of Failed is the retry annotation."""
    status = decided(seen(at(Phase.FAILED), asked="monday"))
    assert (status.run.number, status.last_handled_refresh) == (1, "")
    assert "the refresh that was asked for follows when it is Ready" in shows(status, READY).message
    assert decided(seen(DatasetStatus(), asked="monday")).last_handled_refresh == "monday"


def test_a_suspended_dataset_is_refreshed_when_it_is_no_longer_suspended() -> None:
    """spec.suspend starts nothing new."""
    what = seen(asked="monday", spec=spec(suspend=True))
    assert decided(what).run.number == 1
    assert decided(replace(what, spec=spec())).run.number == 2


def test_the_commands_of_alluxio_do_not_refresh() -> None:
    """They would not see what is gone: a refresh is made by our own loader."""
    what = seen(asked="monday", spec=spec(load={"loader": "AlluxioCLI", "acceptUnverified": True}))

    assert "--refresh" in argv(decide(what))
    assert decided(what).load.loader == "Grpc"


# --- its end ----------------------------------------------------------------------------------------------------------


def test_at_its_end_it_says_what_changed_and_by_how_much() -> None:
    """Entries as the master counted them, net numbers from the two counts; the old numbers are shown until then."""
    what = go_on(seen(asked="monday"), loaded())
    what = go_on(what, job(SIZE, JobState.RUNNING, run=2))
    assert (what.status.file_count, shows(what.status, SIZED).reason) == (3, "Counted")
    what = go_on(what)
    assert shows(what.status, REFRESHING).reason == "Counting"
    decision = decide(replace(what, jobs=(ended(SIZE, good(SIZE, totals=Totals(1, 2, 1042))),)))
    status = decision.status
    assert status is not None

    assert (status.file_count, status.ufs_total_bytes, status.file_num) == (1, 1042, "1")
    found = status.refresh
    assert (found.trigger, found.added, found.removed, found.changed) == ("Requested", 7, 103, 3)
    assert (found.files_delta, found.directories_delta, found.bytes_delta) == (-2, 1, 1000)
    assert (found.start_time, found.completion_time) == (rfc3339(NOW), rfc3339(NOW))
    over = shows(status, REFRESHING)
    assert (over.status, over.reason) == (FALSE, "Refreshed")
    assert over.message == "added 7, removed 103, changed 3 entries; files -2, bytes +1,000"
    assert [(event.type, event.reason, event.message) for event in decision.events] == [
        ("Normal", "Refreshed", over.message)
    ]
    assert decide(replace(what, status=status, jobs=())).events == ()


def test_where_the_master_cannot_count_its_work_only_the_net_numbers_are_told() -> None:
    """An older master says nothing; 0 would be a lie."""
    what = go_on(seen(asked="monday"), ended(LOAD, good(LOAD)))
    status = decided(go_on(what, ended(SIZE, good(SIZE))))

    assert status.refresh.added is None
    assert shows(status, REFRESHING).message == "files +0, bytes +0"


def test_a_count_that_finds_the_load_incomplete_sends_the_refresh_back_for_these_directories() -> None:
    """As in every run, and Ready all the while; the last load knows what all of them changed."""
    what = go_on(seen(asked="monday"), loaded())
    incomplete = Result(SIZE, "Incomplete", message="/d is empty", failed_directories=("/d",), failed_count=1)
    what = go_on(go_on(what, ended(SIZE, incomplete, 21)))
    assert (what.status.phase, shows(what.status, READY).status) == (Phase.READY, TRUE)
    assert (shows(what.status, REFRESHING).status, shows(what.status, REFRESHING).reason) == (TRUE, "Incomplete")
    decision = decide(replace(what, now=NOW + 60, jobs=()))
    assert argv(decision)["--directory"] == "/d"
    assert argv(decision)["--since-ms"] == str(int(1000 * NOW))
    again = ended(LOAD, good(LOAD, changes=Changes(8, 103, 3)), attempt=2)
    status = decided(go_on(what, again)).refresh
    assert (status.added, status.removed) == (8, 103)


# --- its failure ------------------------------------------------------------------------------------------------------


def failing(result: Result, code: int, attempts: int, first: Observed | None = None) -> Observed:
    """Let so many attempts of a refresh fail in the same way, each at its time."""
    what = first or seen(asked="monday")
    for attempt in range(1, attempts + 1):
        what = go_on(what, ended(LOAD, result, code, attempt=attempt), now=what.now + 400)
        assert decide(what).status is not None
        what = go_on(what)
    return what


def test_a_refresh_without_attempts_left_leaves_ready_what_was_ready_and_says_since_when() -> None:
    """Tried again once an hour, like what is Failed."""
    denied = Result(LOAD, "Incomplete", message="5 directories cannot be listed")
    half = failing(denied, 21, 3)
    assert shows(half.status, REFRESHING).status == TRUE
    what = failing(denied, 21, 4)
    status = what.status

    assert (status.phase, shows(status, READY).status, shows(status, STALLED).status) == (Phase.READY, TRUE, FALSE)
    over = shows(status, REFRESHING)
    assert (over.status, over.reason) == (FALSE, "Incomplete")
    assert f"the data is as it was counted at {rfc3339(NOW - 30)}" in over.message
    probe = decide(what).requeue_after
    assert probe == pytest.approx(HOUR, abs=2)
    later = replace(what, now=what.now + HOUR)
    assert len(created(decide(later))) == 1
    assert decided(later).run.number == 2
    assert shows(decided(later), REFRESHING).status == TRUE


def test_a_permanent_failure_is_not_repeated_and_is_told_by_a_warning() -> None:
    """The first attempt is the last one for an hour."""
    refused = Result(LOAD, "PermissionDenied", message="no")
    what = go_on(seen(asked="monday"), ended(LOAD, refused, 12))
    decision = decide(what)

    assert decision.status is not None
    assert decision.status.load.given_up
    assert [event.type for event in decision.events if event.reason == "PermissionDenied"] == ["Warning"]
    assert shows(decision.status, READY).status == TRUE


@pytest.mark.parametrize("way", ["refresh", "retry", "edit"])
def test_a_person_can_have_a_failed_refresh_tried_again_at_once(way: str) -> None:
    """A new request is a new run; the retry annotation and an edit are a new chance for this one."""
    what = failing(Result(LOAD, "Incomplete", message="no"), 21, 4)
    meta = {
        "refresh": replace(what.meta, refresh="tuesday"),
        "retry": replace(what.meta, retry="now"),
        "edit": replace(what.meta, generation=2),
    }[way]
    status = decided(replace(what, meta=meta))

    assert status.run.number == (3 if way == "refresh" else 2)
    assert (status.load.failures, status.load.given_up) == (0, False)
    assert status.refresh.before.files == 3
    assert len(created(decide(replace(what, meta=meta)))) == 1


def test_an_unreachable_master_burns_no_attempt_of_a_refresh() -> None:
    """It waits; the condition says for what."""
    down = MasterView(False, "Unreachable", "refused")
    status = decided(seen(asked="monday", master=down))

    assert status.load.failures == 0
    assert shows(status, REFRESHING).reason == "MasterUnreachable"


def test_a_suspicious_refresh_takes_ready_away_and_says_what_to_do() -> None:
    """From the first time on: readers may miss these files already. Stalled when no attempt is left."""
    what = failing(SUSPICIOUS, 25, 1)
    assert (shows(what.status, READY).status, shows(what.status, READY).reason) == (FALSE, "SuspiciousRefresh")
    assert shows(what.status, RECONCILING).status == TRUE
    what = failing(SUSPICIOUS, 25, 4)
    status = what.status

    assert (status.phase, shows(status, STALLED).status) == (Phase.READY, TRUE)
    text = shows(status, READY).message
    assert "90 of 100 entries are gone" in text
    assert "a larger spec.load.maxRemovedFraction, then the annotation data.fluid.io/refresh-requested-at" in text
    assert "mend the storage" in text
    assert (shows(status, AVAILABLE).status, status.file_count) == (TRUE, 3)


def test_a_suspicious_refresh_heals_by_itself_when_the_storage_shows_its_files_again() -> None:
    """The probe is an attempt of the same run, and named so: its Job knows what was removed before."""
    what = failing(SUSPICIOUS, 25, 4)
    what = replace(what, now=what.now + HOUR)
    assert argv(decide(what))["--since-ms"] == str(int(1000 * NOW))
    unreachable = ended(LOAD, Result(LOAD, "Unreachable", message="no answer"), 20, attempt=5)
    what = go_on(go_on(what, unreachable), now=what.now + HOUR)
    assert shows(what.status, READY).reason == "SuspiciousRefresh"
    what = go_on(what, ended(LOAD, good(LOAD, changes=Changes(90, 0, 0)), attempt=6, finished=what.now))
    what = go_on(what)
    assert shows(what.status, READY).status == TRUE
    what = go_on(what, ended(SIZE, good(SIZE), finished=what.now))
    assert shows(decided(what), REFRESHING).reason == "Refreshed"


def test_a_suspicion_outlives_the_run_in_which_it_arose() -> None:
    """Asking again does not make it Ready; only a load that succeeds does."""
    what = failing(SUSPICIOUS, 25, 4)
    status = decided(replace(what, meta=replace(what.meta, refresh="tuesday")))

    assert (status.run.number, shows(status, READY).reason) == (3, "SuspiciousRefresh")


def test_what_the_api_server_refuses_for_a_refresh_is_told_by_refreshing() -> None:
    """A quota in the way of the Job does not make the published data any worse."""
    what = go_on(seen(asked="monday"))
    status = decided(replace(what, problem=Problem("Forbidden", "exceeded quota")))

    assert (shows(status, READY).status, shows(status, REFRESHING).reason) == (TRUE, "Forbidden")


def test_changed_inputs_end_a_refresh_and_begin_a_run_of_their_own() -> None:
    """As from every other phase; the numbers of the other inputs are gone."""
    what = go_on(seen(asked="monday"), job(LOAD, JobState.RUNNING, run=2))
    status = decided(replace(what, inputs="bbbb"))

    assert (status.run.number, status.run.reason, status.phase) == (3, "InputsChanged", Phase.PENDING)
    assert (status.file_count, status.refresh.start_time) == (None, "")
    assert shows(status, REFRESHING).reason == "Superseded"


def test_a_claim_deleted_by_hand_during_a_refresh_is_made_anew() -> None:
    """Once published it stays, whatever the refresh does."""
    what = go_on(seen(asked="monday", spec=spec(volume={"publish": "AfterVerify"})))
    gone = replace(what, claim=observed().claim, volume=observed().volume)

    assert len(made(decide(gone), VOLUME, CLAIM)) == 2


# --- by schedule ------------------------------------------------------------------------------------------------------

DAILY = {"load": {"refreshSchedule": "0 3 * * *", "timeZone": "Europe/Berlin"}}
#: Of the day on which the Dataset became Ready, 2027-01-15 08:00 in UTC.
SLOT = NOW - 8 * HOUR + 26 * HOUR


def scheduled(**changes: Any) -> Observed:
    """The Ready Dataset with a schedule that was seen now."""
    return go_on(seen(spec=spec(**DAILY), **changes))


def test_a_schedule_begins_with_its_next_slot_and_the_pass_comes_back_then() -> None:
    """Three o'clock in Berlin is two in UTC; that one of this morning is over does not matter."""
    what = scheduled()

    assert what.status.run.number == 1
    assert decide(what).requeue_after == SLOT - NOW
    early = replace(what, now=SLOT - 1)
    assert decided(early).run.number == 1
    status = decided(replace(what, now=SLOT))
    assert (status.run.number, status.run.reason, status.refresh.trigger) == (2, "Refresh", "Schedule")
    assert status.refresh.last_schedule_time == rfc3339(SLOT)


def test_an_edit_of_the_schedule_makes_up_for_no_slot_that_it_never_had() -> None:
    """Else an edit in the evening would at once serve the morning."""
    what = replace(scheduled(), now=SLOT + HOUR, spec=spec(load={"refreshSchedule": "30 2 * * *"}))

    assert decided(what).run.number == 1
    assert decided(what).refresh.schedule_since == rfc3339(SLOT + HOUR)
    without = replace(what, spec=spec())
    assert decided(without).refresh.schedule == ""
    assert decide(without).requeue_after is None


def test_slots_that_came_while_nobody_looked_are_one_refresh_for_the_last_of_them() -> None:
    """The controller was down for three days."""
    what = replace(scheduled(), now=SLOT + 72 * HOUR + 60)
    status = decided(what)

    assert (status.run.number, status.refresh.last_schedule_time) == (2, rfc3339(SLOT + 72 * HOUR))
    what = go_on(go_on(what, loaded(finished=what.now)), ended(SIZE, good(SIZE), finished=what.now + 60))
    what = go_on(what)
    assert what.status.run.number == 2
    assert decide(what).requeue_after == pytest.approx(24 * HOUR - 60, abs=1)


def test_a_slot_that_comes_while_a_refresh_runs_is_skipped() -> None:
    """No pile-up: the next refresh is that of the slot after the end."""
    what = go_on(replace(scheduled(), now=SLOT), job(LOAD, JobState.RUNNING, run=2))
    what = go_on(replace(what, now=SLOT + 25 * HOUR), loaded(finished=SLOT + 25 * HOUR))
    what = go_on(what, ended(SIZE, good(SIZE), finished=SLOT + 26 * HOUR), now=SLOT + 26 * HOUR)
    what = go_on(go_on(what))

    assert what.status.run.number == 2
    assert decide(what).requeue_after == 22 * HOUR
    assert decided(replace(what, now=SLOT + 48 * HOUR)).run.number == 3


def test_a_failed_refresh_is_begun_anew_by_the_next_slot() -> None:
    """Not one hour after it, and not in vain: with all its attempts."""
    what = failing(Result(LOAD, "Incomplete", message="no"), 21, 4, first=scheduled(asked="monday"))
    what = replace(what, now=SLOT)

    assert (decided(what).run.number, decided(what).load.failures) == (3, 0)


def test_a_suspended_schedule_makes_up_for_its_last_slot_once() -> None:
    """And does not wake anybody meanwhile."""
    asleep = replace(scheduled(), spec=spec(suspend=True, **DAILY), now=SLOT + 72 * HOUR)

    assert decided(asleep).run.number == 1
    assert decide(asleep).requeue_after is None
    status = decided(replace(asleep, spec=spec(**DAILY)))
    assert (status.run.number, status.refresh.last_schedule_time) == (2, rfc3339(SLOT + 72 * HOUR))


def test_times_from_a_clock_that_ran_ahead_hold_up_no_slot() -> None:
    """A year ahead: they are as good as none."""
    what = replace(scheduled(), now=SLOT)
    run = what.status.run.model_copy(update={"start_time": rfc3339(SLOT + 365 * 24 * HOUR)})

    assert decided(replace(what, status=what.status.model_copy(update={"run": run}))).run.number == 2


# --- a master that restarted ------------------------------------------------------------------------------------------

RESTARTED = replace(REACHABLE, start_time_ms=2_000)


def checked(result: Result | None, code: int, **changes: Any) -> JobView:
    """The Job that asked for the cluster id, ended now."""
    state = JobState.FAILED if code else JobState.SUCCEEDED
    return job(SIZE, state, attempt=2, result=result, exit_code=code, **{"finished": NOW, **changes})


def told(reason: str, cluster: str) -> Result:
    """Last words of that Job."""
    return good(SIZE, reason=reason, totals=None, master=Master("m:19998", "2.9.6", cluster, 2_001))


def test_a_master_that_restarted_is_asked_for_its_cluster_id_and_nothing_else_changes() -> None:
    """One more attempt of the size step."""
    what = seen(master=RESTARTED)
    status = decided(what)

    assert argv(decide(what))["--known-cluster"] == "cluster-1"
    assert created(decide(what))[0]["metadata"]["labels"][STEP] == SIZE
    assert (status.run.number, status.size.attempt, status.master.checking) == (1, 2, 2_000)
    assert (status.phase, status.file_count, shows(status, READY).status) == (Phase.READY, 3, TRUE)
    assert "the master restarted" in shows(status, METADATA_LOADED).message
    assert find(status.conditions, REFRESHING) is None


def test_the_same_cluster_notes_the_new_start_and_asks_no_more() -> None:
    """Also where the Job saw another start than the poller: two sources that differ must not ask for ever."""
    what = go_on(seen(master=RESTARTED), checked(told("SameCluster", "cluster-1"), 0))
    status = decided(what)

    assert (status.master.start_time_ms, status.master.checking, status.master.cluster_id) == (2_000, 0, "cluster-1")
    assert (status.size.files, status.file_count, status.run.number) == (3, 3, 1)
    rest = decide(replace(what, status=status, jobs=()))
    assert (rest.children, rest.status) == ((), status)
    third = decide(replace(what, status=status, jobs=(), master=replace(RESTARTED, start_time_ms=3_000)))
    assert created(third)[0]["metadata"]["name"].endswith("-size-1-3")


def test_another_cluster_begins_a_new_run() -> None:
    """Others had loaded as much into the formatted master."""
    what = go_on(seen(master=RESTARTED), checked(told("MasterChanged", "cluster-2"), 24))
    status = decided(what)

    assert (status.run.number, status.run.reason, status.phase) == (2, "MasterReset", Phase.PENDING)
    assert (status.file_count, status.master) == (None, MasterStatus())
    assert shows(status, AVAILABLE).status == TRUE


def test_a_master_that_restarts_once_more_while_it_is_asked_is_asked_again() -> None:
    """The Job names the known cluster: that proves no loss."""
    what = go_on(seen(master=RESTARTED), checked(told("MasterChanged", "cluster-1"), 24))
    status = decided(what)

    assert (status.run.number, status.size.attempt, status.size.completion_time) == (1, 3, ready().size.completion_time)


def test_fewer_paths_than_were_counted_need_no_question() -> None:
    """There is nothing to ask about."""
    status = decided(seen(master=replace(RESTARTED, total_paths=1)))

    assert (status.run.number, status.run.reason) == (2, "MasterReset")


@pytest.mark.parametrize(("paths", "reason"), [(1, "MasterReset"), (96, "Refresh"), (89, "MasterReset")])
def test_during_a_refresh_a_master_may_know_fewer_paths_by_what_a_refresh_may_remove(paths: int, reason: str) -> None:
    """100 entries were counted, a tenth may go."""
    status = ready()
    size = status.size.model_copy(update={"files": 90, "directories": 10})
    what = go_on(seen(status.model_copy(update={"size": size}), asked="monday"), job(LOAD, JobState.RUNNING, run=2))

    assert decided(replace(what, master=replace(RESTARTED, total_paths=paths))).run.reason == reason


def test_a_refresh_under_way_asks_no_question_of_its_own_and_one_that_is_asked_for_takes_its_place() -> None:
    """Its Jobs find out by themselves."""
    what = go_on(seen(asked="monday"), job(LOAD, JobState.RUNNING, run=2), master=RESTARTED)
    assert decided(what).master.checking == 0
    denied = checked(Result(SIZE, "PermissionDenied", message="no"), 12)
    what = go_on(go_on(seen(master=RESTARTED), denied))
    assert what.status.size.given_up
    status = decided(replace(what, meta=replace(what.meta, refresh="monday")))
    assert (status.run.reason, status.master.checking) == ("Refresh", 0)


def test_a_check_that_fails_costs_neither_the_count_nor_ready() -> None:
    """It is tried again; why is in the condition that it is about."""
    what = go_on(seen(master=RESTARTED), checked(None, 137))
    status = decided(what)

    assert (status.size.attempt, status.size.failures, status.size.completion_time) == (
        3,
        1,
        ready().size.completion_time,
    )
    assert (shows(status, READY).status, shows(status, STALLED).status) == (TRUE, FALSE)
    assert "whether it still has it: Job" in shows(status, METADATA_LOADED).message
    down = MasterView(False, "Unreachable", "refused")
    assert decide(replace(what, status=status, jobs=(), master=down, now=NOW + 60)).children == ()


def test_without_a_known_cluster_or_when_suspended_nobody_is_asked() -> None:
    """There is nothing to compare with; suspend starts nothing."""
    nameless = ready().model_copy(update={"master": MASTER.model_copy(update={"cluster_id": ""})})
    assert decided(seen(nameless, master=RESTARTED)).master.checking == 0
    assert decided(seen(master=RESTARTED, spec=spec(suspend=True))).master.checking == 0


def test_every_exit_code_of_a_refresh_leaves_ready_the_phase() -> None:
    """Whatever a Job says, in either step."""
    for code, step in [(code, step) for code in Exit if code for step in (LOAD, SIZE)]:
        what = go_on(seen(asked="monday"), loaded())
        if step == LOAD:
            what = go_on(seen(asked="monday"))
        result = Result(step, re.sub(r"\W", "", code.name.title()), message="it says why")
        status = decided(replace(what, jobs=(ended(step, result, code),)))
        assert status.phase is Phase.READY, (code, step)
        assert epoch(status.refresh.start_time) == NOW
