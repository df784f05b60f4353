"""Job controller, volume binder and claim protection, working on the store itself; driven by changes, never by polling.

Of Jobs as far as ours use them: one pod at a time, which is tried once (backoffLimit 0); a disrupted pod is replaced
and not counted, as our podFailurePolicy asks; deadline; suspension. Of the status: start, counts, the last condition.
A real controller waits up to 1 s before it acts and 10 s before it replaces a pod; this one does not wait.
"""

import threading

from controllers.api.times import epoch, rfc3339
from controllers.kube.store import key_of
from devcluster.kinds import Obj
from devcluster.store import Store, owners

_JOBS, _PODS, _CLAIMS, _VOLUMES = "jobs.batch", "pods", "persistentvolumeclaims", "persistentvolumes"
_TRACKED = "batch.kubernetes.io/job-tracking"


class Controllers:
    """``step`` does all that is to be done now, in the caller's thread; who calls it holds the store's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run(self, changed: threading.Condition, stopping: threading.Event) -> None:
        """Step after each change until ``stopping`` is set (and ``changed`` notified)."""
        with changed:
            while not stopping.is_set():
                wait = self.step()
                changed.notify_all()
                changed.wait(wait)

    def step(self) -> float | None:
        """Bring everything up to date; return after how many seconds a deadline is due, None where there is none."""
        before = -1
        while before != self._store.version:
            before = self._store.version
            for kind, do in ((_JOBS, self._job), (_PODS, self._pod), (_CLAIMS, self._claim), (_VOLUMES, self._volume)):
                for obj in self._store.page(kind).items:
                    do(obj)
        due, now = map(_deadline, filter(_is_going, self._store.page(_JOBS).items)), self._store.clock()
        return min((at - now for at in due if at and at > now), default=None)

    def _hold(self, kind: str, obj: Obj, finalizer: str, held: bool) -> None:
        names = [name for name in obj["metadata"].get("finalizers", ()) if name != finalizer]
        self._store.patch(kind, *key_of(obj), {"metadata": {"finalizers": names + [finalizer] * held or None}})

    def _job(self, job: Obj) -> None:
        """Count, decide, act, and write the status once, as the real controller's syncJob does."""
        if not _is_going(job):
            return
        status, now = dict(job.get("status", {})), self._store.clock()
        pods = [pod for pod in self._store.page(_PODS).items if job["metadata"]["uid"] in owners(pod)]
        for pod in filter(_has_ended, pods):
            if _TRACKED in pod["metadata"].get("finalizers", ()) and not _condition(pod, "DisruptionTarget"):
                name = "succeeded" if pod["status"]["phase"] == "Succeeded" else "failed"
                status[name] = status.get(name, 0) + 1
            self._hold(_PODS, pod, _TRACKED, False)
        alive, reason = [pod for pod in pods if not _has_ended(pod)], _verdict(status, _deadline(job), now)
        if reason or job["spec"].get("suspend"):
            alive = [pod for pod in alive if self._kill(pod)]
        else:
            status.setdefault("startTime", rfc3339(now))
            alive = alive or [self._create(job)]
        if reason and not alive:
            kind = "Complete" if reason == "CompletionsReached" else "Failed"
            ended = {"type": kind, "status": "True", "reason": reason, "message": reason}
            status["conditions"] = [ended | {"lastTransitionTime": rfc3339(now)}]
        elif not reason and job["spec"].get("suspend"):
            status.pop("startTime", None)
        self._store.update(_JOBS, *key_of(job), job | {"status": status}, "status")

    def _pod(self, pod: Obj) -> None:
        """Let go of a pod whose Job is over or gone."""
        jobs = [job for job in self._store.page(_JOBS).items if job["metadata"]["uid"] in owners(pod)]
        if not any(map(_is_going, jobs)):
            self._hold(_PODS, pod, _TRACKED, False)

    def _kill(self, pod: Obj) -> bool:
        """Delete a pod that is not to be counted; return whether anything is left of it."""
        self._hold(_PODS, pod, _TRACKED, False)
        if "deletionTimestamp" not in pod["metadata"]:
            self._store.delete(_PODS, *key_of(pod))
        return self._store.find(_PODS, *key_of(pod)) is not None

    def _create(self, job: Obj) -> Obj:
        template, (space, name) = job["spec"]["template"], key_of(job)
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
        meta = dict(template.get("metadata", {}))
        meta |= {"name": f"{name}-{self._store.version}", "labels": meta.get("labels", {}) | {"job-name": name}}
        meta |= {"finalizers": [_TRACKED], "ownerReferences": [owner | {"controller": True}]}
        return self._store.create(_PODS, space, template | {"metadata": meta})

    def _claim(self, claim: Obj) -> None:
        (space, name), uid = key_of(claim), claim["metadata"]["uid"]
        volume = self._store.find(_VOLUMES, "", claim["spec"].get("volumeName", ""))
        wanted = {"namespace": space, "name": name, "uid": uid}
        if volume and wanted.items() <= ({"uid": uid} | volume["spec"].get("claimRef", {})).items():
            self._store.patch(_VOLUMES, *key_of(volume), {"spec": {"claimRef": {"uid": uid}}})
            self._store.patch(_CLAIMS, *key_of(claim), {"status": {"phase": "Bound"}}, "status")
        pods = [pod for pod in self._store.page(_PODS).items if key_of(pod)[0] == space and "nodeName" in pod["spec"]]
        volumes = [volume for pod in pods for volume in pod["spec"].get("volumes", ())]
        used = any(volume.get("persistentVolumeClaim", {}).get("claimName") == name for volume in volumes)
        self._hold(_CLAIMS, claim, "kubernetes.io/pvc-protection", used or "deletionTimestamp" not in claim["metadata"])

    def _volume(self, volume: Obj) -> None:
        ref = volume["spec"].get("claimRef", {})
        claim = self._store.find(_CLAIMS, ref.get("namespace", ""), ref.get("name", ""))
        bound = claim is not None and claim["metadata"]["uid"] == ref.get("uid")
        phase = "Bound" if bound else "Released" if "uid" in ref else "Available"
        self._store.patch(_VOLUMES, *key_of(volume), {"status": {"phase": phase}}, "status")
        held = bound or "deletionTimestamp" not in volume["metadata"]
        self._hold(_VOLUMES, volume, "kubernetes.io/pv-protection", held)


def _has_ended(pod: Obj) -> bool:
    """Whether the pod runs no more, or was deleted before it had a node to run on."""
    lost = "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")
    return lost or pod["status"]["phase"] in ("Succeeded", "Failed")


def _condition(obj: Obj, *kinds: str) -> bool:
    """Whether a condition of one of these types is True."""
    found = obj.get("status", {}).get("conditions", ())
    return any(each["type"] in kinds and each["status"] == "True" for each in found)


def _is_going(job: Obj) -> bool:
    """Whether the Job has neither ended nor been deleted."""
    return "deletionTimestamp" not in job["metadata"] and not _condition(job, "Complete", "Failed")


def _deadline(job: Obj) -> float | None:
    limit, started = job["spec"].get("activeDeadlineSeconds"), epoch(job.get("status", {}).get("startTime"))
    return started + limit if limit and started else None


def _verdict(status: Obj, due: float | None, now: float) -> str:
    """Return the reason for which it is settled that a Job ends, or ""."""
    if status.get("succeeded"):
        return "CompletionsReached"
    if status.get("failed"):
        return "BackoffLimitExceeded"
    return "DeadlineExceeded" if due and due <= now else ""
