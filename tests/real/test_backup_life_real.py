"""Backups and schedules as the API server, admission and a real master make them live: lines, requests, retention."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.api.databackup import PLURAL, VERIFY_ANNOTATION
from controllers.backup.seen import FINAL
from controllers.kube.resources import DATABACKUPS, JOBS, PERSISTENTVOLUMECLAIMS, PODS, SCHEDULEDDATABACKUPS
from devcluster.node import NAME
from tests.objectstore.trees import tree
from tests.real.managed import Managed
from tests.world import Obj, condition

SECONDS = 120.0
PLACE = {"dataset": {"name": "images"}, "backupStorageLocationSpec": {"mountPath": "pvc://backups/team"}}


@pytest.fixture(scope="module")
def stage(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A dataset of 2,000 files, Ready, a controller, a claim "backups"."""
    with Managed(tmp_path_factory.mktemp("life")) as made:
        for bucket in ("one", "two"):
            made.store.fill(bucket, tree("tree=10x100")[1])
        made.start_controller()
        made.make("images")
        made.claim("backups")
        made.ready("images", SECONDS)
        yield made


@pytest.fixture(scope="module")
def files(stage: Managed) -> Callable[[], list[str]]:
    """Names of what is in the directory of the dataset's backups, unfinished ones too."""
    directory = stage.node.claimed("default", "backups") / "team" / "images"
    return lambda: sorted(path.name for path in directory.glob("*")) if directory.is_dir() else []


def ended(stage: Managed, name: str) -> Obj:
    return stage.seen(DATABACKUPS, name, lambda obj: obj.get("status", {}).get("phase") in FINAL, SECONDS)


def gone(stage: Managed, name: str) -> None:
    """Delete a backup and wait until it is gone, with its Jobs and pods."""
    stage.kubectl("delete", PLURAL, name, "--wait=false")

    def left() -> list[str]:
        found = [o["metadata"]["name"] for kind in (DATABACKUPS, JOBS, PODS) for o in stage.eyes.all(kind)]
        return [other for other in found if other == name or other.startswith(f"{name}-")]

    stage.eyes.until(lambda: not left(), SECONDS, left)


def why(obj: Obj) -> str:
    return str(condition(obj, "Reconciling").get("reason", ""))


def test_backups_of_one_dataset_go_one_by_one_and_one_whose_claim_is_missing_holds_up_nobody(
    stage: Managed, files: Callable[[], list[str]]
) -> None:
    """The first waits for its claim; the others overtake it, the younger of them after the older."""
    stage.backup("a-lost", "images", "later")
    stage.seen(DATABACKUPS, "a-lost", lambda obj: why(obj) == "VolumeNotFound")
    names = ["b-one", "c-two", "d-three"]
    for name in names:
        stage.backup(name, "images", "backups/team")
    done = [ended(stage, name)["status"] for name in names]
    assert [status["phase"] for status in done] == ["Complete"] * 3, done
    times = [(status["startTime"], status["completionTime"]) for status in done]
    assert all(before[1] <= after[0] for before, after in zip(times, times[1:], strict=False)), times
    assert [name.rpartition("-")[0] for name in files()] == names
    stage.claim("later")
    assert ended(stage, "a-lost")["status"]["phase"] == "Complete"
    for name in ("a-lost", *names):
        gone(stage, name)
    assert len(files()) == 3, "Retain"


def test_a_backup_is_verified_on_request_and_a_flipped_bit_is_found_and_then_it_goes_with_its_files(
    stage: Managed, files: Callable[[], list[str]]
) -> None:
    before = files()
    stage.backup("checked", "images", "backups/team", deletionPolicy="Delete")
    status = ended(stage, "checked")["status"]
    assert status["phase"] == "Complete", status

    def verified(asked: str) -> Obj:
        stage.kubectl("annotate", "--overwrite", PLURAL, "checked", f"{VERIFY_ANNOTATION}={asked}")
        handled = lambda obj: obj["status"].get("lastHandledVerify") == asked  # noqa: E731
        return condition(stage.seen(DATABACKUPS, "checked", handled, SECONDS), "Verified")

    assert verified("one")["status"] == "True"
    file = stage.node.claimed("default", "backups") / Path(status["location"]["path"]) / "metadata.gz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    found = verified("two")
    assert (found["status"], found["reason"]) == ("False", "BackupCorrupt"), found
    gone(stage, "checked")
    assert files() == before


@pytest.mark.parametrize("reason", ["TakingBackup", "PodStarting", "JobCreated"])
def test_a_backup_that_is_deleted_under_way_leaves_nothing(
    stage: Managed, files: Callable[[], list[str]], reason: str
) -> None:
    """Whatever it was doing: the Job ends first, then what it wrote goes."""
    before = files()
    stage.backup("cancelled", "images", "backups/team", deletionPolicy="Delete")
    passed: tuple[str, ...] = ("JobCreated", "WaitingForTurn", "PodStarting", "TakingBackup", "ReadingResult", "Idle")
    later = passed[passed.index(reason) :]
    stage.seen(DATABACKUPS, "cancelled", lambda obj: why(obj) in later, SECONDS)
    gone(stage, "cancelled")
    assert files() == before


def test_a_volume_that_cannot_be_mounted_fails_the_backup_in_words(stage: Managed) -> None:
    """A claim that no volume fits: no pod of the Job ever starts, and nothing waits for ever."""
    wanted = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    spec = {**wanted, "storageClassName": "none", "volumeName": "no-such-volume"}
    stage.cluster.create(PERSISTENTVOLUMECLAIMS, "default", {"metadata": {"name": "unbound"}, "spec": spec})
    stage.backup("unmounted", "images", "unbound", runningDeadlineSeconds=5, activeDeadlineSeconds=30)

    def doomed(obj: Obj) -> Any:
        return obj.get("status", {}).get("failureReason")

    status = stage.seen(DATABACKUPS, "unmounted", doomed, SECONDS)["status"]
    assert status["failureReason"] in ("VolumeUnavailable", "DeadlineExceeded"), status
    assert "runningDeadlineSeconds" in status["message"], status


def test_a_schedule_makes_backups_by_the_clock_and_keeps_as_many_as_asked_for(
    stage: Managed, files: Callable[[], list[str]]
) -> None:
    """One at once, one at each minute; the newest alone stays, and the files of the others go."""
    before = files()
    spec = {"schedule": "* * * * *", "immediate": True, "retention": {"keepLast": 1}, "template": {"spec": PLACE}}
    stage.cluster.create(SCHEDULEDDATABACKUPS, "default", {"metadata": {"name": "minutely"}, "spec": spec})

    def mine() -> list[Obj]:
        return [o for o in stage.eyes.all(DATABACKUPS) if o["metadata"]["name"].startswith("minutely-")]

    def complete() -> str:
        found = [o["metadata"]["name"] for o in mine() if o.get("status", {}).get("phase") == "Complete"]
        return max(found, default="")

    first = stage.eyes.until(complete, SECONDS)
    stage.eyes.until(lambda: complete() > first, SECONDS, lambda: [o["metadata"]["name"] for o in mine()])

    def pruned() -> bool:
        return first not in {o["metadata"]["name"] for o in mine()} and not [n for n in files() if n.startswith(first)]

    stage.eyes.until(pruned, SECONDS, files)
    stage.kubectl("delete", "sdbackup", "minutely")
    shown = stage.kubectl("get", PLURAL)
    assert "Complete" in shown
    assert len(files()) > len(before), "the backups outlive their schedule"


def test_a_backup_on_a_lost_node_fails_and_holds_up_nobody_and_what_it_finishes_later_does_not_count(
    stage: Managed,
) -> None:
    """Its pod waits for a volume when the node is lost; it gets that, runs and ends well when nobody waits for it."""
    stage.kill_controller()
    # With the grace of 30 s: a pod is lost 5 s after it was deleted.
    stage.start_controller(first="from controllers import jobview; jobview.LOST_SECONDS = -25.0")
    stage.node.lose("unheard-")
    wanted = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    spec = {**wanted, "storageClassName": "", "volumeName": "late"}
    stage.cluster.create(PERSISTENTVOLUMECLAIMS, "default", {"metadata": {"name": "late"}, "spec": spec})
    stage.backup("unheard", "images", "late", runningDeadlineSeconds=15, deletionPolicy="Delete")
    stage.seen(DATABACKUPS, "unheard", lambda obj: obj.get("status", {}).get("startTime"), SECONDS)
    stage.backup("z-after", "images", "backups/team")

    status = ended(stage, "unheard")["status"]

    assert (status["phase"], status["failureReason"]) == ("Failed", "PodLost"), status
    (pod,) = (o for o in stage.eyes.all(PODS) if o["metadata"]["name"].startswith("unheard-"))
    name = pod["metadata"]["name"]
    assert f"pod {name} on node {NAME} should have ended" in status["message"]
    assert f"kubectl delete pod --force -n default {name}" in status["message"]
    assert ended(stage, "z-after")["status"]["phase"] == "Complete"
    place = stage.node.provide("default", "late") / status["location"]["path"]
    stage.node.until_ended("default", name, SECONDS)
    assert sorted(path.name for path in place.iterdir()) == ["manifest.json", "metadata.gz"]
    stage.node.find()
    stage.eyes.until(lambda: not [o for o in stage.eyes.all(PODS) if o["metadata"]["name"] == name], SECONDS)
    (late,) = (o["status"] for o in stage.eyes.all(DATABACKUPS) if o["metadata"]["name"] == "unheard")
    assert (late["phase"], late["message"], late.get("checksum")) == ("Failed", status["message"], None)
    gone(stage, "unheard")
    assert not place.exists(), "its pod has ended, so they may be removed"
    gone(stage, "z-after")
