"""Stories of a DataBackup: what it waits for, what is refused, how it fails, and how it goes."""

from dataclasses import replace
from typing import Any

import pytest

from controllers.api.conditions import FALSE, RECONCILING, STALLED, TRUE, UNKNOWN, find
from controllers.api.databackup import (
    BackupPhase,
    DataBackupStatus,
    PathError,
    claim_path,
    parse_claim_path,
)
from controllers.api.dataset import MasterStatus
from controllers.api.job_commands import REMOVE, TAKE, VERIFY
from controllers.api.result import Exit, Result
from controllers.api.times import rfc3339
from controllers.backup import FINALIZER, Observed, decide, queue
from controllers.backup.report import COMPLETE, EXECUTING, FAILED, VERIFIED
from controllers.backup.seen import ClaimView, DatasetView, LostPod, Place
from controllers.backup.windup import REMOVAL_SECONDS
from controllers.config import ControllerConfig
from controllers.dataset.seen import LOST_SECONDS, JobState
from controllers.decision import Decision, Delete, Event, Problem
from controllers.jobs import DATASET_UID, MASTERS, PATH
from controllers.observe_backup import dataset_view
from tests.backup_kit import META, NOW, READY, World, job, observed, place, spec
from tests.builders import made as created


def status_of(decision: Decision) -> DataBackupStatus:
    assert isinstance(decision.status, DataBackupStatus)
    return decision.status


def why(decision: Decision) -> tuple[str, str]:
    """Reason and message of what is under way."""
    found = find(status_of(decision).conditions, RECONCILING)
    assert found is not None
    return found.reason, found.message


def command(body: dict[str, Any]) -> list[str]:
    return list(body["spec"]["template"]["spec"]["containers"][0]["command"])


def run(world: World, rounds: int = 30) -> World:
    """Let the world go on by itself, every Job doing what it is for, until nothing changes."""
    for _ in range(rounds):
        before = (world.status, dict(world.jobs))
        world.pass_()
        if world.gone:
            return world
        found = world.alive()
        if found is not None:
            world.end(found) if found.state is JobState.RUNNING else world.advance(found)
        elif before == (world.status, dict(world.jobs)):
            return world
        world.now += 1
    raise AssertionError("it never ends")


def complete(**changes: Any) -> World:
    """A world with a complete backup."""
    world = run(World(**changes))
    assert world.status.phase is BackupPhase.COMPLETE
    return world


# --- the good life ----------------------------------------------------------------------------------------------------


def test_a_backup_becomes_complete_and_says_what_it_holds() -> None:
    world = complete()
    status = world.status
    assert (status.entry_count, status.size_bytes, status.engine_version) == (7, 99, "2.9.6")
    assert status.checksum.startswith("sha256:c")
    assert status.manifest_sha256.startswith("sha256:d")
    assert status.location is not None
    assert claim_path(status.location) == "pvc://backups/daily/imagenet/nightly-9b1d4c22"
    assert status.source is not None
    assert (status.source.dataset_uid, status.source.mounts_hash) == ("uid-of-dataset", "aaaa")
    assert (status.attempts, status.duration, status.failure_reason) == (1, "2s", "")
    shown = {condition.type: condition.status for condition in status.conditions}
    assert shown == {
        EXECUTING: FALSE, COMPLETE: TRUE, FAILED: FALSE, VERIFIED: TRUE, RECONCILING: FALSE, STALLED: FALSE,
    }  # fmt: skip
    assert world.jobs == {}, "the Jobs go when the result is recorded"
    assert world.files == {"complete"}


def test_the_job_asks_the_agent_of_a_managed_alluxio_and_is_held_beside_no_load_there() -> None:
    (body,) = created(decide(observed()))
    assert body["metadata"]["name"] == "nightly-9b1d4-take-1"
    assert body["spec"]["suspend"] is True
    assert body["spec"]["activeDeadlineSeconds"] == 3600
    assert DATASET_UID not in body["metadata"]["labels"], "no Dataset waits for its pod, if that is lost"
    assert body["metadata"]["annotations"] == {MASTERS: '["imagenet-master-0.default.svc:19998"]', PATH: "/"}
    words = command(body)
    assert words[:2] == ["fluidctl", TAKE]
    assert "--agent=http://imagenet-master-0.default.svc:19997" in words
    assert "--directory=daily/imagenet/nightly-9b1d4c22" in words
    volumes = body["spec"]["template"]["spec"]["volumes"]
    assert {"claimName": "backups", "readOnly": False} in [volume.get("persistentVolumeClaim") for volume in volumes]
    assert "imagenet-agent" in [volume.get("secret", {}).get("secretName") for volume in volumes]


def test_an_existing_alluxio_writes_into_the_directory_that_it_shares() -> None:
    dataset = replace(READY, agent="", agent_secret="", shared_directory="/backups/")
    allowed = ControllerConfig(backup_directories=("/srv", "/backups"))
    words = command(created(decide(observed(dataset=dataset, config=allowed)))[0])
    assert "--shared-directory=/backups/" in words
    assert not [word for word in words if word.startswith("--agent")]


@pytest.mark.parametrize("directory", ["/etc", "/backups2", "/backups/../etc", "/"])
def test_no_tenant_lets_a_shared_master_write_where_the_administrator_does_not(directory: str) -> None:
    dataset = replace(READY, agent="", agent_secret="", shared_directory=directory)
    status = status_of(decide(observed(dataset=dataset, config=ControllerConfig(backup_directories=("/backups",)))))
    assert (status.phase, status.failure_reason) == (BackupPhase.FAILED, "BackupDirectoryNotAllowed")


def test_the_pods_run_as_who_is_asked_for() -> None:
    (body,) = created(decide(observed(spec=spec(runAs={"uid": 1000, "gid": 100}))))
    context = body["spec"]["template"]["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (1000, 100, 100)


def test_a_long_name_still_gives_names_that_fit() -> None:
    meta = replace(META, name="x" * 250)
    (body,) = created(decide(observed(meta=meta)))
    assert len(body["metadata"]["name"]) <= 63
    directory = next(word for word in command(body) if word.startswith("--directory="))
    assert len(f".{directory.rpartition('/')[2]}.partial") <= 255
    assert directory.endswith(f"-{META.uid[:8]}")


# --- what is waited for, and what is refused --------------------------------------------------------------------------

WAITS = {
    "DatasetNotFound": {"dataset": DatasetView()},
    "DatasetNotReady": {"dataset": replace(READY, ready=False, why="Loading: it loads")},
    "MasterNotReady": {"dataset": replace(READY, ready=False, master_down="refused")},
    "VolumeNotFound": {"claim": ClaimView(exists=False)},
    "VolumeUnavailable": {"claim": ClaimView(exists=True, lost=True)},
    "WaitingForBackup": {"others": (Place("earlier", NOW - 500),)},
}


@pytest.mark.parametrize("reason", WAITS)
def test_what_is_waited_for_has_a_name_and_makes_no_job(reason: str) -> None:
    decision = decide(observed(**WAITS[reason]))
    assert why(decision)[0] == reason
    assert status_of(decision).phase is BackupPhase.PENDING
    assert status_of(decision).message == why(decision)[1]
    assert not created(decision)


@pytest.mark.parametrize("reason", WAITS)
def test_no_wait_is_longer_than_the_starting_deadline_where_there_is_one(reason: str) -> None:
    early = observed(spec=spec(startingDeadlineSeconds=101), **WAITS[reason])
    waiting = decide(early)
    assert waiting.requeue_after is not None
    assert waiting.requeue_after <= 1
    late = status_of(decide(replace(early, now=NOW + 1, status=status_of(waiting))))
    assert (late.phase, late.failure_reason) == (BackupPhase.FAILED, "DeadlineExceeded")
    assert late.message.startswith("spec.startingDeadlineSeconds is over: ")
    assert status_of(waiting).message in late.message


REFUSED = {
    "CrossNamespace": {"spec": spec(dataset={"name": "imagenet", "namespace": "other"})},
    "PathInvalid": {"spec": spec(backupStorageLocationSpec={"mountPath": "s3://a"})},
    "BackupDirectoryMissing": {"dataset": replace(READY, agent="", unshared=True)},
    "BackupDirectoryNotAllowed": {"dataset": replace(READY, agent="", shared_directory="/backups")},
    "InvalidSpec": {"spec": None, "spec_error": "spec.backoffLimit: too much"},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_no_waiting_can_mend_fails_at_once_without_a_job(reason: str) -> None:
    decision = decide(observed(**REFUSED[reason]))
    status = status_of(decision)
    assert (status.phase, status.failure_reason) == (BackupPhase.FAILED, reason)
    assert not decision.children
    assert [(event.type, event.reason) for event in decision.events] == [("Warning", reason)]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("pvc://backups", ("backups", "")),
        ("pvc://backups/", ("backups", "")),
        ("pvc://a.b-c/x//y/", ("a.b-c", "x/y")),
    ],
)
def test_a_mount_path_names_a_claim_and_a_directory(path: str, found: tuple[str, str]) -> None:
    assert parse_claim_path(path) == found


@pytest.mark.parametrize("path", ["", "backups", "local://a", "pvc://", "pvc://A/b", "pvc://a/../b", "pvc://a/\nb"])
def test_a_mount_path_that_is_none_is_refused_in_words(path: str) -> None:
    with pytest.raises(PathError, match=r"pvc://claim/directory|must hold no"):
        parse_claim_path(path)


def test_who_stands_in_the_line_looks_again_by_itself() -> None:
    decision = decide(observed(others=(Place("older", NOW - 500, started=True),)))
    assert decision.requeue_after is not None, "that the one before has failed and is being stopped wakes nobody"


def test_who_has_begun_goes_on_and_else_the_oldest_that_can_goes_first() -> None:
    mine = Place("b", 10.0)
    assert queue.ahead(mine, ()) is None
    assert queue.ahead(mine, (Place("c", 10.0), Place("a", 11.0))) is None
    assert queue.ahead(mine, (Place("a", 10.0),)) == Place("a", 10.0)
    assert queue.ahead(mine, (Place("z", 99.0, started=True),)) == Place("z", 99.0, started=True)
    assert queue.ahead(replace(mine, started=True), (Place("a", 1.0, started=True),)) is None
    assert queue.ahead(mine, (Place("a", 1.0, able=False),)) is None, "a claim that is missing holds up nobody else"


# --- attempts and deadlines -------------------------------------------------------------------------------------------


def begun(**changes: Any) -> DataBackupStatus:
    """A backup whose first Job was released."""
    first = status_of(decide(observed()))
    status = status_of(decide(observed(status=first, jobs=(job(TAKE, JobState.RUNNING),))))
    assert status.phase is BackupPhase.EXECUTING
    return status.model_copy(update=changes)


def test_a_failed_attempt_is_repeated_after_a_pause_and_no_more_often_than_asked_for() -> None:
    world = World(spec=spec(backoffLimit=1))
    names = []
    for _ in range(12):
        world.pass_()
        found = world.alive()
        if found is not None and found.step == TAKE:
            names.append(found.name)
            world.jobs[found.name] = replace(found, started=world.now)
            world.end(world.jobs[found.name], Exit.BACKUP_FAILED)
        elif found is not None:
            world.end(found)
        elif world.status.phase is BackupPhase.PENDING or world.status.phase is BackupPhase.EXECUTING:
            world.now += 20
    assert names == ["nightly-9b1d4-take-1", "nightly-9b1d4-take-2"]
    assert (world.status.phase, world.status.failure_reason) == (BackupPhase.FAILED, "BackupFailed")
    assert world.status.attempts == 2
    assert [found.name for found in world.jobs.values()] == names, "people read the logs of the failed ones"


@pytest.mark.parametrize("code", [Exit.UNREACHABLE, Exit.BACKUP_IN_PROGRESS])
def test_what_is_not_the_backups_fault_is_not_charged_but_the_active_deadline_bounds_it(code: Exit) -> None:
    status, attempt, now = begun(), 1, NOW
    for _ in range(20):
        now += 400
        failed = job(TAKE, JobState.FAILED, attempt=attempt, code=code)
        decision = decide(observed(status=status, now=now, jobs=(failed,)))
        status = status_of(decision)
        if status.failure_reason:
            break
        attempt = status.take.attempt
        assert status.take.failures == 0
    assert status.failure_reason == "DeadlineExceeded"
    assert "activeDeadlineSeconds" in status.message
    assert "it says why" in status.message, "the last error is not lost"
    assert now < NOW + 3600 + 400


def test_a_permanent_refusal_is_not_repeated() -> None:
    failed = job(TAKE, JobState.FAILED, code=Exit.BACKUP_REFUSED)
    status = status_of(decide(observed(status=begun(), jobs=(failed,))))
    assert (status.failure_reason, status.take.attempt) == ("BackupRefused", 1)


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        ('FailedMount: MountVolume.SetUp failed for volume "pv1"', "VolumeUnavailable"),
        ('Unschedulable: persistentvolumeclaim "x" not found', "VolumeUnavailable"),
        ("ImagePullBackOff: no such image", "DeadlineExceeded"),
    ],
)
def test_a_pod_that_does_not_start_in_time_fails_the_backup_in_its_own_words(waiting: str, reason: str) -> None:
    starting = job(TAKE, JobState.STARTING, waiting=waiting)
    assert status_of(decide(observed(status=begun(), jobs=(starting,), now=NOW + 519))).failure_reason == ""
    decision = decide(observed(status=begun(), jobs=(starting,), now=NOW + 521))
    status = status_of(decision)
    assert (status.failure_reason, status.phase) == (reason, BackupPhase.EXECUTING)
    assert waiting in status.message
    assert starting.uid in [child.uid for child in decision.children if hasattr(child, "uid")]


def test_a_pod_that_replaces_one_which_ran_has_the_whole_time_again() -> None:
    late = job(TAKE, JobState.STARTING, started=NOW - 2000, pod_created=NOW - 10)
    status = begun(start_time=rfc3339(NOW - 2000))
    assert status_of(decide(observed(status=status, jobs=(late,)))).failure_reason == ""


def test_a_deadline_ends_the_worker_before_the_backup_is_failed() -> None:
    world = World()
    for _ in range(3):
        world.pass_()
        if found := world.alive():
            world.advance(found)
    world.pass_()
    pods = set(world.pods)
    assert pods
    world.now += 4000
    world.pass_()
    assert world.status.failure_reason == "DeadlineExceeded"
    assert not world.jobs
    world.pods = pods  # the Job is gone, and its container is still at it
    world.pass_()
    assert (world.status.phase, world.jobs) == (BackupPhase.EXECUTING, {})
    assert why(decide(world.seen()))[1].endswith(f"waiting for {pods.pop()} to end")
    world.pods = set()
    run(world)
    assert (world.status.phase, world.files) == (BackupPhase.FAILED, set())


def test_a_job_that_ended_well_counts_although_the_controller_comes_too_late() -> None:
    done = job(TAKE, JobState.SUCCEEDED)
    status = status_of(decide(observed(status=begun(), jobs=(done,), now=NOW + 10**6)))
    assert status.phase is BackupPhase.COMPLETE
    assert status.completion_time == rfc3339(NOW - 60)


def test_a_master_that_lost_the_metadata_is_never_taken_for_the_dataset() -> None:
    done = job(TAKE, JobState.SUCCEEDED)
    assert done.result is not None
    assert done.result.master is not None
    other = replace(done, result=replace(done.result, master=replace(done.result.master, cluster_id="cluster-2")))
    status = status_of(decide(observed(status=begun(), jobs=(other,))))
    assert (status.failure_reason, status.phase) == ("MasterRestarted", BackupPhase.EXECUTING)
    restarted = job(TAKE, JobState.FAILED, code=Exit.MASTER_CHANGED)
    status = status_of(decide(observed(status=begun(), jobs=(restarted,))))
    assert status.take.last_reason == "MasterRestarted"


def test_what_was_backed_up_while_the_dataset_was_mounted_anew_is_not_the_dataset() -> None:
    """A Job that waits for its turn may run after the mount Job of a new run and before its load Job."""
    done, ready = job(TAKE, JobState.SUCCEEDED), replace(READY, run=3)

    def ended(**changes: Any) -> DataBackupStatus:
        first = status_of(decide(observed(dataset=ready)))
        return status_of(decide(observed(status=first, jobs=(done,), dataset=replace(ready, **changes))))

    assert ended().phase is BackupPhase.COMPLETE
    assert ended(run=4, refreshes=True).phase is BackupPhase.COMPLETE, "a refresh keeps what is loaded"
    assert ended(uid="").phase is BackupPhase.COMPLETE, "it was deleted afterwards"
    for changes in ({"run": 4}, {"run": 5, "refreshes": True}, {"run": 4, "ready": False}):
        assert ended(**changes).failure_reason == "DatasetChanged", changes


def test_what_an_earlier_attempt_finished_of_other_mounts_does_not_count() -> None:
    """Its Job died before it could say so, and the next one finds it in the volume."""
    status = status_of(decide(observed(dataset=replace(READY, mounts_hash="bbbb"))))
    status = status_of(decide(observed(status=status, jobs=(job(TAKE, JobState.SUCCEEDED),))))
    assert status.failure_reason == "DatasetChanged"


def test_a_dataset_that_is_deleted_in_the_middle_gets_no_further_attempt() -> None:
    failed = job(TAKE, JobState.FAILED, code=Exit.BACKUP_FAILED)
    for dataset in (DatasetView(), replace(READY, deleting=True), replace(READY, uid="another")):
        status = status_of(decide(observed(status=begun(), jobs=(failed,), dataset=dataset)))
        assert status.failure_reason == "DatasetNotFound"


def test_a_dataset_that_is_loaded_anew_in_the_middle_is_waited_for_before_the_next_attempt() -> None:
    failed = job(TAKE, JobState.FAILED, code=Exit.UNREACHABLE)
    loading = replace(READY, ready=False, why="MasterReset: it loads", master=MasterStatus(cluster_id="cluster-2"))
    decision = decide(observed(status=begun(), jobs=(failed,), dataset=loading, now=NOW + 400))
    assert why(decision)[0] == "DatasetNotReady"
    assert not created(decision)
    again = decide(observed(status=status_of(decision), now=NOW + 800))
    assert [body["metadata"]["name"] for body in created(again)] == ["nightly-9b1d4-take-2"]


@pytest.mark.parametrize("lost", [JobState.SUCCEEDED, JobState.FAILED])
def test_last_words_that_are_lost_cost_an_attempt_after_some_seconds(lost: JobState) -> None:
    mute = job(TAKE, lost, result=None, exit_code=None, finished=NOW - 5)
    decision = decide(observed(status=begun(), jobs=(mute,)))
    assert why(decision)[0] == "ReadingResult"
    assert decision.requeue_after == pytest.approx(5)
    status = status_of(decide(observed(status=begun(), jobs=(mute,), now=NOW + 5)))
    assert status.take.failures == 1
    assert status.take.last_reason == ("ResultLost" if lost is JobState.SUCCEEDED else "JobFailed")


def test_what_the_api_server_refuses_is_said_and_tried_again() -> None:
    decision = decide(observed(problem=Problem("Forbidden", "quota")))
    assert why(decision) == ("Forbidden", "quota")
    assert created(decision)


def test_a_job_that_the_api_server_refuses_does_not_hold_up_the_others_for_ever() -> None:
    refused = Problem("Forbidden", "quota")
    status = status_of(decide(observed(problem=refused)))
    early = status_of(decide(observed(status=status, problem=refused, now=NOW + 599)))
    assert early.failure_reason == ""
    late = status_of(decide(observed(status=early, problem=refused, now=NOW + 600)))
    assert late.failure_reason == "DeadlineExceeded"
    assert "quota" in late.message


# --- nothing of a failed backup stays ---------------------------------------------------------------------------------


def test_all_of_a_failed_backup_is_removed_before_it_is_called_failed() -> None:
    failed = job(TAKE, JobState.FAILED, code=Exit.BACKUP_REFUSED)
    status = status_of(decision := decide(observed(status=begun(), jobs=(failed,))))
    (body,) = created(decision)
    assert command(body)[:2] == ["fluidctl", REMOVE]
    assert "--partial-only" not in command(body), "the deadline may have struck just after the rename"
    assert f"--backup-uid={META.uid}" in command(body), "another's stays"
    assert body["metadata"]["annotations"][MASTERS] == "[]", "it waits for no Alluxio"
    assert status.phase is BackupPhase.EXECUTING
    removed = job(REMOVE, JobState.SUCCEEDED)
    over = status_of(decide(observed(status=status, jobs=(failed, removed))))
    assert (over.phase, over.location) == (BackupPhase.FAILED, None)


@pytest.mark.parametrize("lost", [False, True])
def test_a_removal_that_fails_again_and_again_is_given_up_and_says_what_stays_where(lost: bool) -> None:
    """Its Job is never created, or its node is lost and it runs for ever."""
    status, now = begun(failure_reason="BackupFailed", message="no"), NOW
    for _ in range(60):
        jobs = (
            (job(REMOVE, JobState.RUNNING, attempt=status.cleanup.attempt),) if lost and status.cleanup.attempt else ()
        )
        status = status_of(decide(observed(status=status, now=now, jobs=jobs)))
        if status.phase is BackupPhase.FAILED:
            break
        now += REMOVAL_SECONDS / 5
    assert status.phase is BackupPhase.FAILED
    assert now - NOW < 4 * REMOVAL_SECONDS
    assert "pvc://backups/daily/imagenet/nightly-9b1d4c22 could not be removed" in status.message
    assert status.location == place()


def test_what_another_has_under_the_final_name_is_never_removed() -> None:
    failed = job(TAKE, JobState.FAILED, code=Exit.BACKUP_REFUSED)
    taken = replace(failed, result=Result(TAKE, "DirectoryTaken", message="it is there"))
    decision = decide(observed(status=begun(), jobs=(taken,)))
    gone = decide(observed(status=status_of(decision), meta=replace(META, deleting=True), jobs=(taken,)))
    lost = decide(observed(status=begun(), jobs=(taken,), lost_pods=(LostPod("x", "n1"),)))
    later = decide(
        observed(status=status_of(lost), meta=replace(META, deleting=True), spec=spec(deletionPolicy="Delete"))
    )
    for body in (*created(decision), *created(gone), *created(later)):
        assert "--partial-only" in command(body)
    assert created(decision)
    assert created(later)


# --- a node that does not answer --------------------------------------------------------------------------------------

POD = "nightly-9b1d4-take-1-x"


def frozen(**changes: Any) -> World:
    """A backup whose node was lost while it ran, some seconds after its deadline: its Job is gone, its pod is not."""
    world = World(**changes)
    for _ in range(3):
        world.pass_()
        if found := world.alive():
            world.advance(found)
    world.stuck = set(world.pods)
    assert world.stuck == {POD}
    world.now += 4000
    world.pass_()
    world.pass_()
    assert (world.jobs, world.pods) == ({}, {POD})
    return world


def given_up(world: World) -> list[Event]:
    """Let the time pass that a pod has to end; return the events of the next look."""
    world.now += 30 + LOST_SECONDS - 1
    before = world.pass_()
    assert why(before)[1].endswith(f"waiting for {POD} to end"), "not a second earlier"
    assert before.requeue_after is not None
    world.now += 1
    return list(world.pass_().events)


def test_a_backup_on_a_lost_node_fails_when_its_pod_had_time_enough_to_end_and_its_files_are_kept() -> None:
    world = frozen()
    (event,) = given_up(world)
    status = world.status
    assert (status.phase, status.failure_reason) == (BackupPhase.FAILED, "PodLost")
    assert (event.type, event.reason, event.message) == ("Warning", "PodLost", status.message)
    assert f"pvc://backups/daily/imagenet/nightly-9b1d4c22 is kept: pod {POD} on node n1 should" in status.message
    assert f"kubectl delete pod --force -n default {POD}" in status.message, "what to do"
    assert "DeadlineExceeded: spec.activeDeadlineSeconds is over" in status.message, "and why it had failed"
    stalled, failed = find(status.conditions, STALLED), find(status.conditions, FAILED)
    assert stalled is not None
    assert failed is not None
    assert (stalled.reason, stalled.message) == (failed.reason, failed.message) == ("PodLost", status.message)
    assert (world.files, status.location) == ({"partial"}, place())
    assert not [made for made in world.created if "-delete-" in made]


def test_what_a_lost_pod_finishes_later_is_never_complete_and_goes_with_the_object() -> None:
    for policy, left in (("Delete", set[str]()), ("Retain", {"complete"})):
        world = frozen(spec=spec(deletionPolicy=policy))
        given_up(world)
        world.files = {"complete"}
        run(world)
        assert (world.status.phase, world.status.checksum, world.files) == (BackupPhase.FAILED, "", {"complete"})
        world.heal()
        run(deleting(world))
        assert (world.gone, world.files) == (True, left)


def test_one_that_is_deleted_while_its_node_is_lost_goes_when_its_pod_had_time_enough() -> None:
    for world in (frozen(), frozen(spec=spec(deletionPolicy="Delete"))):
        events = given_up(deleting(world))
        assert (world.gone, world.files) == (True, {"partial"})
        (event,) = events
        assert (event.type, event.reason) == ("Warning", "FilesKept")
        assert f"pod {POD} on node n1" in event.message
        assert event.message.endswith("remove it by hand")


def test_one_that_has_given_up_its_pod_goes_at_once_and_says_again_what_stays() -> None:
    world = frozen()
    given_up(world)
    events = deleting(world).pass_().events
    assert world.gone
    assert [event.reason for event in events] == ["FilesKept"]


def test_a_pod_that_ends_before_it_is_given_up_is_cleaned_up_after_as_ever() -> None:
    world = frozen()
    world.now += LOST_SECONDS
    world.pass_()
    world.heal()
    run(world)
    assert (world.status.phase, world.status.failure_reason) == (BackupPhase.FAILED, "DeadlineExceeded")
    assert world.files == set()


@pytest.mark.parametrize("lost", [POD, "an-older-one"])
def test_a_job_that_is_being_deleted_is_not_waited_for_but_its_pod_is(lost: str) -> None:
    """Somebody deleted it in the foreground, so it goes after its pod; or anybody's finalizer holds it for ever."""
    doomed, held = begun(failure_reason="DeadlineExceeded", message="late"), job(TAKE, JobState.DELETING)
    seen = observed(status=doomed, jobs=(held,))
    assert why(decide(replace(seen, running_pods=(POD,))))[1].endswith(f"waiting for {POD} to end")
    assert [command(body)[1] for body in created(decide(seen))] == [REMOVE]
    seen = replace(seen, lost_pods=(LostPod(lost, "n1"),))
    assert status_of(decide(seen)).failure_reason == "PodLost"
    alive = job(TAKE, JobState.RUNNING)
    waiting = decide(replace(seen, jobs=(alive,)))
    assert why(waiting)[1].endswith(f"waiting for {alive.name} to end")
    assert len(waiting.children) == 1, "which is deleted first"


@pytest.mark.parametrize("failed", [False, True])
def test_no_second_writer_is_made_beside_a_pod_that_may_write(failed: bool) -> None:
    """Somebody deleted its Job, or that has failed; when the pod is lost, it would give up its turn to the second."""
    jobs = (job(TAKE, JobState.FAILED, code=Exit.BACKUP_FAILED),) if failed else ()
    waiting = decide(observed(status=begun(), jobs=jobs, running_pods=(POD,)))
    assert (created(waiting), why(waiting)[0]) == ([], "BackupFailed" if failed else "JobDeleted")
    assert f"waiting for {POD} to end" in why(waiting)[1]
    assert waiting.requeue_after is not None
    later = status_of(waiting)
    lost = decide(observed(status=later, now=NOW + 700, lost_pods=(LostPod(POD, "n1"),)))
    status = status_of(lost)
    assert (created(lost), status.phase, status.failure_reason) == ([], BackupPhase.FAILED, "PodLost")
    assert ("BackupFailed: it says why" if failed else "JobDeleted: its Job was deleted") in status.message
    assert created(decide(observed(status=later, now=NOW + 700))), "it has ended"


@pytest.mark.parametrize(("policy", "left"), [("Retain", {"complete"}), ("Delete", set[str]())])
def test_a_verification_on_a_lost_node_is_made_elsewhere_and_says_at_last_that_nothing_is_known(
    policy: str, left: set[str]
) -> None:
    """Its pods, which only read, keep no file of a backup that goes with its files."""
    world = complete(spec=spec(deletionPolicy=policy))
    asked(world)
    for _ in range(30):
        if found := world.alive():
            world.advance(found)
            world.stuck |= world.pods
            world.due |= dict.fromkeys(world.pods - set(world.due), world.now)  # Kubernetes deletes it there
        world.pass_()
        world.now += 300
    verified = find(world.status.conditions, VERIFIED)
    assert verified is not None
    assert (verified.status, verified.reason) == (UNKNOWN, "NotVerified")
    assert "PodLost: pod nightly-9b1d4-verify-3-x on node n1" in verified.message
    assert (world.status.phase, len(world.pods), world.jobs) == (BackupPhase.COMPLETE, 3, {})
    assert deleting(world).pass_().events == ()
    run(world)
    assert (world.gone, world.files) == (True, left)


# --- the end of the object --------------------------------------------------------------------------------------------


def deleting(world: World) -> World:
    world.meta = replace(world.meta, deleting=True)
    return world


def test_a_complete_backup_keeps_its_files_unless_they_are_to_go() -> None:
    kept = run(deleting(complete()))
    assert (kept.gone, kept.files) == (True, {"complete"})
    assert not [made for made in kept.created if "-delete-" in made]
    gone = run(deleting(complete(spec=spec(deletionPolicy="Delete"))))
    assert (gone.gone, gone.files) == (True, set())


def test_a_backup_under_way_is_cancelled_and_leaves_nothing() -> None:
    for rounds in range(5):
        world = World()
        for _ in range(rounds):
            world.pass_()
            if found := world.alive():
                world.advance(found)
        run(deleting(world))
        assert (world.gone, world.files, world.pods) == (True, set(), set())


def test_files_that_are_being_restored_from_do_not_go() -> None:
    world = deleting(complete(spec=spec(deletionPolicy="Delete")))
    decision = decide(replace(world.seen(), users=("copy",)))
    assert why(decision)[0] == "BackupInUse"
    assert "copy" in why(decision)[1]
    assert decision.requeue_after is not None
    assert not decision.children


def test_who_reads_what_a_lost_pod_finished_keeps_it_and_holds_up_no_removal_of_what_is_not_finished() -> None:
    """Its node came back, so nothing else is in the way."""
    for policy, reason in (("Delete", "BackupInUse"), ("Retain", "RemovingFiles")):
        world = frozen(spec=spec(deletionPolicy=policy))
        given_up(world)
        world.heal()
        decision = decide(replace(deleting(world).seen(), users=("copy",)))
        assert why(decision)[0] == reason
        assert all("--partial-only" in command(body) for body in created(decision))


def test_a_deletion_whose_files_cannot_be_removed_lets_go_and_says_so() -> None:
    world = deleting(complete(spec=spec(deletionPolicy="Delete")))
    decision = Decision()
    for _ in range(60):
        decision = decide(world.seen())
        if decision.release:
            break
        world.status = status_of(decision)
        world.now += REMOVAL_SECONDS / 5
    assert decision.release
    assert decision.finalizers is not None
    assert FINALIZER not in decision.finalizers.finalizers
    assert [(event.type, event.reason) for event in decision.events] == [("Warning", "FilesKept")]


def test_in_a_namespace_that_is_being_deleted_nothing_is_waited_for() -> None:
    world = deleting(complete(spec=spec(deletionPolicy="Delete")))
    refused = Problem("NamespaceTerminating", "nothing can be created")
    assert decide(replace(world.seen(), problem=refused)).release


def test_the_object_goes_when_its_time_has_come() -> None:
    world = complete(spec=spec(ttlSecondsAfterFinished=60))
    world.now = NOW + 30
    decision = decide(world.seen())
    assert decision.requeue_after is not None
    assert not decision.children
    world.now += decision.requeue_after
    (child,) = decide(world.seen()).children
    assert child == Delete("DataBackup", META.name, META.uid)


# --- verified again ---------------------------------------------------------------------------------------------------


def asked(world: World) -> Observed:
    world.meta = replace(world.meta, verify="now")
    world.pass_()
    (body,) = [found for found in world.jobs.values() if found.step == VERIFY]
    assert body.attempt == 1
    return world.seen()


def test_a_backup_is_verified_again_on_request_once() -> None:
    world = complete()
    assert why(decide(asked(world)))[0] == "Verifying"
    run(world)
    status = world.status
    assert (status.phase, status.last_handled_verify) == (BackupPhase.COMPLETE, "now")
    assert len([made for made in world.created if "-verify-" in made]) == 1
    assert world.jobs == {}
    world.meta = replace(world.meta, verify="later")
    run(world)
    assert world.created[-1] == "nightly-9b1d4-verify-2"


def test_a_backup_that_is_found_corrupt_stays_complete_and_says_so() -> None:
    world = complete()
    seen = asked(world)
    found = world.jobs["nightly-9b1d4-verify-1"]
    world.end(found, Exit.BACKUP_REFUSED)
    decision = decide(world.seen())
    verified = find(status_of(decision).conditions, VERIFIED)
    assert verified is not None
    assert (verified.status, verified.reason) == (FALSE, "BackupRefused")
    assert [(event.type, event.reason) for event in decision.events] == [("Warning", "BackupRefused")]
    assert status_of(decision).last_handled_verify == seen.meta.verify
    assert status_of(decision).phase is BackupPhase.COMPLETE


def test_a_verification_that_cannot_read_says_that_nothing_is_known() -> None:
    world = complete()
    asked(world)
    for _ in range(20):
        if found := world.alive():
            world.end(found, Exit.VOLUME_FAILED)
        world.pass_()
        world.now += 30
    verified = find(world.status.conditions, VERIFIED)
    assert verified is not None
    assert (verified.status, verified.reason) == (UNKNOWN, "NotVerified")
    assert world.status.last_handled_verify == "now"
    assert len([made for made in world.created if "-verify-" in made]) == 3


# --- what is gathered of the Dataset ----------------------------------------------------------------------------------


def dataset(**changes: Any) -> dict[str, Any]:
    """A managed Dataset that is Ready, as it is stored; changes of its status."""
    conditions = [{"type": "Ready", "status": "True", "reason": "Ready"}]
    status = {"phase": "Ready", "observedGeneration": 2, "conditions": conditions, **changes}
    meta = {"namespace": "default", "name": "imagenet", "uid": "u", "generation": 2}
    return {"metadata": meta, "spec": {"mounts": [{"mountPoint": "s3://bucket/a", "path": "/"}]}, "status": status}


def test_only_a_dataset_that_is_ready_for_the_spec_that_it_has_now_is_backed_up() -> None:
    view = dataset_view(dataset())
    assert (view.ready, view.master_down, view.unshared) == (True, "", False)
    assert view.agent == "http://imagenet-master-0.default.svc:19997"
    assert not dataset_view(dataset(observedGeneration=1)).ready, "its mounts may be others than those loaded"
    assert not dataset_view(dataset(phase="Sizing")).ready
    assert not dataset_view({**dataset(), "status": {}}).ready
    down = {"type": "MasterReachable", "status": "False", "reason": "Unreachable", "message": "refused"}
    late = {"type": "Ready", "status": "False", "reason": "MasterUnreachable"}
    assert dataset_view(dataset(conditions=[down, late])).master_down == "refused"


def test_an_existing_alluxio_is_backed_up_only_where_it_shares_a_directory() -> None:
    given = dataset()
    for directory in ("", "/backups"):
        given["spec"]["alluxio"] = {"masters": ["m:19998"], "backupDirectory": directory}
        view = dataset_view(given)
        assert (view.agent, view.shared_directory, view.unshared) == ("", directory, not directory)
        assert view.masters == ("m:19998",)
