"""What the tests of a restore share: runtimes, statuses, and the life of one Dataset, pass by pass."""

from dataclasses import replace
from typing import Any

from controllers.api.conditions import Condition, find
from controllers.api.databackup import BackupLocation, BackupPhase, DataBackupStatus
from controllers.api.dataset import (
    DatasetSpec,
    DatasetStatus,
    LoadStatus,
    Phase,
    RestorePhase,
    RestoreStatus,
    RunStatus,
    SizeStatus,
    StepStatus,
)
from controllers.api.result import BackupFacts, Exit, Result, Totals, describe
from controllers.api.times import rfc3339
from controllers.dataset import JobState, decide
from controllers.dataset.attempts import current
from controllers.dataset.seen import LOAD, MOUNT, SIZE, STAGE
from controllers.decision import Event
from controllers.jobs import JOB, STEP
from controllers.runtime.view import RuntimeView
from tests.builders import NOW, applied, good, made, observed

CHECKSUM = f"sha256:{'c' * 64}"
MANIFEST = f"sha256:{'d' * 64}"
WHOLE = Totals(3, 1, 42)  # what tests.builders.good counts
FACTS = BackupFacts("a", 9, 100, CHECKSUM, MANIFEST, WHOLE.files, WHOLE.directories, WHOLE.bytes, "2.9.6", 1)
STOPPED = RuntimeView(exists=True, master_gone=True, reason="MasterStopped", message="the master is stopped")
COMPLETE = DataBackupStatus(
    phase=BackupPhase.COMPLETE,
    location=BackupLocation(pvc_name="backups", path="a"),
    checksum=CHECKSUM,
    manifest_sha256=MANIFEST,
)


def serving(started_from: str) -> RuntimeView:
    """A runtime whose master serves and was started from that backup."""
    return RuntimeView(exists=True, engine_version="2.9.6", master_ready=True, started_from=started_from)


def restoring(phase: RestorePhase | None = None, **changes: Any) -> DatasetStatus:
    """The status of a first run that restores, at that point; None: nobody has looked yet."""
    if phase is None:
        return DatasetStatus()
    done = StepStatus(attempt=1, completion_time=rfc3339(NOW - 60))
    waiting, late = StepStatus(attempt=1), phase in (RestorePhase.VERIFYING, RestorePhase.RESTORED)
    plan = (STAGE, MOUNT, LOAD, SIZE) if phase is RestorePhase.ABANDONED else (STAGE, MOUNT, SIZE)
    promised = {"files": WHOLE.files, "directories": WHOLE.directories, "bytes": WHOLE.bytes, "checksum": CHECKSUM}
    status = DatasetStatus(
        phase=Phase.SIZING if late else Phase.LOADING_METADATA if phase is RestorePhase.STARTING else Phase.PENDING,
        observed_generation=1,
        run=RunStatus(number=1, inputs="aaaa", start_time=rfc3339(NOW - 90), reason="Created", plan=plan),
        stage=done if late or phase is RestorePhase.STARTING else waiting,
        mount=done if late else waiting,
        load=LoadStatus(attempt=1),
        size=SizeStatus(attempt=1),
        restore=RestoreStatus(phase=phase, source="pvc://backups/a", **({} if plan == (STAGE,) else promised)),
    )
    if phase is RestorePhase.RESTORED:
        ended = rfc3339(NOW - 30)
        counted = {"files": WHOLE.files, "directories": WHOLE.directories, "bytes": WHOLE.bytes, "proved": True}
        status = status.model_copy(
            update={
                "phase": Phase.READY,
                "load": LoadStatus(attempt=1, completion_time=ended, loader="Restore"),
                "size": SizeStatus(attempt=1, completion_time=ended, **counted),
            }
        )
    if phase is RestorePhase.FAILED:
        given_up = {"failures": 1, "last_reason": "BackupCorrupt", "given_up": True, "last_error": "it is damaged"}
        stage = StepStatus(attempt=2, last_failure_time=rfc3339(NOW - 60), **given_up)
        status = status.model_copy(update={"phase": Phase.FAILED, "stage": stage})
    return status.model_copy(update=changes)


class Life:
    """One Dataset with an Alluxio of its own: the world around it does what the runtime and Kubernetes would do."""

    def __init__(self, spec: DatasetSpec, *, crash_at: int = -1, **seen: Any) -> None:
        self.seen = observed(spec=spec, path="/dataset", runtime=STOPPED, **seen)
        self.created: list[dict[str, Any]] = []
        self.events: list[Event] = []
        self.passes, self.released = 0, False
        self.crash_at = crash_at  # the pass whose children are lost with the controller
        self.stuck: RuntimeView | None = None  # what the runtime is instead of following
        self.look()

    @property
    def status(self) -> DatasetStatus:
        """The status as it was written last."""
        return self.seen.status

    def look(self) -> DatasetStatus:
        """Let the controller make passes until nothing changes any more."""
        for _ in range(20):
            decision = decide(self.seen)
            self.released |= decision.release
            before, self.passes = self.seen, self.passes + 1
            self.seen = applied(self.seen, decision, children=self.passes != self.crash_at)
            new = {"created": self.seen.now, "started": self.seen.now}
            jobs = tuple(each if each in before.jobs else replace(each, **new) for each in self.seen.jobs)
            self.seen = replace(self.seen, jobs=jobs, runtime=self.stuck or self._runtime())
            self.events += decision.events
            self.created += made(decision, JOB)
            if self.seen == before and self.passes != self.crash_at:
                return self.status
        raise AssertionError(f"still busy: {decision}")

    def change(self, **seen: Any) -> DatasetStatus:
        """Let something around the Dataset be so from now on."""
        self.seen = replace(self.seen, **seen)
        return self.look()

    def edit(self, spec: DatasetSpec, inputs: str = "aaaa") -> DatasetStatus:
        """Let a person edit the spec."""
        meta = replace(self.seen.meta, generation=self.seen.meta.generation + 1)
        return self.change(spec=spec, meta=meta, inputs=inputs)

    def later(self, seconds: float) -> DatasetStatus:
        """Let time pass."""
        return self.change(now=self.seen.now + seconds)

    def end(self, step: str, code: Exit = Exit.COMPLETE, **result: Any) -> DatasetStatus:
        """Let the one Job, which must be of that step, end so; what it says is ``result`` or what is usual."""
        (job,) = (each for each in self.seen.jobs if not each.ended)
        assert job.step == step
        said = replace(Result(step, describe(code)[0], "it says why"), **result)
        if code is Exit.COMPLETE:
            said = good(step, **({"backup": FACTS, "totals": None, "master": None} if step == STAGE else {}) | result)
        state = JobState.SUCCEEDED if code is Exit.COMPLETE else JobState.FAILED
        ended = replace(job, state=state, finished=self.seen.now, exit_code=int(code), result=said)
        return self.change(jobs=tuple(ended if each is job else each for each in self.seen.jobs))

    def whole(self) -> DatasetStatus:
        """Let all that is left of the run go well."""
        while step := current(self.status):
            if all(job.ended for job in self.seen.jobs):
                self.later(400.0)
            self.end(step)
        return self.status

    def steps(self) -> list[str]:
        """Return the steps for which Jobs were created, in order."""
        return [body["metadata"]["labels"][STEP] for body in self.created]

    def argv(self) -> list[str]:
        """Return what the last Job was told."""
        return list(self.created[-1]["spec"]["template"]["spec"]["containers"][0]["command"])

    def condition(self, kind: str) -> Condition:
        """Return that condition, which must be there."""
        found = find(self.status.conditions, kind)
        assert found is not None, kind
        return found

    def _runtime(self) -> RuntimeView:
        """Masters follow the restore: see controllers.runtime."""
        found = self.status.restore
        discarding = STAGE in self.status.run.plan and not self.status.stage.completion_time
        if found.phase in (RestorePhase.STAGING, RestorePhase.FAILED) or discarding:
            return STOPPED
        started = found.phase in (RestorePhase.STARTING, RestorePhase.VERIFYING, RestorePhase.RESTORED)
        return serving(found.checksum if started else "")


__all__ = ["CHECKSUM", "COMPLETE", "FACTS", "LOAD", "MANIFEST", "MOUNT", "SIZE", "STAGE", "STOPPED", "WHOLE", "Life"]
__all__ += ["restoring", "serving"]
