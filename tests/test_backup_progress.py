"""How far a backup, its verification and a restore are: from the words of the Job to what a person sees."""

import queue
from dataclasses import replace
from typing import Any

import pytest

from controllers.api.conditions import RECONCILING, find
from controllers.api.databackup import BackupPhase, BackupProgress, DataBackupStatus, JobReference
from controllers.api.dataset import DatasetStatus, LoadStatus, Phase, ProgressStatus, status_dict
from controllers.api.job_commands import STAGE as STAGE_JOB
from controllers.api.job_commands import TAKE, VERIFY
from controllers.api.result import Progress
from controllers.api.times import rfc3339
from controllers.backup import Observed, decide
from controllers.backup.jobs import name
from controllers.dataset import JobState, ProgressSample
from controllers.dataset import decide as decide_dataset
from controllers.dataset.seen import LOAD
from controllers.decision import Key
from controllers.follower import Pollers
from controllers.progress import ProgressReader
from fluidctl.backup_view import changes, listing
from fluidctl.show import describe, read
from fluidctl.show import progress as shown
from tests.backup_kit import META, NOW, job, observed, place
from tests.builders import at, managed
from tests.builders import job as dataset_job
from tests.builders import observed as observed_dataset
from tests.restores import STAGE, Life

COPYING = "copying backup: 3 of 4 MB"


def said(message: str, at: float = NOW, step: str = TAKE) -> ProgressSample:
    return ProgressSample(Progress(step, message=message), at)


def running(sample: ProgressSample | None, **progress: str) -> Observed:
    """A backup whose Job runs since 80 seconds, with that sample; ``progress`` is what the status had."""
    status = DataBackupStatus(
        phase=BackupPhase.EXECUTING,
        start_time=rfc3339(NOW - 80),
        location=place(),
        job_ref=JobReference(name=name(META, TAKE, 1)),
        progress=BackupProgress(**progress),
    )
    status = status.model_copy(update={"take": status.take.model_copy(update={"attempt": 1})})
    return observed(status=status, jobs=(job(TAKE, JobState.RUNNING),), progress=sample)


def told(seen: Observed) -> BackupProgress:
    status = decide(seen).status
    assert isinstance(status, DataBackupStatus)
    return status.progress


def test_the_log_of_the_pod_is_read_while_the_job_of_a_backup_runs_and_no_longer() -> None:
    """Its Dataset may have its name and a Job of its own: neither is taken for the other."""
    lines = {name(META, TAKE, 1) + "-x": COPYING, "load-x": "loading"}
    told: queue.Queue[Key] = queue.Queue()
    reader = ProgressReader(lambda _, pod: Progress(TAKE, message=lines[pod]).to_json(), told.put)
    none: Any = None
    pollers = Pollers(none, reader, none, none)
    backup, dataset = (Key(kind, "default", "imagenet") for kind in ("DataBackup", "Dataset"))
    take, load = job(TAKE, JobState.RUNNING), replace(job(TAKE, JobState.RUNNING), pod="load-x")
    reader.start()
    try:
        pollers.progress(backup, [take])
        pollers.progress(dataset, [load])
        assert {told.get(timeout=30), told.get(timeout=30)} == {backup, dataset}
        words = [
            sample.progress.message for sample in (pollers.progress(backup, [take]), reader.sample(dataset)) if sample
        ]
        assert words == [COPYING, "loading"]
        assert pollers.progress(backup, [replace(take, state=JobState.SUCCEEDED)]) is None
        pollers.progress(backup, [take])
        assert told.get(timeout=30) == backup
        pollers.forget(backup)
        assert reader.sample(backup) is None
    finally:
        reader.stop()


def test_what_the_job_says_is_in_the_status_of_its_backup() -> None:
    assert told(running(said(COPYING))) == BackupProgress(message=COPYING, update_time=rfc3339(NOW))


def test_conditions_and_events_do_not_turn_with_every_megabyte() -> None:
    """Whoever watches conditions is woken by turns, not by progress."""
    before, after = decide(running(said(COPYING))), decide(running(said("copying backup: 4 of 4 MB")))
    assert isinstance(before.status, DataBackupStatus)
    assert isinstance(after.status, DataBackupStatus)
    assert before.status.conditions == after.status.conditions
    assert before.events == after.events


def test_it_is_written_again_only_when_a_third_of_the_time_has_passed_and_then_without_being_asked() -> None:
    old = {"message": "copying backup: 1 of 4 MB", "update_time": rfc3339(NOW - 5)}
    held = running(said(COPYING), **old)
    assert told(held).message == old["message"]
    again = decide(held).requeue_after
    assert again is not None
    assert 15 < again <= 20  # 75 seconds after the Job began: for 25
    assert told(replace(held, now=NOW + again, progress=said(COPYING, NOW + again))).message == COPYING


@pytest.mark.parametrize("sample", [None, said("")], ids=["not read yet", "no words yet"])
def test_a_controller_that_was_restarted_keeps_what_was_known(sample: ProgressSample | None) -> None:
    old = {"message": COPYING, "update_time": rfc3339(NOW - 60)}
    assert told(running(sample, **old)).message == COPYING


def test_another_attempt_begins_without_the_words_of_the_one_before() -> None:
    seen = running(None, message=COPYING, update_time=rfc3339(NOW - 60))
    status = seen.status.model_copy(update={"job_ref": JobReference(name="of-before")})
    assert told(replace(seen, status=status)) == BackupProgress()


def test_a_backup_of_which_nothing_runs_has_no_progress() -> None:
    seen = running(None, message=COPYING, update_time=rfc3339(NOW - 60))
    for jobs in ((job(TAKE, JobState.SUCCEEDED),), (job(TAKE, JobState.FAILED),), ()):
        assert told(replace(seen, jobs=jobs)) == BackupProgress()


def test_a_verification_on_request_says_how_far_it_is_while_the_backup_stays_complete() -> None:
    status = DataBackupStatus(phase=BackupPhase.COMPLETE, location=place(), message="7 entries")
    verify = status.verify.model_copy(update={"attempt": 1, "start_time": rfc3339(NOW - 20)})
    status = status.model_copy(update={"verify": verify})
    sample = said("reading backup: 3 of 4 MB", step=VERIFY)
    meta = replace(META, verify="now")
    seen = observed(status=status, meta=meta, jobs=(job(VERIFY, JobState.RUNNING),), progress=sample)
    assert told(seen).message == "reading backup: 3 of 4 MB"
    found = decide(seen).status
    assert isinstance(found, DataBackupStatus)
    assert (found.phase, found.message) == (BackupPhase.COMPLETE, "7 entries")
    reconciling = find(found.conditions, RECONCILING)
    assert reconciling is not None
    assert reconciling.reason == "Verifying"


def test_who_lists_backups_or_waits_for_one_sees_how_far_it_is() -> None:
    meta = {"namespace": "default", "name": "one", "creationTimestamp": rfc3339(NOW - 9)}
    status = {"phase": "Executing", "message": "attempt 1: Job j runs"}
    before = {"metadata": meta, "spec": {"dataset": {"name": "imagenet"}}, "status": status}
    after = {**before, "status": {**status, "progress": {"message": COPYING, "updateTime": rfc3339(NOW)}}}
    assert listing([after], NOW)[1].endswith(f"attempt 1: Job j runs; {COPYING}")
    assert [line.strip() for line in changes(before, after, NOW)] == [f"9s  {COPYING}"]
    assert changes(after, after, NOW) == []


def test_who_lists_backups_sees_what_is_done_with_one_that_is_over() -> None:
    """It is read again, or deleted: its phase says neither."""
    meta = {"namespace": "default", "name": "one", "creationTimestamp": rfc3339(NOW - 9)}
    doing = {"type": "Reconciling", "reason": "BackupInUse", "message": "dataset copy restores from it"}
    status = {"phase": "Complete", "message": "7 entries", "progress": {"message": COPYING}}

    def shown_with(value: str) -> list[str]:
        found = {**status, "progress": status["progress"] if value == "True" else {}}
        return listing([{"metadata": meta, "status": {**found, "conditions": [{**doing, "status": value}]}}], NOW)

    assert shown_with("True")[1].endswith(f"7 entries; dataset copy restores from it; {COPYING}")
    assert "MESSAGE" not in shown_with("False")[0]


def test_a_restore_that_reads_its_backup_says_how_far_it_is() -> None:
    life = Life(managed({"path": "pvc://backups/a"}))
    seen = life.seen
    reading = said("reading backup: 3 of 4 MB", seen.now, STAGE_JOB)
    status = decide_dataset(replace(seen, progress=reading)).status
    assert isinstance(status, DatasetStatus)
    written = {"metadata": {"namespace": "default", "name": "copy"}, "status": status_dict(status)}
    found = read(written)
    assert found.progress == ProgressStatus(
        step=STAGE, message="reading backup: 3 of 4 MB", update_time=rfc3339(seen.now)
    )
    assert shown(found) == "reading backup: 3 of 4 MB"
    assert [line.split(maxsplit=1)[1] for line in describe(written, seen.now) if line.startswith("Progress:")] == [
        "reading backup: 3 of 4 MB"
    ]


def test_the_words_of_a_stage_are_not_those_of_the_step_after_it() -> None:
    life = Life(managed({"path": "pvc://backups/a"}))
    life.end(STAGE)
    late = said("reading backup: 4 of 4 MB", life.seen.now, STAGE_JOB)
    status = decide_dataset(replace(life.seen, progress=late)).status
    assert isinstance(status, DatasetStatus)
    assert status.progress == ProgressStatus()


def test_a_new_attempt_that_has_counted_nothing_yet_is_not_looked_at_every_second() -> None:
    """What the attempt before it had counted is shown until there is news."""
    old = ProgressStatus(step=LOAD, files=5000, message="5,000 files", update_time=rfc3339(NOW - 3600))
    load = LoadStatus(attempt=2, start_time=rfc3339(NOW - 600))
    status = at(Phase.LOADING_METADATA).model_copy(update={"progress": old, "load": load})
    idle = observed_dataset(status=status, jobs=(dataset_job(LOAD, JobState.RUNNING, attempt=2),))
    nothing = replace(idle, progress=ProgressSample(Progress(step=LOAD, files=0), idle.now - 1))
    assert decide_dataset(nothing).requeue_after == decide_dataset(idle).requeue_after
    assert decide_dataset(nothing).status == decide_dataset(idle).status
