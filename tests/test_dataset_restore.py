"""Stories of a restore: what a person does, what goes wrong, and that a part of a dataset is never served."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controllers.api.conditions import ACCEPTED, AVAILABLE, FALSE, METADATA_LOADED, READY, RESTORED, TRUE, UNKNOWN
from controllers.api.databackup import BackupLocation, BackupPhase, DataBackupStatus
from controllers.api.dataset import DatasetStatus, Phase, RestorePhase, status_dict
from controllers.api.job_commands import CLAIM_PATH, JOURNAL_CLAIM_PATH
from controllers.api.result import Exit, Totals
from controllers.api.runs import mounts_hash
from controllers.dataset import JobState, MasterView
from controllers.runtime.view import RuntimeView
from tests.builders import UID, managed
from tests.restores import (
    CHECKSUM,
    COMPLETE,
    LOAD,
    MANIFEST,
    MOUNT,
    SIZE,
    STAGE,
    STOPPED,
    WHOLE,
    Life,
    serving,
)

PATH = {"path": "pvc://backups/a"}
UFS = {"onFailure": "LoadFromUFS"}


def begun(**changes: Any) -> Life:
    """A Dataset that restores from a path, with the Job of its first step created."""
    return Life(managed({**PATH, **changes}))


# --- how it goes ------------------------------------------------------------------------------------------------------


def test_a_dataset_with_an_alluxio_of_its_own_is_mounted_loaded_and_counted() -> None:
    life = Life(managed())
    life.whole()

    assert life.steps() == [MOUNT, LOAD, SIZE]
    assert life.condition(READY).status == TRUE
    assert all(condition.type != RESTORED for condition in life.status.conditions)


def test_a_restore_is_staged_mounted_and_counted_and_nothing_is_loaded() -> None:
    life = begun()
    phases = [life.status.restore.phase]
    for step in (STAGE, MOUNT, SIZE):
        phases.append(life.end(step).restore.phase)

    assert life.steps() == [STAGE, MOUNT, SIZE]
    assert phases == [RestorePhase.STAGING, RestorePhase.STARTING, RestorePhase.VERIFYING, RestorePhase.RESTORED]
    assert (life.status.phase, life.status.file_count) == (Phase.READY, WHOLE.files)
    assert life.condition(RESTORED).status == life.condition(READY).status == life.condition(METADATA_LOADED).status
    assert life.condition(RESTORED).status == TRUE
    assert [event.reason for event in life.events if event.reason == "Restored"] == ["Restored"]


def test_the_stage_is_told_all_that_is_known_of_the_backup_and_gets_both_claims() -> None:
    life = Life(managed({"backupName": "monday", "checksum": CHECKSUM}), backup=COMPLETE)
    pod = life.created[0]["spec"]["template"]["spec"]
    mounts = {
        each["mountPath"]: each["readOnly"] for each in pod["containers"][0]["volumeMounts"] if "readOnly" in each
    }
    claims = [each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each]

    assert {f"--owner={UID}", "--directory=a", f"--manifest-sha256={MANIFEST}"} <= set(life.argv())
    assert {f"--checksum={CHECKSUM}", f"--mounts-hash={mounts_hash(life.seen.spec)}"} <= set(life.argv())
    assert mounts == {CLAIM_PATH: True, JOURNAL_CLAIM_PATH: False}
    assert claims == ["backups", "imagenet-master-0-journal"]


def test_the_count_is_told_what_the_manifest_promises() -> None:
    life = begun()
    life.end(STAGE)
    life.end(MOUNT)

    assert [word for word in life.argv() if word.startswith("--expect-")] == [
        "--expect-files=3",
        "--expect-directories=1",
        "--expect-bytes=42",
    ]


def test_only_the_pod_of_the_mount_sees_the_secrets_and_only_the_keys_that_are_asked_for() -> None:
    ref = {"secretKeyRef": {"name": "aws", "key": "id"}}
    mount = {"mountPoint": "s3://b", "path": "/", "encryptOptions": [{"name": "s3a.accessKeyId", "valueFrom": ref}]}
    life = Life(managed(mounts=[mount]))
    life.whole()
    secrets = [
        [each["secret"] for each in body["spec"]["template"]["spec"]["volumes"] if "secret" in each]
        for body in life.created
    ]

    assert secrets == [[{"secretName": "aws", "defaultMode": 0o440, "items": [{"key": "id", "path": "id"}]}], [], []]
    assert '"secrets":{"s3a.accessKeyId":"aws/id"}' in " ".join(
        life.created[0]["spec"]["template"]["spec"]["containers"][0]["command"]
    )


def test_nothing_is_published_before_the_proof_even_where_it_shall_be_at_once() -> None:
    life = Life(managed(PATH, volume={"publish": "Immediately"}))
    for step in (STAGE, MOUNT):
        life.end(step)
        assert not life.seen.volume.uid
        assert life.condition(AVAILABLE).status == FALSE
    life.end(SIZE)
    assert life.condition(AVAILABLE).status == TRUE


# --- what it waits for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backup", "reason"),
    [
        pytest.param(None, "BackupNotFound", id="there is none yet"),
        pytest.param(DataBackupStatus(), "BackupNotComplete", id="nobody has begun it"),
        pytest.param(DataBackupStatus(phase=BackupPhase.EXECUTING), "BackupNotComplete", id="it is under way"),
    ],
)
def test_a_backup_that_is_not_there_yet_is_waited_for_however_long(
    backup: DataBackupStatus | None, reason: str
) -> None:
    life = Life(managed({"backupName": "monday", **UFS}), backup=backup)
    life.later(100_000.0)

    assert (life.condition(READY).reason, life.condition(RESTORED).status) == (reason, UNKNOWN)
    assert life.steps() == []
    life.change(backup=COMPLETE)
    life.whole()
    assert life.condition(RESTORED).status == TRUE


def test_nothing_is_staged_while_a_master_may_write_the_journal() -> None:
    life = begun()
    life.stuck = RuntimeView(exists=True, reason="MasterStopping")
    life.end(STAGE, Exit.NO_SPACE)
    life.later(60.0)

    assert (life.condition(READY).reason, life.steps()) == ("MasterStopping", [STAGE])
    life.stuck = None
    life.change(runtime=STOPPED)
    assert life.steps() == [STAGE, STAGE]


@pytest.mark.parametrize("started_from", ["", f"sha256:{'e' * 64}"], ids=["nothing", "another backup"])
def test_a_master_that_was_started_from_something_else_is_not_the_restored_one(started_from: str) -> None:
    life = begun()
    life.stuck = serving(started_from)
    life.end(STAGE)

    assert (life.condition(READY).reason, life.steps()) == ("MasterStarting", [STAGE])
    life.stuck = serving(CHECKSUM)
    life.change(runtime=life.stuck)
    assert life.steps() == [STAGE, MOUNT]


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        ('Unschedulable: persistentvolumeclaim "backups" not found', "VolumeNotFound"),
        ('FailedMount: MountVolume.SetUp failed for volume "attached-0" : secret "aws" not found', "SecretNotFound"),
        ("FailedMount: references non-existent secret key: id", "SecretNotFound"),
        ("ContainerCreating", "PodStarting"),
        ('ErrImagePull: image "x" not found', "PodStarting"),
    ],
)
def test_who_misspells_a_claim_or_a_secret_reads_which(waiting: str, reason: str) -> None:
    life = begun()
    (job,) = life.seen.jobs
    life.change(jobs=(replace(job, state=JobState.STARTING, pod="p", waiting=waiting),))

    assert life.condition(READY).reason == reason
    assert waiting in life.condition(READY).message


@pytest.mark.parametrize("ready", [True, False])
def test_what_is_wrong_with_the_pods_of_the_alluxio_is_said_of_the_dataset(ready: bool) -> None:
    """In the words of its runtime; a worker that is missing takes nothing away that a storage has."""
    life = Life(managed())
    life.whole()
    life.stuck = replace(serving(""), master_ready=ready, reason="WorkerOOMKilled", message="raise the limit")
    life.change(runtime=life.stuck, master=MasterView(ready, "WorkerOOMKilled", "raise the limit"))

    shown = life.condition(READY)
    assert (shown.status, shown.reason) == ((TRUE, "Ready") if ready else (FALSE, "WorkerOOMKilled"))
    assert "raise the limit" in shown.message


# --- how it fails -----------------------------------------------------------------------------------------------------

REASONS = ("BackupMissing", "BackupIncomplete", "BackupCorrupt", "BackupTruncated", "BackupNewer", "UnknownFormat")
REFUSALS = (*REASONS, "MountsDiffer", "ManifestChanged", "JournalNotEmpty")


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_backup_that_is_refused_is_never_served_and_its_reason_is_said(reason: str) -> None:
    life = begun()
    life.end(STAGE, Exit.BACKUP_REFUSED, reason=reason)

    assert (life.status.phase, life.status.restore.phase) == (Phase.FAILED, RestorePhase.FAILED)
    assert (life.condition(RESTORED).status, life.condition(RESTORED).reason) == (FALSE, reason)
    assert life.condition(READY).reason == reason
    assert "retry-requested-at" in life.condition(READY).message
    assert life.steps() == [STAGE]


def test_a_backup_that_failed_is_refused_without_a_job() -> None:
    life = Life(managed({"backupName": "monday"}), backup=DataBackupStatus(phase=BackupPhase.FAILED))

    assert (life.status.phase, life.condition(RESTORED).reason) == (Phase.FAILED, "BackupFailed")
    assert life.steps() == []


def test_a_checksum_that_a_person_pinned_is_held_against_what_was_staged_too() -> None:
    life = begun(checksum=f"sha256:{'e' * 64}")
    life.end(STAGE)

    assert life.condition(RESTORED).reason == "ChecksumMismatch"


def test_a_job_that_does_not_say_what_it_staged_has_failed() -> None:
    life = begun()
    life.end(STAGE, backup=None)

    assert life.status.restore.phase is RestorePhase.STAGING
    assert life.status.stage.last_reason == "ResultLost"


@pytest.mark.parametrize(
    "count", [{"totals": Totals(2, 1, 42)}, {"totals": None}, {"proved": False}], ids=["less", "nothing", "unproved"]
)
def test_a_count_that_does_not_say_that_it_found_all_proves_nothing(count: dict[str, Any]) -> None:
    life = begun()
    life.end(STAGE)
    life.end(MOUNT)
    life.end(SIZE, **count)

    assert life.condition(RESTORED).status == UNKNOWN
    assert life.status.stage.last_reason == "RestoreMismatch"


def broken(life: Life, step: str, code: Exit) -> None:
    """Let the restore go on to that step, which then fails so."""
    for name in (STAGE, MOUNT, SIZE):
        if name == step:
            break
        life.end(name)
    life.end(step, code)


HALF = [(SIZE, Exit.RESTORE_MISMATCH), (MOUNT, Exit.MOUNT_REFUSED), (MOUNT, Exit.PATH_NOT_FOUND)]


@pytest.mark.parametrize(("step", "code"), HALF)
def test_a_master_that_was_killed_while_it_restored_is_stopped_and_staged_again(step: str, code: Exit) -> None:
    """It came back with a part of the namespace, or of the mounts."""
    life = begun()
    broken(life, step, code)

    assert life.status.restore.phase is RestorePhase.STAGING
    assert life.condition(READY).status == FALSE
    life.later(15.0)
    assert life.steps()[-1] == STAGE
    life.whole()
    assert life.condition(RESTORED).status == TRUE
    assert (life.status.stage.failures, life.status.phase) == (0, Phase.READY)


@pytest.mark.parametrize(("step", "code"), [*HALF, (STAGE, Exit.VOLUME_FAILED), (SIZE, Exit.INCOMPLETE)])
@pytest.mark.parametrize("on_failure", ["Fail", "LoadFromUFS"])
def test_what_fails_again_and_again_ends_and_no_part_of_it_is_served(step: str, code: Exit, on_failure: str) -> None:
    life = begun(onFailure=on_failure)
    for _ in range(life.seen.spec.load.max_attempts):
        life.later(400.0)
        broken(life, step, code) if life.steps()[-1] == STAGE else life.end(step, code)
        assert life.condition(READY).status == FALSE
        if life.status.restore.phase in (RestorePhase.FAILED, RestorePhase.ABANDONED):
            break

    assert life.status.restore.phase is (RestorePhase.FAILED if on_failure == "Fail" else RestorePhase.ABANDONED)
    assert not life.seen.volume.uid


def test_who_wants_it_so_gets_the_storage_instead_and_is_warned() -> None:
    life = begun(**UFS)
    life.end(STAGE, Exit.BACKUP_REFUSED, reason="BackupCorrupt", message="It is damaged.")

    assert "--discard" in life.argv()
    assert len(life.created[-1]["spec"]["template"]["spec"]["volumes"]) == 3  # of the claims, the journal's alone
    warned = [event for event in life.events if event.reason == "RestoreAbandoned"]
    assert [event.type for event in warned] == ["Warning"]
    assert "BackupCorrupt: It is damaged; everything is loaded" in warned[0].message
    life.whole()
    assert life.steps() == [STAGE, STAGE, MOUNT, LOAD, SIZE]
    assert (life.condition(RESTORED).status, life.condition(RESTORED).reason) == (FALSE, "BackupCorrupt")
    assert life.condition(READY).status == TRUE


def test_a_master_that_does_not_start_from_the_backup_is_given_its_time_and_then_staged_again() -> None:
    life = begun()
    life.stuck = RuntimeView(exists=True, reason="MasterCrashLooping", message="it ends with 255")
    life.end(STAGE)
    assert life.condition(READY).reason == "MasterCrashLooping"
    life.later(599.0)
    assert life.steps() == [STAGE]
    life.stuck = None
    life.seen = replace(life.seen, now=life.seen.now + 2)
    life.look()

    assert life.status.stage.last_reason == "MasterNotStarted"
    assert "it ends with 255" in life.status.stage.last_error


def test_who_waits_for_a_master_that_reads_a_backup_learns_since_when_and_where_to_look() -> None:
    """A large one takes long, and nothing else can be done: it is never given up for that alone."""
    life = begun()
    life.stuck = RuntimeView(exists=True, reason="MasterStarting", message="pod runs and does not answer yet")
    life.end(STAGE)
    life.later(100_000.0)

    message = life.condition(READY).message
    assert life.steps() == [STAGE]
    assert f"staged at {life.status.stage.completion_time}" in message
    assert message.endswith(f"in the log of pod {life.seen.meta.name}-master-0")


def test_a_master_that_cannot_be_placed_costs_no_attempt() -> None:
    """A person is told; the backup is not at fault."""
    life = begun()
    life.stuck = RuntimeView(exists=True, reason="MasterUnschedulable", message="no node")
    life.end(STAGE)
    life.later(100_000.0)

    assert life.condition(READY).reason == "MasterUnschedulable"
    assert (life.status.stage.failures, life.steps()) == (0, [STAGE])


def test_what_was_given_up_is_tried_once_an_hour_and_at_once_when_asked() -> None:
    life = begun()
    life.end(STAGE, Exit.BACKUP_REFUSED, reason="BackupMissing")
    life.later(3_500.0)
    assert life.steps() == [STAGE]
    life.later(200.0)
    assert life.steps() == [STAGE, STAGE]
    life.end(STAGE, Exit.BACKUP_REFUSED, reason="BackupMissing")
    life.change(meta=replace(life.seen.meta, retry="now"))
    life.whole()

    assert life.condition(RESTORED).status == TRUE
    assert life.status.restore.reason == ""


def test_a_path_longer_than_a_status_keeps_is_no_other_backup_when_it_is_read_again() -> None:
    far = BackupLocation(pvc_name="backups", path="d/" * 600 + "a")
    life = Life(managed({"backupName": "monday"}), backup=COMPLETE.model_copy(update={"location": far}))
    life.change(status=DatasetStatus.read(status_dict(life.status), lenient=True))

    assert life.status.run.number == 1
    assert life.steps() == [STAGE]


# --- what a person changes meanwhile ----------------------------------------------------------------------------------

PLACES: dict[str, Callable[[Life], Any]] = {
    "staging": lambda life: None,
    "starting": lambda life: life.end(STAGE),
    "verifying": lambda life: (life.end(STAGE), life.end(MOUNT)),
    "failed": lambda life: life.end(STAGE, Exit.BACKUP_REFUSED, reason="BackupMissing"),
}


@pytest.mark.parametrize("place", PLACES)
def test_another_backup_that_is_named_before_the_proof_is_the_one_that_is_restored(place: str) -> None:
    life = begun()
    PLACES[place](life)
    life.edit(managed({"path": "pvc://backups/b"}))
    life.whole()

    assert life.status.restore.source == "pvc://backups/b"
    assert life.condition(RESTORED).status == TRUE
    assert "--directory=b" in [word for body in life.created for word in command(body)]


def command(body: dict[str, Any]) -> list[str]:
    return list(body["spec"]["template"]["spec"]["containers"][0]["command"])


@pytest.mark.parametrize("place", PLACES)
def test_other_mounts_before_the_proof_begin_the_restore_anew(place: str) -> None:
    life = begun()
    PLACES[place](life)
    life.edit(managed(PATH), inputs="bbbb")

    assert (life.status.run.number, life.steps()[-1]) == (2, STAGE)
    life.whole()
    assert life.condition(RESTORED).status == TRUE


@pytest.mark.parametrize("place", PLACES)
def test_who_takes_the_backup_away_before_the_proof_gets_the_storage(place: str) -> None:
    life = begun()
    PLACES[place](life)
    life.edit(managed())
    life.whole()

    assert life.steps()[-4:] == [STAGE, MOUNT, LOAD, SIZE]
    assert (life.condition(RESTORED).reason, life.condition(READY).status) == ("RestoreRemoved", TRUE)


def test_a_backup_that_is_named_later_starts_nothing_and_says_so() -> None:
    life = Life(managed())
    life.whole()
    life.edit(managed(PATH))

    assert life.steps() == [MOUNT, LOAD, SIZE]
    assert life.condition(ACCEPTED).reason == "RestoreIgnored"
    assert life.condition(READY).status == TRUE


def test_other_mounts_after_the_proof_are_loaded() -> None:
    life = begun()
    life.whole()
    life.edit(managed(PATH), inputs="bbbb")
    life.whole()

    assert life.steps() == [STAGE, MOUNT, SIZE, MOUNT, LOAD, SIZE]
    restored = life.condition(RESTORED)
    assert restored.status == TRUE
    assert restored.message.endswith("; run 2 (InputsChanged) is of the storage"), "its numbers are those of run 1"


def test_what_is_mounted_already_is_mounted_anew_only_in_a_load_for_other_inputs() -> None:
    """The other options may lead to other files; but of a restore the mounts hold what was restored."""
    life = begun()
    life.end(STAGE)
    life.edit(managed(PATH), inputs="bbbb")
    life.end(STAGE)
    assert (life.status.run.reason, life.steps()[-1]) == ("InputsChanged", MOUNT)
    assert "--remount" not in life.argv()
    life.whole()
    life.edit(managed(PATH), inputs="cccc")
    assert (life.steps()[-1], "--remount" in life.argv()) == (MOUNT, True)


def test_a_restored_dataset_is_refreshed_as_any_other() -> None:
    life = begun()
    life.whole()
    life.change(meta=replace(life.seen.meta, refresh="now"))
    life.whole()

    assert life.steps() == [STAGE, MOUNT, SIZE, LOAD, SIZE]
    assert not any(word.startswith("--expect-") for word in life.argv())


@pytest.mark.parametrize("restored", [True, False])
def test_a_master_that_lost_its_journal_is_loaded_anew_and_not_from_the_backup(restored: bool) -> None:
    """The storage is newer than the backup; and it is known to be there."""
    life = Life(managed(PATH if restored else None))
    life.whole()
    before = len(life.created)
    life.stuck = RuntimeView(exists=True, reason="JournalLost", message="no journal")
    life.change(runtime=life.stuck)
    assert life.status.run.reason == "MasterReset"
    life.stuck = None
    life.change(runtime=serving(""))
    life.whole()

    assert life.steps()[before:] == [MOUNT, LOAD, SIZE]
    assert life.condition(READY).status == TRUE
    if restored:
        assert (life.status.restore.phase, life.condition(RESTORED).status) == (RestorePhase.ABANDONED, FALSE)


def test_a_master_that_lost_what_was_restored_in_the_middle_of_a_later_run_is_loaded_anew() -> None:
    """It looks for the backup, which is gone, and would never start."""
    life = begun()
    life.whole()
    life.stuck = RuntimeView(exists=True, reason="JournalLost", message="no journal")
    life.edit(managed(PATH), inputs="bbbb")
    assert life.status.restore.phase is RestorePhase.ABANDONED
    life.stuck = None
    life.change(runtime=serving(""))
    life.whole()

    assert life.condition(READY).status == TRUE


def test_a_master_that_lost_its_mounts_before_it_was_ready_is_mounted_again() -> None:
    life = Life(managed())
    life.end(MOUNT)
    life.end(LOAD, Exit.MOUNT_MISSING)
    life.later(15.0)
    life.whole()

    assert life.steps() == [MOUNT, LOAD, MOUNT, LOAD, SIZE]
    assert life.condition(READY).status == TRUE


# --- the controller dies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True], ids=["all goes well", "it is abandoned"])
def test_a_controller_that_dies_between_two_writes_leaves_nothing_undone(fails: bool) -> None:
    """Whichever pass it is: the same Jobs, the same end."""
    for lost in range(1, 30):
        life = Life(managed({**PATH, **UFS}), crash_at=lost)
        if fails:
            life.end(STAGE, Exit.BACKUP_REFUSED, reason="BackupCorrupt")
        life.whole()
        names = [body["metadata"]["name"] for body in life.created]
        assert life.condition(READY).status == TRUE
        assert life.condition(RESTORED).status == (FALSE if fails else TRUE)
        assert list(dict.fromkeys(life.steps())) == ([STAGE, MOUNT, LOAD, SIZE] if fails else [STAGE, MOUNT, SIZE])
        assert len(names) <= len(set(names)) + 1  # the one that was lost is created again, under its name
        if lost > life.passes:
            break
    else:
        pytest.fail("it takes more passes than were tried")


@pytest.mark.parametrize("place", [*PLACES, "restored"])
def test_a_dataset_that_is_deleted_in_any_phase_ends_its_jobs_and_goes(place: str) -> None:
    life = begun()
    PLACES.get(place, Life.whole)(life)
    before = len(life.created)
    life.change(meta=replace(life.seen.meta, deleting=True))

    assert not life.seen.jobs
    assert not life.seen.volume.uid
    assert len(life.created) == before
    assert life.released


# --- everything at once -----------------------------------------------------------------------------------------------

SPECS = [
    managed(PATH),
    managed({**PATH, **UFS}),
    managed({"path": "pvc://backups/b"}, volume={"publish": "Immediately"}),
    managed({"backupName": "monday"}),
    managed(),
]
ENDS = [
    *(Exit.COMPLETE,) * 15,
    *(Exit.BACKUP_REFUSED, Exit.RESTORE_MISMATCH, Exit.MOUNT_REFUSED, Exit.MOUNT_MISSING, Exit.PATH_NOT_FOUND),
    *(Exit.UNREACHABLE, Exit.INCOMPLETE, Exit.VOLUME_FAILED, Exit.INTERNAL, Exit.USAGE),
]
TROUBLES = [
    None,
    RuntimeView(exists=True, reason="MasterCrashLooping"),
    RuntimeView(exists=True, reason="JournalLost"),
    RuntimeView(exists=True, reason="MasterStopping"),
    serving(""),
]


def something_happens(life: Life, rng: random.Random) -> None:
    """One thing that a Job, a person, a master or the controller's own end may bring."""
    running = [job for job in life.seen.jobs if not job.ended]
    match rng.randrange(10):
        case 0 | 1 | 2 | 3 | 4 | 5 if running:
            wrong = {"totals": Totals(1, 1, 1)} if running[0].step == SIZE and rng.random() < 0.3 else {}
            code = rng.choice(ENDS)
            life.end(running[0].step, code, **(wrong if code is Exit.COMPLETE else {}))
        case 6:
            life.edit(rng.choice(SPECS), inputs=rng.choice(["aaaa", "aaaa", "bbbb"]))
        case 7:
            life.stuck = rng.choice(TROUBLES)
            life.look()
        case 8:
            life.change(meta=replace(life.seen.meta, retry=str(rng.random())))
        case _:
            life.crash_at = life.passes + rng.randrange(1, 3)
            life.later(rng.choice([1.0, 30.0, 700.0, 4_000.0]))


@pytest.mark.parametrize("seed", range(150))
def test_whatever_happens_in_whatever_order_no_part_is_served_and_it_ends_well(seed: int) -> None:
    rng = random.Random(seed)
    life = Life(rng.choice(SPECS), backup=rng.choice([COMPLETE, None]))
    for _ in range(30):
        something_happens(life, rng)
        if life.status.restore.phase not in (None, RestorePhase.RESTORED, RestorePhase.ABANDONED):
            assert not life.seen.volume.uid
            assert life.condition(READY).status == FALSE
        if life.status.restore.phase is RestorePhase.RESTORED and life.status.run.number == 1:
            assert life.status.size.files == WHOLE.files
    names = [body["metadata"]["name"] for body in life.created]
    assert max(names.count(name) for name in {*names, ""}) <= 2  # again only where a write was lost

    life.stuck = None
    life.change(backup=COMPLETE, meta=replace(life.seen.meta, retry="mended"))
    life.whole()
    assert life.condition(READY).status == TRUE
