"""AlluxioRuntimes as people of Fluid write them, and the pods and StatefulSets that the cluster would show."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from controllers.api.alluxioruntime import parse_runtime, unserved_runtime_fields
from controllers.config import ControllerConfig
from controllers.decision import Create, Decision, Delete, Patch
from controllers.runtime import FINALIZER, DatasetView, Seen, names
from controllers.runtime.properties import MASTER, WORKER
from controllers.runtime.view import ROLE

UID, DATASET_UID = "aaaaaaaa-0000-4000-8000-000000000001", "dddddddd-0000-4000-8000-000000000002"
NOW = 1_800_000_000.0

SAMPLES: dict[str, dict[str, Any]] = {
    "memory": {
        "replicas": 2,
        "tieredstore": {
            "levels": [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "2Gi", "high": "0.95", "low": "0.7"}]
        },
    },
    "properties": {
        "replicas": 1,
        "properties": {
            "alluxio.user.block.size.bytes.default": "256MB",
            "alluxio.user.file.writetype.default": "MUST_CACHE",
            "alluxio.master.journal.folder": "/journal",
        },
        "jvmOptions": ["-XX:+UseG1GC"],
        "tieredstore": {"levels": [{"mediumtype": "SSD", "path": "/var/lib/docker/alluxio", "quota": "50Gi"}]},
        "master": {"jvmOptions": ["-Xmx8G", "-XX:+UnlockExperimentalVMOptions"]},
        "worker": {
            "jvmOptions": ["-Xmx4G"],
            "properties": {"alluxio.worker.block.threads": "8"},
        },
        "fuse": {"jvmOptions": ["-Xmx4G"], "args": ["fuse", "--fuse-opts=direct_io,ro"], "cleanPolicy": "OnDemand"},
    },
    "tiers": {
        "replicas": 3,
        "alluxioVersion": {"image": "alluxio/alluxio-dev", "imageTag": "2.9.0", "imagePullPolicy": "Always"},
        "tieredstore": {
            "levels": [
                {"mediumtype": "HDD", "volumeType": "hostPath", "path": "/mnt/a,/mnt/b", "quotaList": "100Gi,200Gi"},
                {"mediumtype": "MEM", "path": "/dev/shm", "quota": "4Gi"},
            ]
        },
        "data": {"replicas": 1, "pin": False},
        "runAs": {"uid": 1000, "gid": 1001, "user": "fluid", "group": "fluid"},
    },
    "resources": {
        "replicas": 1,
        "master": {
            "replicas": 1,
            "networkMode": "ContainerNetwork",
            "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "4Gi"}},
            "nodeSelector": {"disk": "fast"},
            "env": {"TZ": "$(UTC)"},
        },
        "worker": {"resources": {"limits": {"memory": "4Gi", "cpu": "2"}}},
        "jobWorker": {"ports": {"rpc": 30001}},
        "podMetadata": {"labels": {"team": "vision"}, "annotations": {"note": "x"}},
        "imagePullSecrets": [{"name": "registry"}],
        "tieredstore": {"levels": [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "1Gi"}]},
    },
}


def seen(spec: Mapping[str, Any] | None = None, **changes: Any) -> Seen:
    """An AlluxioRuntime with that spec whose Dataset is there, and nothing else yet."""
    obj = {"spec": dict(SAMPLES["memory"] if spec is None else spec)}
    base = Seen(
        now=NOW,
        namespace="ml",
        name="imagenet",
        uid=UID,
        config=ControllerConfig(),
        spec=parse_runtime(obj),
        image="alluxio/alluxio:2.9.6",
        token="secret",  # noqa: S106
        created=NOW - 30,
        finalizers=(FINALIZER,),
        owners=({"kind": "Dataset", "name": "imagenet", "uid": DATASET_UID},),
        unserved=unserved_runtime_fields(obj),
        dataset=DatasetView(DATASET_UID),
    )
    return replace(base, **changes)


def pod(role: str, number: int = 0, *, ready: bool = True, **status: Any) -> dict[str, Any]:
    """A pod of a master or worker of ``seen``."""
    name = f"{names.master('imagenet') if role == MASTER else names.worker('imagenet')}-{number}"
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": name, "namespace": "ml", "labels": {ROLE: role}},
        "status": {"phase": "Running", "conditions": conditions, **status},
    }


def carried_out(before: Seen, decision: Decision) -> Seen:
    """What is seen once the API server has taken the decision, with the pods as they were."""
    after = replace(before, status=decision.status or before.status)
    if decision.finalizers is not None:
        after = replace(after, finalizers=decision.finalizers.finalizers)
    for child in decision.children:
        after = _after(after, child)
    return after


def _after(state: Seen, child: Any) -> Seen:
    match child:
        case Create("StatefulSet", body):
            name, found = (
                body["metadata"]["name"],
                {**body, "metadata": {**body["metadata"], "uid": "u-" + body["metadata"]["name"]}},
            )
        case Patch("StatefulSet", name, _, body):
            old = state.masters if name == names.master(state.name) else state.workers
            assert old is not None
            found = merged(old, body)
        case Patch("AlluxioRuntime", _, _, body):
            return replace(state, owners=tuple(body["metadata"]["ownerReferences"]))
        case Delete("StatefulSet", name, _):
            found = None
        case _:
            return state
    return replace(state, **{"masters" if name == names.master(state.name) else "workers": found})


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def running(state: Seen) -> Seen:
    """The same once Kubernetes has made every pod that the StatefulSets ask for, all ready."""
    pods = [
        pod(role, number)
        for role, stateful_set in ((MASTER, state.masters), (WORKER, state.workers))
        for number in range(stateful_set["spec"]["replicas"] if stateful_set else 0)
    ]
    settled = {"observedGeneration": 1}  # of the StatefulSets
    return replace(
        state,
        pods=tuple(pods),
        masters=state.masters
        and {**state.masters, "status": {**settled, "replicas": state.masters["spec"]["replicas"]}},
        workers=state.workers and {**state.workers, "status": settled},
    )
