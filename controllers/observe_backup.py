"""Gathers what a decision about a DataBackup or a schedule needs: from the stores, and by three bounded look-ups.

The claim of somebody else's is not watched: it is looked up while the backup waits to begin. Why a pod does not start
is in its events, or in those of its Job: they are looked up while somebody waits for it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from controllers import backup, schedules
from controllers.api import schedule as schedule_api
from controllers.api.conditions import FALSE, MASTER_REACHABLE, READY, RECONCILING, TRUE, find
from controllers.api.databackup import (
    VERIFY_ANNOTATION,
    BackupPhase,
    DataBackupSpec,
    DataBackupStatus,
    PathError,
    parse_claim_path,
    parse_status,
    spec_problem,
)
from controllers.api.dataset import Phase, SpecError, parse_spec
from controllers.api.dataset import parse_status as parse_dataset_status
from controllers.api.job_commands import REMOVE, VERIFY
from controllers.api.model import TEXT_LENGTH
from controllers.api.runs import mounts_hash
from controllers.api.schedule import ScheduledDataBackupSpec, ScheduledDataBackupStatus
from controllers.api.times import epoch
from controllers.backup.reasons import OWN_OBSTACLES
from controllers.backup.report import FAILED, VERIFIED
from controllers.backup.seen import (
    FINAL,
    ClaimView,
    DatasetView,
    LostPod,
    Meta,
    Observed,
    Place,
)
from controllers.backup.users import users
from controllers.config import ControllerConfig
from controllers.dataset.refresh import REFRESH
from controllers.dataset.seen import JobState, JobView, ProgressSample
from controllers.decision import Decision, Key, Problem
from controllers.jobs import STEP
from controllers.jobview import job_view, lost, pods_of, runs
from controllers.kube.client import Cluster
from controllers.kube.errors import KubeError, NotFound
from controllers.kube.events import last_warning
from controllers.kube.resources import DATABACKUPS, PERSISTENTVOLUMECLAIMS, SCHEDULEDDATABACKUPS
from controllers.progress import Sample
from controllers.runtime import names
from controllers.schedules import Made
from controllers.schedules import Observed as SeenSchedule
from controllers.schedules.backups import made_by
from controllers.stores import Stores, dataset_of, key_of
from controllers.turns import is_ours

#: A container that has not begun so many seconds after its Job was released: ask the events why.
QUIET_SECONDS = 5.0


class BackupObserver:
    """The handler of DataBackups. ``line`` says why a suspended Job ("namespace/name") has no turn yet, ``progress``
    how far the one that runs is.
    """

    resource, logged = DATABACKUPS, (RECONCILING, FAILED, VERIFIED)

    def __init__(
        self,
        stores: Stores,
        cluster: Cluster,
        config: ControllerConfig,
        *,
        now: Callable[[], float],
        line: Callable[[str], str],
        progress: Callable[[Key, Sequence[JobView]], Sample | None],
    ) -> None:
        self._stores, self._cluster, self._config, self._now, self._line = stores, cluster, config, now, line
        self._progress, self.store = progress, stores.backups

    def decide(self, obj: dict[str, Any], problem: Problem | None) -> tuple[DataBackupStatus, Decision]:
        """See ``reconciler.Handler``."""
        seen = self.seen(obj, problem)
        return seen.status, backup.decide(seen)

    def seen(self, obj: dict[str, Any], problem: Problem | None) -> Observed:
        """Return what is known of this DataBackup now; ``problem`` is what the API server last refused."""
        meta, status, now = _meta(obj), parse_status(obj), self._now()
        spec, error = _spec(obj)
        dataset = self._dataset(obj)
        pods = self._stores.pods.by_index("backup", meta.uid, meta.namespace)
        found = self._stores.jobs.by_index("backup", meta.uid, meta.namespace)
        jobs = [job_view(job, pods_of(job, pods)) for job in found if is_ours(job)]
        running = [pod for pod in pods if runs(pod) and _step(pod) != REMOVE]  # what a removal waits for
        suspended = next((job.name for job in jobs if job.state is JobState.SUSPENDED), "")
        sample = self._progress(key_of(obj), jobs)
        begins = not meta.deleting and status.phase not in FINAL and not status.take.attempt and dataset.ready
        return Observed(
            now=now,
            meta=meta,
            config=self._config,
            status=status,
            spec=spec,
            spec_error=error,
            dataset=dataset,
            claim=self._claim(meta.namespace, spec) if begins and spec else ClaimView(),
            others=tuple(self._others(obj)) if begins else (),
            jobs=tuple(self._explained(meta.namespace, job) for job in jobs),
            running_pods=tuple(pod["metadata"]["name"] for pod in running if not lost(pod, now)),
            lost_pods=tuple(_lost_pod(pod) for pod in running if lost(pod, now)),
            users=tuple(users(self._stores.datasets.items(), meta, status)) if meta.deleting else (),
            line=self._line(f"{meta.namespace}/{suspended}") if suspended else "",
            progress=ProgressSample(*sample) if sample else None,
            problem=problem,
        )

    def _dataset(self, obj: dict[str, Any]) -> DatasetView:
        key = dataset_of(obj)
        found = self._stores.datasets.get(key.namespace, key.name)
        return dataset_view(found) if found else DatasetView()

    def _claim(self, namespace: str, spec: DataBackupSpec) -> ClaimView:
        try:
            name, _ = parse_claim_path(spec.backup_storage_location_spec.mount_path)
            found = self._cluster.get(PERSISTENTVOLUMECLAIMS, namespace, name)
        except PathError:
            return ClaimView()  # refused for that
        except NotFound:
            return ClaimView(exists=False)
        lost = found.get("status", {}).get("phase") == "Lost"
        return ClaimView(exists=True, lost=lost, deleting="deletionTimestamp" in found["metadata"])

    def _others(self, obj: dict[str, Any]) -> Iterator[Place]:
        for other in self._stores.backups.by_index("about", str(dataset_of(obj))):
            meta, raw = other["metadata"], other.get("status") or {}
            # To stop one and remove its files may take long, as where its volume cannot be mounted.
            over = raw.get("phase") in FINAL or raw.get("failureReason") or "deletionTimestamp" in meta
            if over or meta["uid"] == obj["metadata"]["uid"]:
                continue
            status = parse_status(other)
            why = find(status.conditions, RECONCILING)
            able = why is None or why.reason not in OWN_OBSTACLES
            created = epoch(meta.get("creationTimestamp")) or 0.0
            yield Place(meta["name"], created, started=bool(status.take.attempt), able=able)

    def _explained(self, namespace: str, job: JobView) -> JobView:
        """Add why no container runs, where only events say so: of the Job without a pod, of the pod for a volume."""
        quiet = job.state is JobState.STARTING and self._now() - (job.started or 0.0) >= QUIET_SECONDS
        if not quiet or (job.pod and job.waiting and "ContainerCreating" not in job.waiting):
            return job
        about = f"regarding.kind=Pod,regarding.name={job.pod}" if job.pod else f"regarding.uid={job.uid}"
        try:
            note = last_warning(self._cluster, namespace, about)
        except KubeError as error:  # only a person needs them
            return replace(job, waiting=job.waiting or f"why cannot be read: {error.message}")
        return replace(job, waiting=note or job.waiting)


class ScheduleObserver:
    """The handler of ScheduledDataBackups."""

    resource, logged = SCHEDULEDDATABACKUPS, (READY,)

    def __init__(self, stores: Stores, *, now: Callable[[], float]) -> None:
        self._stores, self._now, self.store = stores, now, stores.schedules

    def decide(self, obj: dict[str, Any], problem: Problem | None) -> tuple[ScheduledDataBackupStatus, Decision]:
        """See ``reconciler.Handler``."""
        seen = self.seen(obj, problem)
        return seen.status, schedules.decide(seen)

    def seen(self, obj: dict[str, Any], problem: Problem | None) -> SeenSchedule:
        """Return what is known of this schedule now; ``problem`` is what the API server last refused."""
        meta, key = obj["metadata"], dataset_of(obj)
        spec, error = None, ""
        try:
            spec = ScheduledDataBackupSpec.read(obj.get("spec") or {})
        except ValidationError as caught:
            error = spec_problem(caught)
        dataset = self._stores.datasets.get(key.namespace, key.name)
        labelled = self._stores.backups.by_index("schedule", meta["uid"], meta["namespace"])
        found = [each for each in labelled if made_by(meta["name"], each["metadata"]["name"])]
        return SeenSchedule(
            now=self._now(),
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            generation=int(meta.get("generation") or 1),
            created=epoch(meta.get("creationTimestamp")) or 0.0,
            deleting="deletionTimestamp" in meta,
            status=schedule_api.parse_status(obj),
            spec=spec,
            spec_error=error,
            dataset_uid=dataset["metadata"]["uid"] if dataset else "",
            backups=tuple(_made(each) for each in found),
            problem=problem,
        )


def dataset_view(obj: dict[str, Any]) -> DatasetView:
    """Return what a backup needs to know of a Dataset. It is Ready for the spec that it has now, or not at all."""
    meta, status = obj["metadata"], parse_dataset_status(obj)
    base = DatasetView(uid=meta["uid"], deleting="deletionTimestamp" in meta)
    try:
        spec = parse_spec(obj)
    except SpecError as error:
        return replace(base, why=error.message)
    ready, reachable = find(status.conditions, READY), find(status.conditions, MASTER_REACHABLE)
    current = status.observed_generation == int(meta.get("generation") or 1)
    down = status.phase == Phase.READY and reachable is not None and reachable.status == FALSE
    managed = spec.alluxio is None
    return replace(
        base,
        ready=status.phase == Phase.READY and ready is not None and ready.status == TRUE and current,
        why=f"{ready.reason}: {ready.message}" if ready and current else "its spec has not been looked at yet",
        master_down=reachable.message if down and reachable else "",
        masters=spec.alluxio.masters if spec.alluxio else names.masters(meta["namespace"], meta["name"]),
        path=spec.dataset_path,
        mounts_hash=mounts_hash(spec),
        agent=names.agent_url(meta["namespace"], meta["name"]) if managed else "",
        agent_secret=names.agent_secret(meta["name"]) if managed else "",
        shared_directory=spec.alluxio.backup_directory if spec.alluxio else "",
        unshared=spec.alluxio is not None and not spec.alluxio.backup_directory,
        no_progress_seconds=spec.load.no_progress_seconds,
        pod_template=spec.load.pod_template,
        ufs_total=status.ufs_total,
        file_num=status.file_num,
        master=status.master,
        run=status.run.number,
        refreshes=status.run.reason == REFRESH,
    )


def _made(obj: dict[str, Any]) -> Made:
    meta, status = obj["metadata"], parse_status(obj)
    verified = find(status.conditions, VERIFIED)
    return Made(
        name=meta["name"],
        uid=meta["uid"],
        created=epoch(meta.get("creationTimestamp")) or 0.0,
        # To stop one that has failed may take long, as on a node that is lost: no slot waits for it.
        over=status.phase in FINAL or bool(status.failure_reason),
        good=status.phase is BackupPhase.COMPLETE and not (verified and verified.status == FALSE),
        ended=epoch(status.completion_time),
        deleting="deletionTimestamp" in meta,
        message=status.message,
        dataset=dataset_of(obj).name,
    )


def _step(pod: dict[str, Any]) -> str:
    return str((pod["metadata"].get("labels") or {}).get(STEP))


def _lost_pod(pod: dict[str, Any]) -> LostPod:
    return LostPod(pod["metadata"]["name"], pod["spec"].get("nodeName", ""), writes=_step(pod) != VERIFY)


def _spec(obj: dict[str, Any]) -> tuple[DataBackupSpec | None, str]:
    try:
        return DataBackupSpec.read(obj.get("spec") or {}), ""
    except ValidationError as error:
        return None, spec_problem(error)


def _meta(obj: dict[str, Any]) -> Meta:
    meta = obj["metadata"]
    return Meta(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation") or 1),
        created=epoch(meta.get("creationTimestamp")) or 0.0,
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        # It is copied into the status.
        verify=((meta.get("annotations") or {}).get(VERIFY_ANNOTATION) or "")[:TEXT_LENGTH],
    )
