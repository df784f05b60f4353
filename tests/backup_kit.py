"""Builders of what decisions about backups see, and a small world in which a backup lives, dies and is restarted."""

from dataclasses import dataclass, field, replace
from typing import Any

from controllers.api.databackup import BackupLocation, DataBackupSpec, DataBackupStatus
from controllers.api.dataset import MasterStatus
from controllers.api.job_commands import REMOVE, TAKE
from controllers.api.result import BackupFacts, Exit, Master, Result, describe
from controllers.backup import FINALIZER, Observed, decide
from controllers.backup.jobs import location, name
from controllers.backup.seen import ClaimView, DatasetView, LostPod, Meta
from controllers.config import ControllerConfig
from controllers.dataset.seen import LOST_SECONDS, JobState, JobView
from controllers.decision import Create, Decision, Delete
from controllers.jobs import ATTEMPT, JOB, STEP

NOW = 1_800_000_000.0
UID = "9b1d4c22-1111-4222-8333-944455556666"
META = Meta("default", "nightly", UID, created=NOW - 100, finalizers=(FINALIZER,))
READY = DatasetView(
    uid="uid-of-dataset",
    ready=True,
    masters=("imagenet-master-0.default.svc:19998",),
    path="/dataset",
    mounts_hash="aaaa",
    agent="http://imagenet-master-0.default.svc:19997",
    agent_secret="imagenet-agent",
    ufs_total="42.00B",
    file_num="3",
    master=MasterStatus(cluster_id="cluster-1", start_time_ms=1_000),
)


def spec(**changes: Any) -> DataBackupSpec:
    """A valid spec; changes in the form of YAML."""
    where = {"dataset": {"name": "imagenet"}, "backupStorageLocationSpec": {"mountPath": "pvc://backups/daily"}}
    return DataBackupSpec.read({**where, **changes})


def observed(**changes: Any) -> Observed:
    """A DataBackup of that spec which nobody has touched yet, of a Dataset that is Ready."""
    base = Observed(
        now=NOW,
        meta=META,
        config=ControllerConfig(),
        status=DataBackupStatus(),
        spec=spec(),
        dataset=READY,
        claim=ClaimView(exists=True),
    )
    return replace(base, **changes)


def place() -> BackupLocation:
    """The directory of that backup."""
    return location(META, spec())


def job(step: str, state: JobState, *, attempt: int = 1, code: int | None = None, **changes: Any) -> JobView:
    """A Job of the backup. One that ended did so a minute ago, and said so."""
    made = name(META, step, attempt)
    base = JobView(made, f"uid-of-{made}", step, 0, attempt, state, created=NOW - 90, started=NOW - 80, pod=f"{made}-x")
    if state is JobState.SUSPENDED:
        base = replace(base, started=None, pod="")
    if state is JobState.SUCCEEDED:
        base = replace(base, finished=NOW - 60, exit_code=0, result=good(step))
    if state is JobState.FAILED:
        code = 1 if code is None else code
        base = replace(base, finished=NOW - 60, exit_code=code, result=bad(step, code))
    return replace(base, **changes)


def good(step: str) -> Result:
    """The last words of a step that went well."""
    facts = BackupFacts(
        directory=place().path,
        entries=7,
        size_bytes=99,
        checksum="sha256:" + "c" * 64,
        manifest_sha256="sha256:" + "d" * 64,
        files=3,
        engine_version="2.9.6",
        format_version=1,
        mounts_hash="aaaa",
    )
    master = Master("imagenet-master-0.default.svc:19998", "2.9.6", "cluster-1", 1_000)
    return Result(step, "Complete", backup=facts if step == TAKE else None, master=master)


def bad(step: str, code: int) -> Result | None:
    """The last words of a step that failed; None for a code that no step of ours gives."""
    return Result(step, describe(code)[0], message="it says why") if code in tuple(Exit) else None


@dataclass
class World:
    """One backup, its Jobs and its files; ``pass_`` lets a controller look once. ``writes``: how many it may do."""

    status: DataBackupStatus = field(default_factory=DataBackupStatus)
    spec: DataBackupSpec = field(default_factory=spec)
    meta: Meta = META
    dataset: DatasetView = READY
    now: float = NOW
    jobs: dict[str, JobView] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)  # "partial", "complete"
    pods: set[str] = field(default_factory=set)
    partial_only: dict[str, bool] = field(default_factory=dict)
    gone: bool = False
    dropped: bool = False  # somebody deleted a Job by hand
    stuck: set[str] = field(default_factory=set)  # pods whose node does not answer
    due: dict[str, float] = field(default_factory=dict)  # when these were to have ended

    def seen(self) -> Observed:
        writers = [pod for pod in sorted(self.pods) if "-delete-" not in pod]
        lost = [pod for pod in writers if self.now >= self.due.get(pod, self.now) + LOST_SECONDS]
        return observed(
            now=self.now,
            meta=self.meta,
            status=self.status,
            spec=self.spec,
            dataset=self.dataset,
            jobs=tuple(self.jobs.values()),
            running_pods=tuple(pod for pod in writers if pod not in lost),
            lost_pods=tuple(LostPod(pod, "n1", writes="-verify-" not in pod) for pod in lost),
        )

    def pass_(self, writes: int = 99) -> Decision:
        """Decide and carry out, but no more than so many writes: then the controller dies."""
        decision = decide(self.seen())
        steps: list[Any] = [step for step in (decision.finalizers, decision.status) if step is not None]
        for step in [*steps, *decision.children][:writes]:
            self._write(step, decision)
        return decision

    def _write(self, step: Any, decision: Decision) -> None:
        if step is decision.finalizers:
            self.meta = replace(self.meta, finalizers=step.finalizers)
            self.gone = decision.release
        elif step is decision.status:
            # Over the wire and back, as a controller that starts anew reads it.
            self.status = DataBackupStatus.read(step.model_dump(mode="json", by_alias=True, exclude_defaults=True))
        elif isinstance(step, Create):
            self._create(step.body)
        elif isinstance(step, Delete) and step.kind == JOB:
            found = self.jobs.get(step.name)
            if found is not None and found.uid == step.uid:
                del self.jobs[step.name]
                self._stop(found.pod)
        elif isinstance(step, Delete):
            self.meta = replace(self.meta, deleting=True)

    def _stop(self, pod: str) -> None:
        """Delete a pod; where its node does not answer, nothing comes of it."""
        if pod in self.stuck:
            self.due.setdefault(pod, self.now + 30)
        else:
            self.pods.discard(pod)

    def heal(self) -> None:
        """Let the nodes answer again: what was to end ends."""
        self.stuck.clear()
        self.pods -= set(self.due)

    def _create(self, body: dict[str, Any]) -> None:
        made = body["metadata"]["name"]
        if made not in self.jobs:
            assert body["spec"]["suspend"]
            labels = body["metadata"]["labels"]
            self.created.append(made)
            command = body["spec"]["template"]["spec"]["containers"][0]["command"]
            self.partial_only[made] = "--partial-only" in command
            self.jobs[made] = job(
                labels[STEP],
                JobState.SUSPENDED,
                attempt=int(labels[ATTEMPT]),
                uid=f"uid-{len(self.created)}",
                created=self.now,
            )

    def alive(self) -> JobView | None:
        """The Job that has not ended, if any."""
        return next((found for found in self.jobs.values() if not found.ended), None)

    def advance(self, found: JobView) -> None:
        """Let a Job go one step further: released, running."""
        if found.state is JobState.SUSPENDED:
            found = replace(found, state=JobState.STARTING, started=self.now, pod=f"{found.name}-x")
        else:
            found = replace(found, state=JobState.RUNNING)
            self.pods.add(found.pod)
            self.files |= {"partial"} if found.step == TAKE else set()
        self.jobs[found.name] = found

    def drop(self, found: JobView) -> None:
        """Let somebody delete a Job by hand."""
        del self.jobs[found.name]
        self._stop(found.pod)
        self.dropped = True

    def end(self, found: JobView, code: int = 0) -> None:
        """Let a running Job end with this code; 0: it does what it is for."""
        state = JobState.FAILED if code else JobState.SUCCEEDED
        words = bad(found.step, code) if code else good(found.step)
        self.jobs[found.name] = replace(found, state=state, finished=self.now, exit_code=code, result=words)
        self.pods.discard(found.pod)
        if not code and found.step == TAKE:
            self.files = {"complete"}
        if not code and found.step == REMOVE:
            self.files -= {"partial"} if self.partial_only[found.name] else {"partial", "complete"}
