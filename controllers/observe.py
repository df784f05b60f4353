"""Gathers what a decision needs: from the stores and the pollers' snapshots alone, but for two bounded look-ups.

Those two are made only where a person waits for the answer: which pods hold the claim of a Dataset that is being
deleted, and why Kubernetes makes no pod for a Job that was released a while ago.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from controllers.api.conditions import READY, REFRESHING
from controllers.api.databackup import DataBackupStatus
from controllers.api.databackup import parse_status as parse_backup
from controllers.api.dataset import (
    DatasetSpec,
    DatasetStatus,
    SpecError,
    parse_spec,
    parse_status,
    unserved_fields,
)
from controllers.api.model import TEXT_LENGTH
from controllers.api.runs import inputs_hash
from controllers.api.validation import Limits, validate
from controllers.config import ControllerConfig
from controllers.dataset import (
    JobState,
    JobView,
    MasterView,
    Meta,
    Observed,
    ProgressSample,
    VolumeView,
    decide,
)
from controllers.dataset.seen import REFRESH_ANNOTATION, RETRY_ANNOTATION
from controllers.dataset.volume import view
from controllers.decision import Decision, Key, Problem
from controllers.jobs import MUTE
from controllers.jobview import job_view, pods_of, runs
from controllers.kube.client import Cluster
from controllers.kube.errors import KubeError
from controllers.kube.events import last_warning
from controllers.kube.resources import DATASETS, PODS
from controllers.master_snapshot import ClusterAddress, MasterSnapshot, cache_status
from controllers.progress import Sample
from controllers.runtime import names
from controllers.runtime.view import RuntimeView
from controllers.runtime.view import view as view_of_runtime
from controllers.stores import Stores, key_of
from controllers.turns import is_ours
from controllers.volumes import csi_source, persistent_volume, persistent_volume_claim, volume_name

#: A Job that was released so many seconds ago and still has no pod: ask the events why.
NO_POD_SECONDS = 5.0


class Observer:
    """Reads everything about one Dataset. Safe for many threads: it holds no state of its own.

    ``follow`` is told what was seen, so that the pollers read what this Dataset needs; it returns how far the Job is
    that runs now.
    """

    resource, logged = DATASETS, (READY, REFRESHING)

    def __init__(
        self,
        stores: Stores,
        cluster: Cluster,
        config: ControllerConfig,
        *,
        now: Callable[[], float],
        snapshot: Callable[[ClusterAddress], MasterSnapshot | None],
        line: Callable[[str], str],
        follow: Callable[[Key, Observed], Sample | None],
    ) -> None:
        self._stores, self._cluster, self._config, self._now = stores, cluster, config, now
        self._snapshot, self._place, self._follow = snapshot, line, follow
        self.store = stores.datasets
        self._limits = Limits(allow_local_ufs=config.allow_local_ufs, allowed_masters=config.allowed_masters)

    def decide(self, obj: dict[str, Any], problem: Problem | None) -> tuple[DatasetStatus, Decision]:
        """See ``reconciler.Handler``."""
        seen = self.dataset(obj, problem)
        sample = self._follow(key_of(obj), seen)
        seen = replace(seen, progress=ProgressSample(*sample) if sample else None)
        return seen.status, decide(seen)

    def dataset(self, obj: dict[str, Any], problem: Problem | None) -> Observed:
        """Return what is known of this Dataset now; ``problem`` is what the API server last refused."""
        meta = _meta(obj)
        runtime = self._runtime(meta)
        spec, spec_error = self._spec(obj, runtime)
        status = parse_status(obj)
        masters, path = address_of(spec, meta)
        pods = self._stores.pods.by_index("dataset", meta.uid, meta.namespace)
        found = self._stores.jobs.by_index("dataset", meta.uid, meta.namespace)
        jobs = tuple(job_view(job, pods_of(job, pods)) for job in found if is_ours(job))
        volume, claim = self._volumes(meta, spec, masters, path)
        address = cluster_address(spec, meta.namespace if self._cluster.in_cluster else "")
        if spec is not None and spec.alluxio is None:  # asked at once when it serves, not when a back-off has passed
            address = _own_address(meta) if runtime.master_ready else None
        return Observed(
            now=self._now(),
            meta=meta,
            config=self._config,
            status=status,
            spec=spec,
            spec_error=spec_error,
            unserved=unserved_fields(obj),
            masters=masters,
            path=path,
            inputs=inputs_hash(spec) if spec else "",
            alluxio=address,
            jobs=tuple(self._explained(meta.namespace, job) for job in jobs),
            running_pods=tuple(pod["metadata"]["name"] for pod in pods if runs(pod)),
            volume=volume,
            claim=claim,
            claim_users=self._users(meta) if meta.deleting and claim.deleting else (),
            runtime=runtime,
            backup=self._backup(meta, spec),
            master=self._master(address, status) if address or not masters else _not_ready(runtime),
            line=self._line(meta.namespace, jobs),
            problem=problem,
        )

    def _spec(self, obj: dict[str, Any], runtime: RuntimeView) -> tuple[DatasetSpec | None, Problem | None]:
        try:
            spec = parse_spec(obj)
            validate(spec, self._limits, runtime_exists=runtime.exists)
        except SpecError as error:
            return None, Problem(error.reason, error.message)
        return spec, None

    def _runtime(self, meta: Meta) -> RuntimeView:
        """Return what is seen of the AlluxioRuntime of the Dataset's name."""
        found = self._stores.runtimes.get(meta.namespace, meta.name)
        masters = self._stores.statefulsets.get(meta.namespace, names.master(meta.name))
        uid = found["metadata"]["uid"] if found else ""
        pods = self._stores.pods.by_index("runtime", uid, meta.namespace) if uid else []
        return view_of_runtime(found, masters, pods, self._config.alluxio_image, dataset_uid=meta.uid)

    def _backup(self, meta: Meta, spec: DatasetSpec | None) -> DataBackupStatus | None:
        wanted = spec.data_restore_location if spec else None
        found = self._stores.backups.get(meta.namespace, wanted.backup_name) if wanted else None
        return parse_backup(found) if found else None

    def _volumes(
        self, meta: Meta, spec: DatasetSpec | None, masters: tuple[str, ...], path: str
    ) -> tuple[VolumeView, VolumeView]:
        volume = self._stores.volumes.get("", volume_name(meta.uid))
        claims = self._stores.claims.by_index("dataset", meta.uid, meta.namespace)
        claim = next((found for found in claims if found["metadata"]["name"] == meta.name), None)
        if spec is None:
            return view(volume, {"spec": {}}), view(claim, {"spec": {}})
        source = csi_source(masters, path, meta.uid, self._config.volume)
        wanted = persistent_volume(meta.namespace, meta.name, meta.uid, spec, source, self._config.volume)
        wanted_claim = persistent_volume_claim(meta.namespace, meta.name, meta.uid, spec)
        return view(volume, wanted), view(claim, wanted_claim)

    def _master(self, address: ClusterAddress | None, status: DatasetStatus) -> MasterView:
        found = self._snapshot(address) if address else None
        if found is None:
            return MasterView()
        cache, states = cache_status(found, status.ufs_total_bytes) or (None, {})
        return MasterView(
            reachable=found.reachable,
            reason=found.reason.value,
            message=found.message,
            version=found.version,
            start_time_ms=found.start_time_ms or 0,
            total_paths=found.total_paths,
            cache=cache,
            cache_states=states,
        )

    def _line(self, namespace: str, jobs: tuple[JobView, ...]) -> str:
        waiting = next((job for job in jobs if job.state is JobState.SUSPENDED), None)
        return self._place(f"{namespace}/{waiting.name}") if waiting else ""

    def _explained(self, namespace: str, job: JobView) -> JobView:
        """Add what Kubernetes says in an event alone: of the Job, why it has no pod (quota, admission); of the pod,
        why it waits for its volumes (a Secret that does not exist).
        """
        mute = not job.pod or job.waiting.startswith(MUTE)
        if job.state is not JobState.STARTING or not mute or self._now() - (job.started or 0) < NO_POD_SECONDS:
            return job
        about = f"regarding.name={job.pod}" if job.pod else f"regarding.uid={job.uid}"
        try:
            note = last_warning(self._cluster, namespace, about)
        except KubeError as error:  # only a person needs them
            return replace(job, waiting=f"{job.waiting or 'no pod yet'}, and why cannot be read: {error.message}")
        return replace(job, waiting=note or job.waiting or "no pod was made for it yet")

    def _users(self, meta: Meta) -> tuple[str, ...]:
        pods, _, _ = self._cluster.list_page(PODS, meta.namespace, limit=500)
        # Kubernetes' pvc-protection counts every pod that has a node, one that has ended too, until it is deleted.
        bound = (pod for pod in pods if pod["spec"].get("nodeName"))
        return tuple(pod["metadata"]["name"] for pod in bound if _uses(pod, meta.name))


def address_of(spec: DatasetSpec | None, meta: Meta) -> tuple[tuple[str, ...], str]:
    """Return the masters and the dataset's path in Alluxio; ((), "/") where there are none."""
    if spec is None:
        return (), "/"
    masters = spec.alluxio.masters if spec.alluxio else names.masters(meta.namespace, meta.name)
    return masters, spec.dataset_path


def _own_address(meta: Meta) -> ClusterAddress:
    return ClusterAddress(names.masters(meta.namespace, meta.name), names.MASTER_WEB_PORT)


def _not_ready(runtime: RuntimeView) -> MasterView:
    """Return the master of a runtime as long as nobody needs to ask it."""
    return MasterView(False, runtime.reason or "MasterStarting", runtime.message or "the master is not ready yet")


def _meta(obj: dict[str, Any]) -> Meta:
    meta = obj["metadata"]
    notes = meta.get("annotations") or {}
    return Meta(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation") or 1),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        retry=notes.get(RETRY_ANNOTATION, "")[:TEXT_LENGTH],  # they are copied into the status
        refresh=notes.get(REFRESH_ANNOTATION, "")[:TEXT_LENGTH],
    )


def _uses(pod: dict[str, Any], claim: str) -> bool:
    volumes = pod.get("spec", {}).get("volumes", ())
    return any((item.get("persistentVolumeClaim") or {}).get("claimName") == claim for item in volumes)


def cluster_address(spec: DatasetSpec | None, namespace: str) -> ClusterAddress | None:
    """Return whom to ask for the state of the Dataset's Alluxio, or None where the spec names nobody.

    A bare name is one of the Dataset's own namespace, where its Jobs look it up; ``namespace`` is empty where no
    cluster DNS can be asked.
    """
    if spec is None or spec.alluxio is None:
        return None
    masters = tuple(_qualified(master, namespace) for master in spec.alluxio.masters)
    return ClusterAddress(masters, spec.alluxio.web_port)


def _qualified(master: str, namespace: str) -> str:
    host, _, port = master.rpartition(":")
    bare = namespace and host != "localhost" and "." not in host and ":" not in host
    return f"{host}.{namespace}.svc:{port}" if bare else master
