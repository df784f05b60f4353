"""Job controller, volume binder and claim protection, working on the store itself; driven by changes, never by polling.

Of Jobs as far as ours use them: one pod at a time, backoffLimit, Ignore on a pod condition, deadline, suspension.
A real controller waits up to 1 s before it acts and 10 s before it replaces a pod; this one does not wait.
"""

import copy
import threading
from collections import defaultdict
from datetime import datetime

from devcluster.kinds import Obj
from devcluster.store import ApiError, Key, Store, key_of, owners, stamp

TRACKED = "batch.kubernetes.io/job-tracking"
IN_USE = {"persistentvolumeclaims": "kubernetes.io/pvc-protection", "persistentvolumes": "kubernetes.io/pv-protection"}
_CLAIMS = "persistentvolumeclaims"
_WATCHED = ("jobs.batch", "pods", "persistentvolumeclaims", "persistentvolumes")
_TEXTS = {
    "CompletionsReached": "Reached expected number of succeeded pods",
    "BackoffLimitExceeded": "Job has reached the specified backoff limit",
    "DeadlineExceeded": "Job was active longer than specified deadline",
    "JobSuspended": "Job suspended",
    "JobResumed": "Job resumed",
}


class Controllers:
    """``step`` does all that is to be done now, in the caller's thread; who calls it holds the store's lock."""

    def __init__(self, store: Store) -> None:
        self._store, self._seen = store, dict.fromkeys(_WATCHED, 0)
        self._pods: dict[tuple[str, Key], set[str]] = defaultdict(set)  # names by Job and by claim
        self._deadlines: dict[Key, float] = {}

    def run(self, changed: threading.Condition, stopping: threading.Event) -> None:
        """Step after each change until ``stopping`` is set (and ``changed`` notified)."""
        with changed:
            while not stopping.is_set():
                before, wait = self._store.version, self.step()
                if self._store.version != before:
                    changed.notify_all()
                changed.wait(wait)

    def step(self) -> float | None:
        """Bring everything up to date; return after how many seconds a deadline is due, None where there is none."""
        now = self._store.clock()
        todo = {("jobs.batch", key) for key, due in self._deadlines.items() if due <= now}
        work = {"jobs.batch": self._job, "persistentvolumeclaims": self._claim, "persistentvolumes": self._volume}
        while todo := todo | self._changed():
            for resource, key in sorted(todo):
                work[resource](key)
            todo = set()
        return max(0.0, min(self._deadlines.values()) - now) if self._deadlines else None

    def _changed(self) -> set[tuple[str, Key]]:
        keys = set()
        for obj in self._news("jobs.batch"):
            keys.add(("jobs.batch", key_of(obj)))
        for obj in self._news("persistentvolumes"):
            claim = obj["spec"].get("claimRef", {})
            keys |= {("persistentvolumes", key_of(obj)), (_CLAIMS, (claim.get("namespace", ""), claim.get("name", "")))}
        for obj in self._news(_CLAIMS):
            keys |= {(_CLAIMS, key_of(obj)), ("persistentvolumes", ("", obj["spec"].get("volumeName", "")))}
        for obj in self._news("pods"):
            (space, name), labels = key_of(obj), obj["metadata"].get("labels") or {}
            used = [volume.get("persistentVolumeClaim", {}) for volume in obj["spec"].get("volumes", ())]
            for key in [
                ("jobs.batch", (space, labels.get("job-name", ""))),
                *((_CLAIMS, (space, each.get("claimName", ""))) for each in used),
            ]:
                self._pods[key].add(name)
                keys.add(key)
        return keys

    def _news(self, resource: str) -> list[Obj]:
        try:
            news = [change.shown for change in self._store.changes(resource, self._seen[resource])]
        except ApiError:  # too far behind, as at the start: look at everything
            news = self._store.page(resource).items
        self._seen[resource] = self._store.version
        return news

    def _pods_of(self, resource: str, key: Key) -> list[Obj]:
        found = (self._store.find("pods", key[0], name) for name in sorted(self._pods[resource, key]))
        pods = [pod for pod in found if pod]
        self._pods[resource, key] = {pod["metadata"]["name"] for pod in pods}
        return pods

    def _hold(self, resource: str, obj: Obj, finalizer: str, held: bool) -> None:
        names = [name for name in obj["metadata"].get("finalizers", ()) if name != finalizer]
        names += [finalizer] if held else []
        self._store.patch(resource, *key_of(obj), {"metadata": {"finalizers": names}})

    def _job(self, key: Key) -> None:
        pods = self._pods_of("jobs.batch", key)
        job = self._store.find("jobs.batch", *key)
        self._deadlines.pop(key, None)
        over = (
            not job
            or "deletionTimestamp" in job["metadata"]
            or _condition(job, "Complete")
            or _condition(job, "Failed")
        )
        mine = [pod for pod in pods if job and not over and job["metadata"]["uid"] in owners(pod)]
        for pod in pods:
            if pod not in mine:
                self._hold("pods", pod, TRACKED, False)
        if job and not over:
            self._sync(key, job, mine)

    def _sync(self, key: Key, job: Obj, pods: list[Obj]) -> None:
        """One round of the real controller's syncJob: count what ended, then decide, then write the status once."""
        spec, status, now = job["spec"], copy.deepcopy(job.get("status", {})), self._store.clock()
        for pod in pods:
            if _has_ended(pod) and TRACKED in pod["metadata"].get("finalizers", ()):
                self._count(status, spec, pod)
                self._hold("pods", pod, TRACKED, False)
        alive = [pod for pod in pods if not _has_ended(pod)]
        target = _target(spec, status, now)
        if spec["suspend"] and not target:
            status.pop("startTime", None)
            _set(status, "Suspended", "JobSuspended", now)
        elif _condition({"status": status}, "Suspended"):
            _set(status, "Suspended", "JobResumed", now, "False")
        if spec["suspend"] or target:
            alive = [left for pod in alive if (left := self._kill(pod))]
        else:
            status.setdefault("startTime", stamp(now))
            alive = alive or [self._create(job)]
            if due := _deadline(spec, status):
                self._deadlines[key] = due
        if target and not alive:
            reason = _condition({"status": status}, target)["reason"]
            _set(status, "Complete" if target == "SuccessCriteriaMet" else "Failed", reason, now)
            status |= {"completionTime": stamp(now)} if target == "SuccessCriteriaMet" else {}
        going = sum("deletionTimestamp" in pod["metadata"] for pod in alive)
        status |= {"active": len(alive) - going, "terminating": going}
        status["ready"] = sum(pod["status"]["phase"] == "Running" for pod in alive) - going
        self._store.update("jobs.batch", *key, job | {"status": status}, "status")

    def _count(self, status: Obj, spec: Obj, pod: Obj) -> None:
        if pod["status"]["phase"] == "Succeeded":
            status["succeeded"] = status.get("succeeded", 0) + 1
            return
        rules = spec.get("podFailurePolicy", {}).get("rules", ())
        ignored = [
            each["type"] for rule in rules if rule["action"] == "Ignore" for each in rule.get("onPodConditions", ())
        ]
        if not any(_condition(pod, kind) for kind in ignored):
            status["failed"] = status.get("failed", 0) + 1

    def _kill(self, pod: Obj) -> Obj | None:
        """Delete a pod that is not to be counted; return what is left of it."""
        self._hold("pods", pod, TRACKED, False)
        if "deletionTimestamp" not in pod["metadata"]:
            self._store.delete("pods", *key_of(pod))
        return self._store.find("pods", *key_of(pod))

    def _create(self, job: Obj) -> Obj:
        template, meta = job["spec"]["template"], job["metadata"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        named: Obj = {"generateName": f"{meta['name']}-", "finalizers": [TRACKED]}
        named["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
        pod = {"metadata": template["metadata"] | named, "spec": template["spec"]}
        return self._store.create("pods", meta["namespace"], pod)

    def _claim(self, key: Key) -> None:
        claim, kind = self._store.find(_CLAIMS, *key), _CLAIMS
        if not claim:
            return
        used = any(not _has_ended(pod) for pod in self._pods_of(kind, key))
        self._hold(kind, claim, IN_USE[kind], used or "deletionTimestamp" not in claim["metadata"])
        volume = self._store.find("persistentvolumes", "", claim["spec"].get("volumeName", ""))
        if not volume or not self._store.find(kind, *key):
            return
        wanted, uid = volume["spec"].get("claimRef", {}), claim["metadata"]["uid"]
        if (wanted.get("namespace"), wanted.get("name")) == key and wanted.get("uid", uid) == uid:
            self._store.patch("persistentvolumes", *key_of(volume), {"spec": {"claimRef": {"uid": uid}}})
            has = {"accessModes": volume["spec"].get("accessModes"), "capacity": volume["spec"].get("capacity")}
            self._store.patch(kind, *key, {"status": {"phase": "Bound"} | has}, "status")

    def _volume(self, key: Key) -> None:
        volume, kind = self._store.find("persistentvolumes", *key), "persistentvolumes"
        if not volume:
            return
        wanted = volume["spec"].get("claimRef", {})
        claim = self._store.find("persistentvolumeclaims", wanted.get("namespace", ""), wanted.get("name", ""))
        bound = claim is not None and claim["metadata"]["uid"] == wanted.get("uid")
        phase = "Bound" if bound else "Released" if "uid" in wanted else "Available"
        self._store.patch(kind, *key, {"status": {"phase": phase}}, "status")
        self._hold(kind, volume, IN_USE[kind], bound or "deletionTimestamp" not in volume["metadata"])


def _owners(pod: Obj) -> list[str]:
    return [ref["uid"] for ref in pod["metadata"].get("ownerReferences", ())]


def _has_ended(pod: Obj) -> bool:
    """Whether the pod runs no more, or was deleted before it had a node to run on."""
    lost = "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")
    return lost or pod["status"]["phase"] in ("Succeeded", "Failed")


def _condition(obj: Obj, kind: str) -> Obj:
    found = (each for each in obj.get("status", {}).get("conditions", ()) if each["type"] == kind)
    return next((each for each in found if each["status"] == "True"), {})


def _set(status: Obj, kind: str, reason: str, now: float, value: str = "True") -> None:
    found = status.setdefault("conditions", [])
    if not any(each["type"] == kind and each["status"] == value for each in found):
        new = {"type": kind, "status": value, "reason": reason, "message": _TEXTS[reason]}
        new |= {"lastTransitionTime": stamp(now), "lastProbeTime": stamp(now)}
        status["conditions"] = [*(each for each in found if each["type"] != kind), new]


def _deadline(spec: Obj, status: Obj) -> float | None:
    limit, started = spec.get("activeDeadlineSeconds"), status.get("startTime")
    return datetime.fromisoformat(started).timestamp() + limit if limit and started else None


def _target(spec: Obj, status: Obj, now: float) -> str:
    """Return the condition by which it is settled that the Job ends, and set it; "" where it goes on."""
    for kind in ("SuccessCriteriaMet", "FailureTarget"):
        if _condition({"status": status}, kind):
            return kind
    due, reason = _deadline(spec, status), ""
    if status.get("succeeded"):
        reason = "CompletionsReached"
    elif status.get("failed", 0) > spec["backoffLimit"]:
        reason = "BackoffLimitExceeded"
    elif due and due <= now:
        reason = "DeadlineExceeded"
    kind = "SuccessCriteriaMet" if reason == "CompletionsReached" else "FailureTarget"
    if reason:
        _set(status, kind, reason, now)
    return kind if reason else ""
