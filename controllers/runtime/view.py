"""What others see of an AlluxioRuntime: whether its master serves, and why not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controllers.api.alluxioruntime import parse_runtime, parse_runtime_status
from controllers.api.conditions import STALLED, TRUE, find
from controllers.runtime.pods import CRASHED, Trouble, is_ready, trouble
from controllers.runtime.properties import MASTER, WORKER

#: On the masters' StatefulSet and its pods: the backup that they start from.
STARTED_FROM = "data.fluid.io/started-from"
#: On all pods: master or worker.
ROLE = "data.fluid.io/role"
_VERSION = re.compile(r"(?<![0-9.])[0-9]+\.[0-9]+\.[0-9]+")


__all__ = ["CRASHED", "ROLE", "STARTED_FROM", "RuntimeView", "engine_version", "image_of", "view"]


@dataclass(frozen=True)
class RuntimeView:
    """The AlluxioRuntime of one name, with its pods. ``exists`` False: there is none, or it is being deleted."""

    exists: bool = False
    uid: str = ""
    engine_version: str = ""  # of its image, such as "2.9.6"; empty where the tag does not say
    master_ready: bool = False
    master_gone: bool = False  # no pod of a master exists, and none will: its StatefulSet is at 0, or is not there
    started_from: str = ""  # "sha256:..." of the backup's file from which the master's StatefulSet starts; "": none
    reason: str = ""  # why a master or worker is not ready; CamelCase, empty where all are
    message: str = ""
    user: int = 65532  # who runs its processes: what a Job lays before a master must be readable by it
    group: int = 65532


def view(
    runtime: dict[str, Any] | None,
    masters: dict[str, Any] | None,
    pods: Sequence[dict[str, Any]],
    image: str,
    *,
    dataset_uid: str = "",
) -> RuntimeView:
    """Return what a Dataset sees of the AlluxioRuntime of its name.

    ``masters`` is the StatefulSet ``names.master``; ``pods`` are the runtime's, of masters and workers; ``image`` is
    what runs where the runtime names no image. A runtime that is another Dataset's, one of this name before, is none.
    """
    if runtime is None or "deletionTimestamp" in runtime["metadata"] or _is_anothers(runtime, dataset_uid):
        return RuntimeView(master_gone=_gone(masters, of_role(pods, MASTER)))
    ours, owner = of_role(pods, MASTER), parse_runtime(runtime).run_as
    ready = serves(masters, ours)
    why = why_not(masters, ours) or trouble(of_role(pods, WORKER), WORKER)
    if why and why.passing and not ready:
        why = _said(runtime) or why
    return RuntimeView(
        exists=True,
        uid=runtime["metadata"]["uid"],
        engine_version=engine_version(image_of(runtime, image)),
        master_ready=ready,
        master_gone=_gone(masters, ours),
        started_from=started_from(masters),
        reason=why.reason if why else "",
        message=why.message if why else "",
        user=owner.uid,
        group=owner.gid,
    )


def _said(runtime: dict[str, Any]) -> Trouble | None:
    """Return what stalls the runtime by its own words: no pod says that its spec or the API server refuses it."""
    found = find(parse_runtime_status(runtime).conditions, STALLED)
    return Trouble(found.reason, found.message) if found and found.status == TRUE else None


def of_role(pods: Sequence[dict[str, Any]], role: str) -> list[dict[str, Any]]:
    """Return the pods of masters, or of workers."""
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(ROLE) == role]


def image_of(runtime: dict[str, Any], default: str) -> str:
    """Return the image of the runtime's masters and workers."""
    wanted = parse_runtime(runtime).alluxio_version
    if not wanted.image and not wanted.image_tag:
        return default
    name = wanted.image or _parts(default)[0]
    has_own = "@" in name or _parts(name)[1]
    return f"{name}:{wanted.image_tag}" if wanted.image_tag and not has_own else name


def engine_version(image: str) -> str:
    """Return the version that the tag of an image says, "" where it says none."""
    found = _VERSION.search(_parts(image)[1])
    return found[0] if found else ""


def started_from(stateful_set: dict[str, Any] | None) -> str:
    """Return the checksum of the backup from which new pods of this StatefulSet start."""
    template = stateful_set["spec"].get("template", {}) if stateful_set else {}
    return str(((template.get("metadata") or {}).get("annotations") or {}).get(STARTED_FROM, ""))


def serves(stateful_set: dict[str, Any] | None, pods: Sequence[dict[str, Any]]) -> bool:
    """Return whether all masters are ready, and are those that the StatefulSet now describes."""
    status = (stateful_set or {}).get("status", {})
    if stateful_set is None or not stateful_set["spec"].get("replicas") or not _observed(stateful_set):
        return False
    revision = status.get("updateRevision", "")
    current = all(pod["metadata"]["labels"].get("controller-revision-hash", revision) == revision for pod in pods)
    return bool(pods) and current and all(is_ready(pod) for pod in pods)


def why_not(stateful_set: dict[str, Any] | None, pods: Sequence[dict[str, Any]]) -> Trouble | None:
    """Return why no master serves; None where one does."""
    if serves(stateful_set, pods):
        return None
    if stateful_set is not None and not stateful_set["spec"].get("replicas"):
        return Trouble("MasterStopped", "the master is stopped", passing=True)
    return trouble(pods, MASTER) or Trouble("MasterStarting", "the master's pod is not there yet", passing=True)


def _gone(stateful_set: dict[str, Any] | None, pods: Sequence[dict[str, Any]]) -> bool:
    if pods:
        return False
    if stateful_set is None:
        return True
    return (
        not stateful_set["spec"].get("replicas")
        and _observed(stateful_set)
        and not stateful_set.get("status", {}).get("replicas")
    )


def _observed(stateful_set: dict[str, Any]) -> bool:
    """Return whether its controller has acted on the latest spec."""
    seen = stateful_set.get("status", {}).get("observedGeneration", 0)
    return bool(seen >= stateful_set["metadata"].get("generation", 1))


def _is_anothers(runtime: dict[str, Any], dataset_uid: str) -> bool:
    owners = [owner for owner in runtime["metadata"].get("ownerReferences") or () if owner.get("kind") == "Dataset"]
    return bool(dataset_uid and owners) and all(owner.get("uid") != dataset_uid for owner in owners)


def _parts(image: str) -> tuple[str, str]:
    """Return name and tag; a digest is no tag, and a colon before the last slash is a port."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "")
