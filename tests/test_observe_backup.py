"""Which Datasets keep the files of a backup that is being deleted, and who waits for a backup that is being stopped."""

from typing import Any

import pytest

from controllers.admission import plan
from controllers.api.job_commands import REMOVE, TAKE, VERIFY
from controllers.api.times import rfc3339
from controllers.backup.seen import LostPod
from controllers.config import ControllerConfig
from controllers.dataset.seen import LOST_SECONDS
from controllers.jobs import BACKUP, BACKUP_UID, DATASET_UID, MASTERS, SCHEDULE_UID, STEP
from controllers.observe_backup import BackupObserver, ScheduleObserver
from controllers.stores import Stores
from controllers.turns import candidates
from tests.backup_kit import META, NOW, place

WHERE = f"pvc://{place().pvc_name}/{place().path}"
BY_NAME, BY_PATH = {"backupName": META.name}, {"path": f"{WHERE}/"}


def observer(stores: Stores) -> BackupObserver:
    """Return an observer of what the stores have."""
    none: Any = None
    return BackupObserver(
        stores, none, ControllerConfig(), now=lambda: NOW, line=lambda _: "", progress=lambda *_: None
    )


def users(phase: str = "Complete", namespace: str = "default", **dataset: Any) -> tuple[str, ...]:
    """Return who uses the backup, where there is a Dataset of that spec, status and metadata."""
    stores = Stores.of(())
    meta = {"namespace": namespace, "name": "copy", "uid": "u", "resourceVersion": "1", **dataset.pop("metadata", {})}
    stores.datasets.upsert({"kind": "Dataset", "metadata": meta, **dataset})
    about = {"namespace": "default", "name": META.name, "uid": META.uid, "deletionTimestamp": "2026-11-24T00:00:00Z"}
    status = {"phase": phase, "location": {"pvcName": place().pvc_name, "path": place().path}}
    backup = {"kind": "DataBackup", "metadata": about, "spec": {"dataset": {"name": "imagenet"}}, "status": status}
    return observer(stores).seen(backup, None).users


@pytest.mark.parametrize("wanted", [BY_NAME, BY_PATH], ids=["by name", "by path"])
@pytest.mark.parametrize("restore", [None, "Staging", "Starting", "Verifying", "Failed"])
def test_who_has_not_read_it_yet_keeps_it(wanted: dict[str, str], restore: str | None) -> None:
    """A restore that was not looked at yet, that is under way, or that failed and is tried again every hour."""
    status = {"restore": {"phase": restore}, "run": {"number": 1}} if restore else {}
    assert users(spec={"dataRestoreLocation": wanted}, status=status) == ("copy",)


@pytest.mark.parametrize("restore", ["Restored", "Abandoned", None])
def test_who_needs_it_no_more_does_not(restore: str | None) -> None:
    status = {"restore": {"phase": restore} if restore else {}, "run": {"number": 1}}
    assert users(spec={"dataRestoreLocation": BY_NAME}, status=status) == ()


def test_who_reads_now_what_its_spec_named_before_keeps_it() -> None:
    assert users(spec={}, status={"restore": {"phase": "Staging", "source": WHERE}}) == ("copy",)
    assert users(spec={}, status={"restore": {"phase": "Staging", "source": f"{WHERE}x"}}) == ()


def test_nobody_waits_for_a_dataset_that_goes_or_for_another_or_for_a_backup_that_is_none() -> None:
    spec = {"dataRestoreLocation": BY_NAME}
    assert users(spec=spec, metadata={"deletionTimestamp": "2026-11-24T00:00:00Z"}) == ()
    assert users(spec=spec, namespace="other") == ()
    assert users(spec={"dataRestoreLocation": {"path": "pvc://backups/x"}}) == ()
    assert users(spec={"dataRestoreLocation": {"path": "../x"}}) == ()
    assert users(spec={"mounts": []}) == ()
    assert users("Failed", spec=spec) == ()


@pytest.mark.parametrize("restore", [None, "Staging", "Starting", "Verifying", "Failed"])
def test_who_reads_by_its_path_what_a_failed_backup_left_keeps_it(restore: str | None) -> None:
    """It may be whole, as what a lost pod finished after all; ``backupName`` refuses it."""
    status = {"restore": {"phase": restore}, "run": {"number": 1}} if restore else {}
    assert users("Failed", spec={"dataRestoreLocation": BY_PATH}, status=status) == ("copy",)
    assert users("Failed", spec={"dataRestoreLocation": BY_NAME}, status=status) == ()
    assert users("Executing", spec={"dataRestoreLocation": BY_PATH}, status=status) == (), "it is cancelled"


@pytest.mark.parametrize(("failure", "over"), [("", False), ("DeadlineExceeded", True)])
def test_a_backup_that_failed_and_is_being_stopped_holds_up_no_slot(failure: str, over: bool) -> None:
    """Its pod may be on a node that is lost, and end never."""
    stores = Stores.of(())
    about = {"namespace": "default", "name": "nightly-20261124030000", "uid": "b", "resourceVersion": "1"}
    about |= {"labels": {SCHEDULE_UID: "s"}}
    status = {"phase": "Executing", "failureReason": failure}
    stores.backups.upsert(
        {"kind": "DataBackup", "metadata": about, "spec": {"dataset": {"name": "a"}}, "status": status}
    )
    schedule = {"kind": "ScheduledDataBackup", "metadata": {"namespace": "default", "name": "nightly", "uid": "s"}}
    (made,) = ScheduleObserver(stores, now=lambda: NOW).seen(schedule, None).backups
    assert made.over is over


@pytest.mark.parametrize(("failure", "ahead"), [("", 1), ("DeadlineExceeded", 0)])
def test_a_backup_that_failed_and_is_being_stopped_holds_up_no_other(failure: str, ahead: int) -> None:
    """Its volume cannot be mounted, say, so its files are not removed for a long time."""
    stores = Stores.of(())
    first = {"namespace": "default", "name": "first", "uid": "f", "resourceVersion": "1"}
    about = {"kind": "DataBackup", "spec": {"dataset": {"name": "imagenet"}}}
    stores.backups.upsert({**about, "metadata": first, "status": {"phase": "Executing", "failureReason": failure}})
    conditions = [{"type": "Ready", "status": "True", "reason": "Ready"}]
    ready = {"phase": "Ready", "observedGeneration": 1, "conditions": conditions}
    known = {"namespace": "default", "name": "imagenet", "uid": "d", "resourceVersion": "1", "generation": 1}
    spec = {"mounts": [{"mountPoint": "s3://bucket/a", "path": "/"}]}
    stores.datasets.upsert({"kind": "Dataset", "metadata": known, "spec": spec, "status": ready})
    second = {**about, "metadata": {"namespace": "default", "name": "second", "uid": "s"}}
    assert len(observer(stores).seen(second, None).others) == ahead


def pod(step: str = TAKE, phase: str = "Running", due: float | None = None) -> dict[str, Any]:
    """A pod of the backup; ``due``: it was deleted, and that is the end of its grace."""
    meta = {"namespace": "default", "name": "nightly-x", "uid": "p", "resourceVersion": "1"}
    meta |= {"deletionTimestamp": rfc3339(due)} if due is not None else {}
    labels = {BACKUP: META.name, BACKUP_UID: META.uid, STEP: step}
    owner = {"kind": "Job", "name": "nightly", "uid": "j"}
    metadata = {**meta, "labels": labels, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("found", "running", "lost"),
    [
        (pod(), 1, 0),  # nobody has told it to end
        (pod(due=NOW + 30), 1, 0),
        (pod(due=NOW - LOST_SECONDS + 1), 1, 0),
        (pod(due=NOW - LOST_SECONDS), 0, 1),
        (pod(VERIFY, due=NOW - LOST_SECONDS), 0, 1),
        (pod(phase="Pending", due=NOW - LOST_SECONDS), 0, 1),
        (pod(phase="Failed", due=NOW - LOST_SECONDS), 0, 0),
        (pod(REMOVE, due=NOW - LOST_SECONDS), 0, 0),  # a removal ends by its own clock
    ],
)
def test_a_pod_is_lost_that_should_have_ended_long_ago_whoever_looks(
    found: dict[str, Any], running: int, lost: int
) -> None:
    """By what is stored in the pod: a controller that starts anew does not begin to count anew."""
    stores = Stores.of(())
    stores.pods.upsert(found)
    backup = {"kind": "DataBackup", "metadata": {"namespace": "default", "name": META.name, "uid": META.uid}}
    seen = observer(stores).seen(backup, None)
    writes = found["metadata"]["labels"][STEP] == TAKE  # the claim of one that verifies is mounted read-only
    assert (seen.running_pods, seen.lost_pods) == (
        ("nightly-x",) * running,
        (LostPod("nightly-x", "n1", writes=writes),) * lost,
    )


@pytest.mark.parametrize(
    ("labels", "job", "late", "turn"),
    [
        ({BACKUP: "b"}, None, 0, True),
        ({BACKUP: "b"}, None, -1, False),
        ({BACKUP: "b"}, {"deletionTimestamp": "2026-11-24T00:00:00Z"}, 0, True),
        ({BACKUP: "b"}, {}, 0, False),  # its deadline is still to come
        ({DATASET_UID: "d"}, None, 0, False),  # a load's: its Dataset waits for it
    ],
)
def test_a_lost_pod_of_a_backup_that_is_stopped_gives_its_turn_to_who_waits(
    labels: dict[str, str], job: dict[str, str] | None, late: float, turn: bool
) -> None:
    stores, place = Stores.of(()), {MASTERS: '["m:19998"]'}
    found = pod(due=NOW - LOST_SECONDS - late)
    found["metadata"] |= {"labels": labels, "annotations": place}
    stores.pods.upsert(found)
    about = {"namespace": "default", "resourceVersion": "1", "annotations": place}
    if job is not None:
        stores.jobs.upsert({"metadata": {**about, "name": "take", "uid": "j", **job}, "spec": {}})
    owner = {"kind": "Dataset", "name": "d", "uid": "d"}
    load = {**about, "name": "load", "uid": "l", "labels": {DATASET_UID: "d"}, "ownerReferences": [owner]}
    stores.jobs.upsert({"metadata": load, "spec": {"suspend": True}})

    released = plan(candidates(stores, NOW), 4).release

    assert [each.name for each in released] == ["default/load"] * turn


@pytest.mark.parametrize("order", [("lost", "lives"), ("lives", "lost")], ids=" ".join)
def test_of_two_pods_of_a_job_the_one_that_is_not_lost_keeps_its_turn(order: tuple[str, str]) -> None:
    stores = Stores.of(())
    for name in order:
        found = pod(due=NOW - LOST_SECONDS if name == "lost" else None)
        found["metadata"] |= {"name": name, "annotations": {MASTERS: '["m:19998"]'}}
        stores.pods.upsert(found)

    assert [each.name for each in candidates(stores, NOW)] == ["default/lives"]


def test_a_job_whose_pod_is_lost_is_not_taken_for_one_that_never_began() -> None:
    """Its place is not given away while its deadline is still to come."""
    stores = Stores.of(())
    stores.pods.upsert(pod(due=NOW - LOST_SECONDS))
    about = {"namespace": "default", "name": "nightly", "uid": "j", "resourceVersion": "1"}
    begun = {"startTime": rfc3339(NOW - 9 * LOST_SECONDS)}
    stores.jobs.upsert({"metadata": about, "spec": {"suspend": False}, "status": begun})

    (found,) = candidates(stores, NOW)

    assert (found.name, found.released, found.idle) == ("default/nightly", True, False)
