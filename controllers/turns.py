"""Gathers who takes part in admission: Jobs of every kind of owner, and pods that outlived theirs."""

from typing import Any

from controllers.admission import PATIENCE_SECONDS, Candidate
from controllers.api.times import epoch
from controllers.jobs import BACKUP, BACKUP_UID, DATASET, DATASET_UID, PARKED, masters_and_path
from controllers.jobview import has_ended, has_succeeded, lost, runs
from controllers.stores import Stores


def candidates(stores: Stores, now: float) -> list[Candidate]:
    """Return every Job that has not ended, and every pod that still runs although its Job has ended or is gone.

    It is asked at every event of a Job, so it looks at no more than it must.
    """
    pods = list(stores.pods.items())
    # Of two pods of a Job the one that somebody waits for comes last, and counts.
    working = sorted(filter(runs, pods), key=lambda pod: not _is_given_up(pod, now))
    running = {job: pod for pod in working for job in _jobs(pod)}
    done = {job for pod in pods if has_succeeded(pod) for job in _jobs(pod)}
    found = []
    for job in stores.jobs.items():
        key = job["metadata"]["namespace"], job["metadata"]["uid"]
        pod = running.pop(key, None)
        if (key not in done and _is_in_line(job)) or (pod and not _is_given_up(pod, now)):
            found.append(_candidate(job, pod, now))
    return found + [_candidate(pod, pod, now) for pod in running.values() if not _is_given_up(pod, now)]


def _is_given_up(pod: dict[str, Any], now: float) -> bool:
    """Whether nobody waits for the pod any more: one of a backup, whose result will not be asked for."""
    return BACKUP in pod["metadata"].get("labels", {}) and lost(pod, now)


def _jobs(pod: dict[str, Any]) -> set[tuple[str, str]]:
    """Return namespace and uid of the Jobs that a pod says it is of: one of another namespace it cannot be of."""
    return {(pod["metadata"]["namespace"], uid) for uid in _owners(pod, "Job")}


def _owners(obj: dict[str, Any], kind: str = "") -> set[str]:
    owners = obj["metadata"].get("ownerReferences", ())
    return {owner.get("uid", "") for owner in owners if kind in ("", owner.get("kind"))}


def is_ours(job: dict[str, Any]) -> bool:
    """Whether the Dataset or backup that the labels name owns the Job: a copy of its manifest has the labels, too."""
    labels = job["metadata"].get("labels", {})
    return bool({labels.get(DATASET_UID), labels.get(BACKUP_UID)} & _owners(job))


def _is_in_line(job: dict[str, Any]) -> bool:
    """Whether a Job without a running pod may get one: not where anybody's finalizer holds it when it is deleted."""
    over = has_ended(job) or "deletionTimestamp" in job["metadata"]
    return not over and (is_ours(job) or not job["spec"].get("suspend"))


def _candidate(obj: dict[str, Any], pod: dict[str, Any] | None, now: float) -> Candidate:
    """Return a Job, or a pod whose Job is gone, as admission sees it; ``pod`` is its pod that has not ended."""
    meta = obj["metadata"]
    masters, path = masters_and_path(obj)
    suspended = obj["spec"].get("suspend", False)
    starting = not suspended and (pod is None or pod.get("status", {}).get("phase") == "Pending")
    begun = epoch((pod or {}).get("metadata", {}).get("creationTimestamp") or obj.get("status", {}).get("startTime"))
    return Candidate(
        name=f"{meta['namespace']}/{meta['name']}",
        owner=_owner(meta["namespace"], meta.get("labels", {})),
        masters=frozenset(master.lower() for master in masters),  # as host names are compared
        path=path,
        since=epoch((meta.get("annotations") or {}).get(PARKED)) or epoch(meta.get("creationTimestamp")) or 0.0,
        released=bool(pod) or not suspended,
        idle=starting and begun is not None and now - begun > PATIENCE_SECONDS,
    )


def _owner(namespace: str, labels: dict[str, str]) -> str:
    return f"backup {namespace}/{labels[BACKUP]}" if BACKUP in labels else f"{namespace}/{labels.get(DATASET, '')}"
