"""What a Job and its pods say, as one value: pure reading of what Kubernetes wrote."""

from collections.abc import Iterable, Sequence
from typing import Any

from controllers.api.cli_result import parse_cli_message
from controllers.api.dataset import Loader
from controllers.api.result import Result
from controllers.api.times import epoch
from controllers.dataset.seen import LOST_SECONDS, JobState, JobView
from controllers.jobs import ATTEMPT, LOADER, RELEASED, RUN, STEP


def job_view(job: dict[str, Any], pods: Sequence[dict[str, Any]]) -> JobView:
    """Return what a Job of ours is doing. ``pods`` are its own, in any order."""
    meta, status = job["metadata"], job.get("status", {})
    labels = meta.get("labels", {})
    ordered = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    newest = ordered[-1] if ordered else None
    ended = next((found for pod in reversed(ordered) if (found := _terminated(pod))), None)
    failed, complete = _condition(status, "Failed"), _condition(status, "Complete")
    finished = (failed or complete or {}).get("lastTransitionTime") or status.get("completionTime")
    return JobView(
        name=meta["name"],
        uid=meta["uid"],
        step=labels.get(STEP, ""),
        run=_number(labels.get(RUN)),
        attempt=_number(labels.get(ATTEMPT)),
        state=_state(job, newest, failed, complete),
        created=epoch(meta.get("creationTimestamp")) or 0.0,
        # By our own clock, and since the first time: being suspended in between resets the Job's own start.
        started=epoch((meta.get("annotations") or {}).get(RELEASED)) or epoch(status.get("startTime")),
        finished=epoch(finished),
        pod=newest["metadata"]["name"] if newest else "",
        pod_created=epoch(newest["metadata"].get("creationTimestamp")) if newest else None,
        waiting=waiting_reason(newest),
        exit_code=ended.get("exitCode") if ended else None,
        oom_killed=bool(ended) and ended is not None and ended.get("reason") == "OOMKilled",
        result=_result(ended, cli=labels.get(LOADER) == Loader.ALLUXIO_CLI),
        failure=(failed or {}).get("reason", ""),
        failure_message=(failed or {}).get("message", ""),
    )


def pods_of(job: dict[str, Any], pods: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pods that belong to exactly this Job, not to one of the same name before it."""
    uid = job["metadata"]["uid"]
    return [pod for pod in pods if any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences", ()))]


def has_ended(job: dict[str, Any]) -> bool:
    """Whether the Job is Complete or Failed."""
    status = job.get("status", {})
    return bool(_condition(status, "Complete") or _condition(status, "Failed"))


def has_succeeded(pod: dict[str, Any]) -> bool:
    """Whether the pod did its Job's work. The Job's controller says Complete up to a second later."""
    return bool(pod.get("status", {}).get("phase") == "Succeeded")


def runs(pod: dict[str, Any]) -> bool:
    """Whether a container of the pod may still be running: neither Succeeded nor Failed."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def lost(pod: dict[str, Any], now: float) -> bool:
    """Whether a pod that has not ended should have, long ago. Nobody can say whether it still runs.

    ``deletionTimestamp`` is when its grace is over (Kubernetes API, ObjectMeta), whoever deleted it: its Job, a person,
    or Kubernetes, some minutes after it has lost the node. It is stored, so no restart of ours begins anew.
    """
    due = epoch(pod["metadata"].get("deletionTimestamp"))
    return due is not None and now >= due + LOST_SECONDS


def waiting_reason(pod: dict[str, Any] | None) -> str:
    """Return why no container of the pod runs, in Kubernetes' words; "" where one runs or ended."""
    if pod is None:
        return ""
    status = pod.get("status", {})
    for container in status.get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return ": ".join(text for text in (waiting.get("reason", ""), waiting.get("message", "")) if text)
    scheduled = _condition(status, "PodScheduled", "False")
    if scheduled:
        return f"{scheduled.get('reason', '')}: {scheduled.get('message', '')}"
    return ""


def _state(
    job: dict[str, Any], pod: dict[str, Any] | None, failed: dict[str, Any] | None, complete: dict[str, Any] | None
) -> JobState:
    if job["metadata"].get("deletionTimestamp"):
        return JobState.DELETING
    if complete:
        return JobState.SUCCEEDED
    if failed:
        return JobState.FAILED
    if job["spec"].get("suspend"):
        return JobState.SUSPENDED
    phase = (pod or {}).get("status", {}).get("phase")
    return JobState.RUNNING if phase in ("Running", "Succeeded", "Failed") else JobState.STARTING


def _condition(status: dict[str, Any], kind: str, value: str = "True") -> dict[str, Any] | None:
    found = status.get("conditions") or ()
    return next((item for item in found if item.get("type") == kind and item.get("status") == value), None)


def _terminated(pod: dict[str, Any]) -> dict[str, Any] | None:
    for container in pod.get("status", {}).get("containerStatuses", ()):
        ended = container.get("state", {}).get("terminated")
        if ended:
            return dict(ended)
    return None


def _result(ended: dict[str, Any] | None, *, cli: bool) -> Result | None:
    if not ended:
        return None
    message, code = str(ended.get("message", "")), int(ended.get("exitCode", 0))
    if cli:
        return parse_cli_message(message, code)
    try:
        return Result.from_json(message)
    except ValueError:
        return None  # killed before its last words: the exit code alone counts


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
