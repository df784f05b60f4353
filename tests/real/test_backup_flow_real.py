"""Backup and restore as a user sees them, all real: API server, Alluxio in pods, the controller, an object store.

The tests share one stage and one backup, in the order of the file.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from controllers.jobs import STEP
from controllers.kube.resources import ALLUXIORUNTIMES, DATABACKUPS, DATASETS, PODS, Resource
from controllers.runtime import names
from tests.objectstore.trees import tree
from tests.real.managed import NESTED, SECRET, Managed
from tests.world import Obj, condition

SECONDS = 120.0
_TREES = {"one": "tree=40x100", "two": "tree=10x100"}


@pytest.fixture(scope="module")
def stage(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """5,000 files in two buckets, a dataset "first" of them, a controller, a claim "backups"."""
    with Managed(tmp_path_factory.mktemp("managed")) as made:
        for bucket, sizes in _TREES.items():
            made.store.fill(bucket, tree(sizes)[1])
        made.start_controller()
        made.make("first")
        made.claim("backups")
        yield made


@pytest.fixture(scope="module")
def backups(stage: Managed) -> Path:
    """The directory of the claim."""
    return stage.node.claimed("default", "backups")


@pytest.fixture(scope="module")
def files() -> dict[str, int]:
    """Every path of the dataset, and its length."""
    trees = {prefix: tree(_TREES[bucket])[1] for bucket, prefix in (("one", "/"), ("two", f"{NESTED}/"))}
    return {f"{prefix}{key}": size for prefix, keys in trees.items() for key, size in keys}


@pytest.fixture(scope="module")
def first(stage: Managed) -> Obj:
    """The dataset that is backed up, Ready."""
    return stage.ready("first", SECONDS)


@pytest.fixture(scope="module")
def backup(stage: Managed, first: Obj) -> Obj:
    """A backup of it, complete; the dataset and its Alluxio are gone."""
    stage.backup("kept", "first", "backups/team")
    made = ended(stage, "kept")
    assert made["status"]["phase"] == "Complete", made
    stage.remove("first")
    return made


def ended(stage: Managed, name: str) -> Obj:
    """Wait for the end of a backup."""
    return stage.seen(DATABACKUPS, name, lambda o: o.get("status", {}).get("phase") in ("Complete", "Failed"), SECONDS)


def running(stage: Managed, step: str) -> Obj:
    """Wait for a pod of a Job of that step whose container runs."""

    def seen() -> Obj | None:
        pods = [p for p in stage.eyes.all(PODS) if p["metadata"].get("labels", {}).get(STEP) == step]
        states = {p["metadata"]["name"]: p.get("status", {}).get("containerStatuses", [{}])[0] for p in pods}
        return next((p for p in pods if "running" in states[p["metadata"]["name"]].get("state", {})), None)

    return dict(stage.eyes.until(seen, SECONDS))


def sound(stage: Managed, backups: Path) -> None:
    """Nothing is half: each backup has a manifest that its file agrees with, and nothing is left of the others."""
    for file in backups.rglob("metadata.gz"):
        manifest = json.loads((file.parent / "manifest.json").read_bytes())
        assert manifest["file"]["sha256"].removeprefix("sha256:") == sha256(file.read_bytes()).hexdigest(), file
    assert not list(backups.rglob(".*"))
    assert not list(stage.node.directory.glob("pods/*/volumes/staging/*"))


def test_a_dataset_with_an_alluxio_of_its_own_gets_ready(stage: Managed, first: Obj, files: dict[str, int]) -> None:
    """Two buckets, the one in the other; keys from a Secret, which only the Job that mounts has seen."""
    status = first["status"]

    assert (status["phase"], status["fileCount"], status["ufsTotalBytes"]) == ("Ready", 5_000, sum(files.values()))
    assert status["run"]["plan"] == ["mount", "load", "size"]
    assert stage.listing("first") == files
    runtime = stage.seen(ALLUXIORUNTIMES, "first", lambda o: condition(o, "Ready").get("status") == "True", SECONDS)
    assert (runtime["status"]["masterPhase"], runtime["status"]["workerNumberReady"]) == ("Ready", 1)
    shown = stage.kubectl("get", "jobs,pods,configmaps,datasets,alluxioruntimes,events", "--output=json")
    assert SECRET not in shown


def test_a_backup_whose_pod_is_killed_is_taken_by_the_next_attempt(stage: Managed, first: Obj, backups: Path) -> None:
    """SIGKILL as soon as it runs; the second attempt removes what the first one left."""
    stage.backup("podless", "first", "backups/team")
    pod = running(stage, "take-backup")

    stage.node.hit("default", pod["metadata"]["name"], "step")

    status = ended(stage, "podless")["status"]
    assert (status["phase"], status["attempts"]) == ("Complete", 2), status
    assert status["entryCount"] > 10_000
    sound(stage, backups)


def test_a_backup_that_may_not_try_again_fails_and_leaves_nothing(stage: Managed, first: Obj, backups: Path) -> None:
    """Killed with backoffLimit 0: Failed says why, once a Job has removed what there was of it."""
    stage.backup("single", "first", "backups/team", backoffLimit=0)
    pod = running(stage, "take-backup")

    stage.node.hit("default", pod["metadata"]["name"], "step")

    status = ended(stage, "single")["status"]
    assert (status["phase"], status["attempts"], status["failureReason"]) == ("Failed", 1, "Signal9"), status
    assert not list(backups.rglob("*single*"))
    sound(stage, backups)


def test_a_master_killed_during_a_backup_costs_only_time(
    stage: Managed, first: Obj, backups: Path, files: dict[str, int]
) -> None:
    """It comes back on its journal; the backup ends by itself, and what it holds is whole."""
    stage.backup("masterless", "first", "backups/team")
    running(stage, "take-backup")

    stage.node.hit("default", names.master_service("first"), "master")

    assert ended(stage, "masterless")["status"]["phase"] == "Complete"
    stage.ready("first", SECONDS)
    assert stage.listing("first") == files
    sound(stage, backups)


def test_a_controller_killed_at_each_step_of_a_backup_is_succeeded(stage: Managed, first: Obj, backups: Path) -> None:
    """At every change of its status a new one takes over; one Job, one attempt."""
    stage.backup("orphan", "first", "backups/team")

    kills = storm(stage, DATABACKUPS, "orphan", lambda status: status.get("phase") in ("Complete", "Failed"))

    status = ended(stage, "orphan")["status"]
    assert (status["phase"], status["attempts"]) == ("Complete", 1), status
    assert kills >= 2
    sound(stage, backups)


def storm(stage: Managed, kind: Resource, name: str, over: Callable[[Obj], bool]) -> int:
    """Kill the controller at every change of an object's status until that is over; return how often."""
    versions = [""]
    while True:
        found = stage.seen(kind, name, lambda o: o["metadata"]["resourceVersion"] != versions[-1], SECONDS)
        versions.append(found["metadata"]["resourceVersion"])
        if over(found.get("status", {})):
            return len(versions) - 2
        stage.kill_controller()
        stage.start_controller()


# --- restore ----------------------------------------------------------------------------------------------------------


def test_restored_under_another_name_it_is_ready_without_a_load(
    stage: Managed, backup: Obj, backups: Path, files: dict[str, int]
) -> None:
    """Equal in every path and length; the storage was asked for no listing, but one per mount that was mounted anew."""
    stage.store.reset_counts()
    stage.make("second", dataRestoreLocation={"backupName": "kept"})

    found = stage.ready("second", SECONDS)

    assert stage.store.counts.lists <= 2, stage.store.counts
    status = found["status"]
    assert (status["restore"]["phase"], condition(found, "Restored")["status"]) == ("Restored", "True")
    assert status["run"]["plan"] == ["stage", "mount", "size"]
    assert (status["fileCount"], status["ufsTotalBytes"]) == (len(files), sum(files.values()))
    assert stage.listing("second") == files
    assert stage.store.counts.lists <= 2, stage.store.counts
    sound(stage, backups)


def test_people_see_it_in_kubectl_and_in_fluidctl(stage: Managed, backup: Obj) -> None:
    """The backup with its dataset, entries and size; the dataset with where it came from."""
    stage.ready("second", SECONDS)
    header, row = stage.kubectl("get", "databackup", "kept").splitlines()
    assert header.split() == ["NAME", "DATASET", "PHASE", "VERIFIED", "ENTRIES", "SIZE", "DURATION", "PROGRESS", "AGE"]
    assert row.split()[:4] == ["kept", "first", "Complete", "True"]
    assert re.search(r"^kept +first +Complete", fluidctl(stage, "backups"), re.MULTILINE), fluidctl(stage, "backups")
    shown = fluidctl(stage, "get", "second")
    assert "pvc://backups/team/first/kept-" in shown, shown
    fluidctl(stage, "backups", "verify", "kept", "--wait", "--timeout=90s")


def fluidctl(stage: Managed, *arguments: str) -> str:
    """Run fluidctl as the administrator and return its stdout."""
    command = [sys.executable, "-m", "fluidctl", *arguments]
    environment = stage.control_plane.environment()
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=100).stdout


def test_a_master_killed_in_mid_restore_serves_no_part(stage: Managed, backup: Obj, files: dict[str, int]) -> None:
    """It would come back with what it had read so far: the count finds that, and it is restored again."""
    stage.remove("second")
    stage.make("third", dataRestoreLocation={"backupName": "kept"})
    master = names.master_service("third")

    stage.node.until_said("default", master, "master", "Initializing metadata from backup", SECONDS)
    stage.node.hit("default", master, "master")

    found = stage.ready("third", SECONDS)
    assert condition(found, "Restored")["status"] == "True"
    assert stage.listing("third") == files
    stage.remove("third")


def test_a_controller_killed_at_each_step_of_a_restore_is_succeeded(
    stage: Managed, backup: Obj, files: dict[str, int]
) -> None:
    """At every change of the Dataset's status a new one takes over; nothing is staged twice."""
    stage.make("fourth", dataRestoreLocation={"backupName": "kept"})

    kills = storm(
        stage, DATASETS, "fourth", lambda status: condition({"status": status}, "Ready").get("status") == "True"
    )

    found = stage.ready("fourth", SECONDS)
    assert kills >= 5
    assert found["status"]["restore"]["phase"] == "Restored"
    assert stage.listing("fourth") == files
    stage.remove("fourth")


# --- what must not be restored ----------------------------------------------------------------------------------------


def corrupt(directory: Path) -> None:
    content = bytearray((directory / "metadata.gz").read_bytes())
    content[len(content) // 2] ^= 1
    (directory / "metadata.gz").write_bytes(content)


def truncated(directory: Path) -> None:
    content = (directory / "metadata.gz").read_bytes()
    (directory / "metadata.gz").write_bytes(content[:-10])


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "corrupt": (corrupt, "BackupCorrupt"),
    "truncated": (truncated, "BackupTruncated"),
    "missing": (shutil.rmtree, "BackupMissing"),
    "half": (lambda directory: (directory / "manifest.json").unlink(), "BackupIncomplete"),
}


def test_what_is_no_whole_backup_is_refused_by_its_name(stage: Managed, backup: Obj, backups: Path) -> None:
    """Corrupt, truncated, missing, half copied: each fails for good with its own reason; no master ever started."""
    source = backups / backup["status"]["location"]["path"]
    for name, (harm, _) in BAD.items():
        shutil.copytree(source, backups / "harmed" / name)
        harm(backups / "harmed" / name)
        stage.make(name, dataRestoreLocation={"path": f"pvc://backups/harmed/{name}"})

    for name, (_, reason) in BAD.items():
        found = stage.until(name, "Restored", "False", reason, seconds=SECONDS)
        assert found["status"]["restore"]["phase"] == "Failed", found
        stage.until(name, "Stalled", "True", seconds=SECONDS)
        assert not [p for p in stage.eyes.all(PODS) if p["metadata"]["name"] == names.master_service(name)]
    for name in BAD:
        stage.remove(name)


def test_where_the_user_chose_so_it_is_loaded_instead(stage: Managed, backup: Obj, files: dict[str, int]) -> None:
    """onFailure: LoadFromUFS: Ready by a load, Restored=False with the reason."""
    location = {"path": "pvc://backups/harmed/corrupt", "onFailure": "LoadFromUFS"}
    stage.make("loaded", dataRestoreLocation=location)

    found = stage.ready("loaded", SECONDS)

    assert (found["status"]["restore"]["phase"], condition(found, "Restored")["status"]) == ("Abandoned", "False")
    assert condition(found, "Restored")["reason"] == "BackupCorrupt"
    assert stage.listing("loaded") == files
