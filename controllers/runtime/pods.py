"""Why a pod of a master or worker is not ready, in words that say what to do. Pure reading of what Kubernetes wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controllers.runtime.properties import MASTER

_OOM_HINT = {
    MASTER: "raise spec.master.resources.limits.memory, or lower -Xmx in spec.master.jvmOptions",
    "worker": "raise spec.worker.resources.limits.memory (a cache in memory counts), or lower -Xmx or the quota",
}
#: By what happened: the reason for a master, and for a worker.
_REASONS = {
    "schedule": ("MasterUnschedulable", "WorkerUnschedulable"),
    "journal": ("JournalUnbound", "WorkerVolumeUnbound"),
    "oom": ("MasterOOMKilled", "WorkerOOMKilled"),
    "heap": ("MasterOutOfHeap", "WorkerOutOfHeap"),
    "crash": ("MasterCrashLooping", "WorkerCrashLooping"),
    "image": ("MasterImagePull", "WorkerImagePull"),
    "init": ("MasterInitFailed", "WorkerInitFailed"),
    "lost": ("JournalLost", "WorkerInitFailed"),
    "config": ("MasterConfigMissing", "WorkerConfigMissing"),
    "refused": ("MasterPodRefused", "WorkerPodRefused"),
    "evicted": ("MasterEvicted", "WorkerEvicted"),
    "starting": ("MasterStarting", "WorkerStarting"),
    "stopping": ("MasterStopping", "WorkerStopping"),
}
#: Reasons of a master that ran and died, or could not begin with what it found: trying it again may not help.
CRASHED = frozenset({"MasterOOMKilled", "MasterOutOfHeap", "MasterCrashLooping", "MasterInitFailed", "JournalLost"})
#: How the init container ends where the master shall start from a backup that is not there, on an empty journal.
JOURNAL_LOST_EXIT = 44
_HEAP_EXIT = 3  # of a JVM with -XX:+ExitOnOutOfMemoryError
_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


@dataclass(frozen=True)
class Trouble:
    """What keeps a pod from being ready. ``passing``: it is on its way, nothing is wrong with it yet."""

    reason: str
    message: str
    passing: bool = False


def is_ready(pod: dict[str, Any]) -> bool:
    """Return whether the pod serves."""
    return "deletionTimestamp" not in pod["metadata"] and _condition(pod, "Ready").get("status") == "True"


def trouble(pods: Sequence[dict[str, Any]], role: str) -> Trouble | None:
    """Return the gravest trouble of these pods, all of one role; None where all are ready."""
    found = [_trouble(pod, role) for pod in pods if not is_ready(pod)]
    return min(found, key=lambda each: each.passing, default=None)


def is_creating(pod: dict[str, Any]) -> bool:
    """Return whether the pod has a node and no container yet."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending" or _condition(pod, "PodScheduled").get("status") == "False":
        return False
    parts = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return not any({"running", "terminated"} & part.get("state", {}).keys() for part in parts)


def refused(found: Trouble | None, said: str, role: str) -> Trouble | None:
    """Return the trouble, or why it is no mere start: what Kubernetes says in an event."""
    if found is None or not found.passing or not said:
        return found
    return _made(role, "refused", f"Kubernetes makes no pod, or no container, of the {role}: {said}")


def _trouble(pod: dict[str, Any], role: str) -> Trouble:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if "deletionTimestamp" in pod["metadata"]:
        return _made(role, "stopping", f"pod {name} is being stopped", passing=True)
    if status.get("phase") == "Failed":
        said = f"{status.get('reason', 'Failed')}: {status.get('message', '')}".rstrip(": ")
        return _made(role, "evicted", f"pod {name} was ended by Kubernetes and is made anew: {said}")
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return _unscheduled(name, role, str(scheduled.get("message", "")))
    for part in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(part, ()):
            if (problem := _container(name, role, container, init=part.startswith("init"))) is not None:
                return problem
    runs = any("running" in part.get("state", {}) for part in status.get("containerStatuses", ()))
    text = f"pod {name} runs and does not answer yet" if runs else f"pod {name} is starting"
    return _made(role, "starting", text, passing=True)


def _unscheduled(name: str, role: str, message: str) -> Trouble:
    if "persistentvolumeclaim" in message.lower():
        advice = "see --journal-size and --journal-storage-class of the controller" if role == MASTER else ""
        return _made(role, "journal", f"pod {name} waits for its volume: {message}. {advice}".rstrip(". "))
    return _made(role, "schedule", f"no node takes pod {name}: {message}")


def _container(name: str, role: str, status: dict[str, Any], *, init: bool) -> Trouble | None:
    waiting = status.get("state", {}).get("waiting") or {}
    ended = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated") or {}
    container, why = status.get("name", ""), waiting.get("reason", "")
    said = f"{why}: {waiting.get('message', '')}".rstrip(": ")
    if why in _PULL:
        return _made(role, "image", f"the image {status.get('image', '')} of pod {name} cannot be pulled: {said}")
    if why in _CONFIG:
        return _made(role, "config", f"container {container} of pod {name} cannot be made: {said}")
    code = ended.get("exitCode", 0)
    if not code or (status.get("ready") and not init):
        return None
    log = f"see kubectl logs {name} -c {container} --previous"
    if ended.get("reason") == "OOMKilled":
        return _made(role, "oom", f"container {container} of pod {name} was killed for its memory: {_OOM_HINT[role]}")
    if init and code == JOURNAL_LOST_EXIT:
        text = f"the claim of pod {name} holds neither a journal nor the backup that it was restored from: it was lost"
        return _made(role, "lost", text)
    if init:
        return _made(role, "init", f"init container {container} of pod {name} ended with exit code {code}: {log}")
    if code == _HEAP_EXIT and container == role:
        text = f"the Java heap of pod {name} is too small: raise -Xmx in spec.{role}.jvmOptions"
        return _made(role, "heap", text)
    times = status.get("restartCount", 0)
    text = f"container {container} of pod {name} ended with exit code {code} and was restarted {times} times: {log}"
    return _made(role, "crash", text)


def _made(role: str, what: str, message: str, *, passing: bool = False) -> Trouble:
    return Trouble(_REASONS[what][role != MASTER], message, passing)


def _condition(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    found = pod.get("status", {}).get("conditions") or ()
    return next((item for item in found if item.get("type") == kind), {})
