"""Builders of Jobs and the names and labels by which a Job is found again. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from controllers.api.command import RESULT_PATH, SPILL_PATH
from controllers.api.dataset import DatasetSpec, PodTemplate
from controllers.config import ControllerConfig

JOB = "Job"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "fluidctl"
DATASET = "data.fluid.io/dataset"
DATASET_UID = "data.fluid.io/dataset-uid"
#: Of the children of a DataBackup, of what a ScheduledDataBackup makes, and of the children of an AlluxioRuntime.
BACKUP = "data.fluid.io/backup"
BACKUP_UID = "data.fluid.io/backup-uid"
SCHEDULE = "data.fluid.io/schedule"
SCHEDULE_UID = "data.fluid.io/schedule-uid"
RUNTIME = "data.fluid.io/runtime"
RUNTIME_UID = "data.fluid.io/runtime-uid"
STEP = "data.fluid.io/step"
RUN = "data.fluid.io/run"
ATTEMPT = "data.fluid.io/attempt"
LOADER = "data.fluid.io/loader"  # whose last words are to be read, and how
#: What admission needs to know of a Job, on the Job itself: so nothing of it lives in the controller's memory.
MASTERS = "data.fluid.io/masters"
PATH = "data.fluid.io/path"
#: When it was first released, and when it last gave its place to others because its pod did not start.
RELEASED = "data.fluid.io/released-at"
PARKED = "data.fluid.io/parked-at"

#: By this selector Jobs, pods and volumes are watched; it keeps those of everybody else out of the memory.
SELECTOR = f"{MANAGED_BY}={MANAGER}"
CONTAINER = "step"


#: How Kubernetes' words begin for a pod that waits for its volumes: only an event says for which, and why.
MUTE = ("ContainerCreating", "FailedMount")
#: User and group of the pods, and of the files that they share with the masters of an AlluxioRuntime.
USER, GROUP = 65532, 65532


@dataclass(frozen=True)
class Attached:
    """A claim, or some keys of a Secret, as a directory of the container."""

    mount_path: str
    claim: str = ""
    secret: str = ""
    keys: tuple[str, ...] = ()  # of the Secret; empty: all
    read_only: bool = True


@dataclass(frozen=True)
class Container:
    """What runs in the pod. ``memory`` is request and limit; empty: the controller's setting for our own image."""

    command: tuple[str, ...]
    image: str
    memory: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    attached: tuple[Attached, ...] = ()
    user: int = USER
    group: int = GROUP


def job_name(dataset: str, uid: str, step: str, run: int, attempt: int) -> str:
    """Return the Job's name; the same step of the same run and attempt has one name for ever.

    At most 63 characters, because the name becomes the value of a label on the Job's pods.
    """
    return f"{dataset[:35].rstrip('-.').replace('.', '-')}-{uid[:5]}-{step}-{run}-{attempt}"


def child_labels(dataset: str, uid: str) -> dict[str, str]:
    """Return the labels of every child of a Dataset. A label holds 63 characters, a name may have 253."""
    return {MANAGED_BY: MANAGER, DATASET: dataset[:63].rstrip("-."), DATASET_UID: uid}


def step_job(
    *,
    namespace: str,
    dataset: str,
    uid: str,
    step: str,
    loader: str,
    run: int,
    attempt: int,
    spec: DatasetSpec,
    container: Container,
    masters: tuple[str, ...],
    path: str,
    config: ControllerConfig,
) -> dict[str, Any]:
    """Return the suspended Job of one step of a Dataset."""
    labels = child_labels(dataset, uid) | {STEP: step, RUN: str(run), ATTEMPT: str(attempt), LOADER: loader}
    return suspended_job(
        namespace=namespace,
        name=job_name(dataset, uid, step, run, attempt),
        labels=labels,
        masters=masters,
        path=path,
        owner=owner_reference(dataset, uid),
        container=container,
        template=spec.load.pod_template,
        deadline=spec.load.active_deadline_seconds,
        config=config,
    )


def suspended_job(
    *,
    namespace: str,
    name: str,
    labels: dict[str, str],
    masters: tuple[str, ...],
    path: str,
    owner: dict[str, Any],
    container: Container,
    template: PodTemplate,
    deadline: int | None,
    config: ControllerConfig,
) -> dict[str, Any]:
    """Return a suspended Job of one pod with one container. Admission alone unsuspends it; ``deadline`` in seconds.

    ``backoffLimit: 0`` and ``restartPolicy: Never``: the owner's status is the one place where attempts are counted. A
    pod that was evicted or drained (DisruptionTarget) is replaced by Kubernetes and costs no attempt.
    """
    where = {MASTERS: json.dumps(list(masters)), PATH: path}
    return {
        "apiVersion": "batch/v1",
        "kind": JOB,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": where,
            "ownerReferences": [owner],
        },
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            **({"activeDeadlineSeconds": deadline} if deadline else {}),
            "template": _pod(labels, where, template, container, config),
        },
    }


def theirs(given: dict[str, str]) -> dict[str, str]:
    """Return what of these labels or annotations of a pod is not ours to say: by ours, pods are told apart."""
    return {name: value for name, value in given.items() if not name.startswith("data.fluid.io/")}


def owner_reference(name: str, uid: str, kind: str = "Dataset") -> dict[str, Any]:
    """Return the reference by which the garbage collector takes a child away with its owner."""
    return {
        "apiVersion": "data.fluid.io/v1alpha1",
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,  # True would need the right to set finalizers
    }


def masters_and_path(obj: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """Read back from a Job or its pod at which Alluxio and where it works; everything of it where it does not say."""
    notes = obj["metadata"].get("annotations") or {}
    try:
        masters = tuple(str(master) for master in json.loads(notes.get(MASTERS, "[]")))
    except (ValueError, TypeError, RecursionError):  # whoever may create pods may write anything here
        masters = ()
    return masters, notes.get(PATH, "/")


def _pod(
    labels: dict[str, str],
    where: dict[str, str],
    wanted: PodTemplate,
    container: Container,
    config: ControllerConfig,
) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": container.user,
            "runAsGroup": container.group,
            "fsGroup": container.group,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(wanted.resources, container, config)],
        "volumes": [
            {"name": "spool", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            *(_volume(f"attached-{index}", each) for index, each in enumerate(container.attached)),
        ],
    }
    account = wanted.service_account_name or config.job_service_account
    optional = {
        "serviceAccountName": account,
        "nodeSelector": wanted.node_selector,
        "tolerations": list(wanted.tolerations),
        "affinity": wanted.affinity,
        "priorityClassName": wanted.priority_class_name,
        "imagePullSecrets": [{"name": name} for name in wanted.image_pull_secrets],
    }
    pod |= {name: value for name, value in optional.items() if value}
    notes = theirs(wanted.annotations) | where
    return {"metadata": {"labels": theirs(wanted.labels) | labels, "annotations": notes}, "spec": pod}


def _container(resources: dict[str, Any] | None, container: Container, config: ControllerConfig) -> dict[str, Any]:
    memory = container.memory or config.job_memory
    defaults = {"requests": {"cpu": config.job_cpu, "memory": memory}, "limits": {"memory": memory}}
    return {
        "name": CONTAINER,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
        # Kubernetes expands $(NAME) in a command, and $$ to $: a name in a path is to stay what it is.
        "command": [word.replace("$", "$$") for word in container.command],
        "env": [{"name": name, "value": value} for name, value in container.environment],
        "resources": resources or defaults,
        "terminationMessagePath": RESULT_PATH,
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "spool", "mountPath": SPILL_PATH},
            {"name": "tmp", "mountPath": "/tmp"},
            *(
                {"name": f"attached-{index}", "mountPath": each.mount_path, "readOnly": each.read_only}
                for index, each in enumerate(container.attached)
            ),
        ],
    }


def _volume(name: str, each: Attached) -> dict[str, Any]:
    if each.claim:
        return {"name": name, "persistentVolumeClaim": {"claimName": each.claim, "readOnly": each.read_only}}
    secret: dict[str, Any] = {"secretName": each.secret, "defaultMode": 0o440}
    if each.keys:
        secret["items"] = [{"key": key, "path": key} for key in each.keys]
    return {"name": name, "secret": secret}
