"""Gathers what a decision about an AlluxioRuntime needs: from the stores, and where a pod is missing from events."""

from collections.abc import Callable
from typing import Any

from controllers import runtime
from controllers.api.alluxioruntime import (
    AlluxioRuntimeStatus,
    parse_runtime,
    parse_runtime_status,
    unserved_runtime_fields,
)
from controllers.api.conditions import READY
from controllers.api.dataset import DatasetSpec, parse_status
from controllers.api.times import epoch
from controllers.config import ControllerConfig
from controllers.decision import Decision, Problem
from controllers.jobs import RUNTIME_UID
from controllers.kube.client import Cluster
from controllers.kube.errors import KubeError
from controllers.kube.events import last_warning
from controllers.kube.resources import ALLUXIORUNTIMES
from controllers.runtime import DatasetView, Seen, names
from controllers.runtime.pods import is_creating
from controllers.runtime.properties import MASTER, WORKER, without_effect
from controllers.runtime.view import image_of, of_role
from controllers.stores import Stores

#: What is younger is still on its way: nobody looks for events about it.
_SETTLING_SECONDS = 10.0


class RuntimeHandler:
    """The handler of AlluxioRuntimes. ``token`` returns a new secret of 32 bytes or more, as text."""

    resource, logged = ALLUXIORUNTIMES, (READY,)

    def __init__(
        self,
        stores: Stores,
        cluster: Cluster,
        config: ControllerConfig,
        *,
        now: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._stores, self._cluster, self._config, self._now, self._token = stores, cluster, config, now, token
        self.store = stores.runtimes

    def decide(self, obj: dict[str, Any], problem: Problem | None) -> tuple[AlluxioRuntimeStatus, Decision]:
        """Return the status as it is, and the decision."""
        seen = self.seen(obj, problem)
        return seen.status, runtime.decide(seen)

    def seen(self, obj: dict[str, Any], problem: Problem | None) -> Seen:
        """Return what is known of this AlluxioRuntime now."""
        meta = obj["metadata"]
        namespace, name, uid = meta["namespace"], meta["name"], meta["uid"]
        masters = self._stateful_set(namespace, names.master(name), uid)
        workers = self._stateful_set(namespace, names.worker(name), uid)
        pods = self._stores.pods.by_index("runtime", uid, namespace)
        spec = parse_runtime(obj)
        return Seen(
            now=self._now(),
            namespace=namespace,
            name=name,
            uid=uid,
            config=self._config,
            spec=spec,
            image=image_of(obj, self._config.alluxio_image),
            token=self._token(),
            status=parse_runtime_status(obj),
            created=epoch(meta.get("creationTimestamp")) or 0.0,
            generation=int(meta.get("generation") or 1),
            deleting="deletionTimestamp" in meta,
            finalizers=tuple(meta.get("finalizers") or ()),
            owners=tuple(meta.get("ownerReferences") or ()),
            unserved=(*unserved_runtime_fields(obj), *without_effect(spec)),
            dataset=self._dataset(namespace, name),
            masters=masters,
            workers=workers,
            pods=tuple(pods),
            refused_master=self._refused(namespace, masters, of_role(pods, MASTER)),
            refused_worker=self._refused(namespace, workers, of_role(pods, WORKER)),
            problem=problem,
        )

    def _dataset(self, namespace: str, name: str) -> DatasetView | None:
        found = self._stores.datasets.get(namespace, name)
        if found is None:
            return None
        spec = found.get("spec") or {}
        if spec.get("alluxio"):
            return None  # it has another Alluxio, and needs none of its name
        return DatasetView(
            found["metadata"]["uid"],
            parse_status(found),
            bool(spec.get("dataRestoreLocation")),
            directories(DatasetSpec.read(spec, lenient=True)),
        )

    def _stateful_set(self, namespace: str, name: str, uid: str) -> dict[str, Any] | None:
        """Return the one of this runtime; one of that name with another owner is not ours to change."""
        found = self._stores.statefulsets.get(namespace, name)
        return found if found and found["metadata"].get("labels", {}).get(RUNTIME_UID) == uid else None

    def _refused(self, namespace: str, stateful_set: dict[str, Any] | None, pods: list[dict[str, Any]]) -> str:
        """Return what Kubernetes says in an event alone: why it makes no pod (quota), or no container (a volume)."""
        if stateful_set is None:
            return ""
        stuck = next((pod for pod in pods if is_creating(pod) and self._is_old(pod)), None)
        lacks = len(pods) < stateful_set["spec"].get("replicas", 1) and self._is_old(stateful_set)
        if stuck is None and not lacks:
            return ""
        regarding = (stuck or stateful_set)["metadata"]["uid"]
        try:
            return last_warning(self._cluster, namespace, f"regarding.uid={regarding}")
        except KubeError as error:  # only a person needs them
            return f"and why cannot be read: {error.message}"

    def _is_old(self, obj: dict[str, Any]) -> bool:
        return self._now() - (epoch(obj["metadata"].get("creationTimestamp")) or 0.0) > _SETTLING_SECONDS


def directories(spec: DatasetSpec) -> tuple[str, ...]:
    """Return the directories above the mounts that lie in no other mount; what validation refuses is left out."""
    mounts = {spec.alluxio_path(mount) for mount in spec.mounts}
    parents = {path.rpartition("/")[0] for path in mounts if not {".", ".."} & set(path.split("/"))}
    within = {path for path in parents if any(f"{path}/".startswith(f"{mount}/") for mount in mounts)}
    return tuple(sorted(parents - within - {""}))
