"""Job controller, volume binder and claim protection, working on the store itself; driven by changes, never by polling.

Of Jobs as far as ours use them: one pod at a time, backoffLimit, Ignore on a pod condition, deadline, suspension.
A real controller waits up to 1 s before it acts and 10 s before it replaces a pod; this one does not wait.
"""

import copy
import threading
from collections import defaultdict

from controllers.api.times import epoch, rfc3339
from controllers.kube.store import Key, key_of
from devcluster.kinds import Obj
from devcluster.refusals import ApiError
from devcluster.store import Store, owners

TRACKED = "batch.kubernetes.io/job-tracking"
_JOBS, _PODS, _CLAIMS, _VOLUMES = "jobs.batch", "pods", "persistentvolumeclaims", "persistentvolumes"
_IN_USE = {_CLAIMS: "kubernetes.io/pvc-protection", _VOLUMES: "kubernetes.io/pv-protection"}
_DONE = ("Succeeded", "Failed")
_TEXTS = {"CompletionsReached": "Reached expected number of succeeded pods",
          "BackoffLimitExceeded": "Job has reached the specified backoff limit",
          "DeadlineExceeded": "Job was active longer than specified deadline"}  # fmt: skip


class Controllers:
    """``step`` does all that is to be done now, in the caller's thread; who calls it holds the store's lock."""

    def __init__(self, store: Store) -> None:
        self._store, self._seen = store, dict.fromkeys((_JOBS, _PODS, _CLAIMS, _VOLUMES), 0)
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
        now, work = self._store.clock(), {_JOBS: self._job, _CLAIMS: self._claim, _VOLUMES: self._volume}
        todo = {(_JOBS, key) for key, due in self._deadlines.items() if due <= now}
        while todo := todo.union(*(self._touched(kind, obj) for kind in self._seen for obj in self._news(kind))):
            for kind, key in sorted(todo):
                work[kind](key)
            todo = set()
        return max(0.0, min(self._deadlines.values()) - now) if self._deadlines else None

    def _news(self, kind: str) -> list[Obj]:
        since, self._seen[kind] = self._seen[kind], self._store.version
        try:
            return [change.shown for change in self._store.changes(kind, since)]
        except ApiError:  # too far behind, as at the start: look at everything
            return self._store.page(kind).items

    def _touched(self, kind: str, obj: Obj) -> set[tuple[str, Key]]:
        """Return what is to be looked at after a change of the object."""
        (space, name), spec = key_of(obj), obj.get("spec", {})
        if kind == _JOBS:
            return {(_JOBS, (space, name))}
        if kind == _CLAIMS:
            return {(_CLAIMS, (space, name)), (_VOLUMES, ("", spec.get("volumeName", "")))}
        if kind == _VOLUMES:
            return {(_VOLUMES, ("", name)), (_CLAIMS, _claimant(obj))}
        used = [volume.get("persistentVolumeClaim", {}).get("claimName", "") for volume in spec.get("volumes", ())]
        job = (obj["metadata"].get("labels") or {}).get("job-name", "")
        users = {(_JOBS, (space, job)), *((_CLAIMS, (space, claim)) for claim in used)}
        for user in users:
            self._pods[user].add(name)
        return users

    def _pods_of(self, kind: str, key: Key) -> list[Obj]:
        found = (self._store.find(_PODS, key[0], name) for name in sorted(self._pods[kind, key]))
        return [pod for pod in found if pod]

    def _hold(self, kind: str, obj: Obj, finalizer: str, held: bool) -> None:
        names = [name for name in obj["metadata"].get("finalizers", ()) if name != finalizer]
        self._store.patch(kind, *key_of(obj), {"metadata": {"finalizers": names + [finalizer] * held}})

    def _job(self, key: Key) -> None:
        job, pods = copy.deepcopy(self._store.find(_JOBS, *key) or {}), self._pods_of(_JOBS, key)
        self._deadlines.pop(key, None)
        job |= {"status": job.get("status", {})} if job else {}
        over = not job or "deletionTimestamp" in job["metadata"] or _is(job, "Complete") or _is(job, "Failed")
        mine = [pod for pod in pods if job and not over and job["metadata"]["uid"] in owners(pod)]
        ended = [pod for pod in pods if pod not in mine or _has_ended(pod)]
        for pod in ended:
            if job and pod in mine and TRACKED in pod["metadata"].get("finalizers", ()):
                _count(job, pod)
            self._hold(_PODS, pod, TRACKED, False)
        if job and not over:
            self._sync(key, job, [pod for pod in mine if pod not in ended])

    def _sync(self, key: Key, job: Obj, alive: list[Obj]) -> None:
        """Decide, act, and write the status once, as the real controller's syncJob does after it has counted."""
        spec, status, now = job["spec"], job["status"], self._store.clock()
        target, suspended = _target(job, now), spec["suspend"]
        if suspended and not target:
            status.pop("startTime", None)
            _set(job, "Suspended", "JobSuspended", now)
        elif _is(job, "Suspended"):
            _set(job, "Suspended", "JobResumed", now, "False")
        if suspended or target:
            alive = [left for pod in alive if (left := self._kill(pod))]
        else:
            status.setdefault("startTime", rfc3339(now))
            alive = alive or [self._create(job)]
            if due := _deadline(job):
                self._deadlines[key] = due
        if target and not alive:
            _set(job, "Complete" if target == "SuccessCriteriaMet" else "Failed", _is(job, target)["reason"], now)
            status |= {"completionTime": rfc3339(now)} if target == "SuccessCriteriaMet" else {}
        going = sum("deletionTimestamp" in pod["metadata"] for pod in alive)
        running = sum(pod["status"]["phase"] == "Running" for pod in alive)
        status |= {"active": len(alive) - going, "terminating": going, "ready": running}
        self._store.update(_JOBS, *key, job, "status")

    def _kill(self, pod: Obj) -> Obj | None:
        """Delete a pod that is not to be counted; return what is left of it."""
        self._hold(_PODS, pod, TRACKED, False)
        if "deletionTimestamp" not in pod["metadata"]:
            self._store.delete(_PODS, *key_of(pod))
        return self._store.find(_PODS, *key_of(pod))

    def _create(self, job: Obj) -> Obj:
        template, meta = job["spec"]["template"], job["metadata"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
        named = {"generateName": f"{meta['name']}-", "finalizers": [TRACKED], "ownerReferences": [owner]}
        return self._store.create(_PODS, meta["namespace"], template | {"metadata": template["metadata"] | named})

    def _claim(self, key: Key) -> None:
        if not (claim := self._store.find(_CLAIMS, *key)):
            return
        used = any(not _has_ended(pod) for pod in self._pods_of(_CLAIMS, key))
        self._hold(_CLAIMS, claim, _IN_USE[_CLAIMS], used or "deletionTimestamp" not in claim["metadata"])
        volume = self._store.find(_VOLUMES, "", claim["spec"].get("volumeName", ""))
        uid = claim["metadata"]["uid"]
        if volume and _claimant(volume) == key and volume["spec"]["claimRef"].get("uid", uid) == uid:
            self._store.patch(_VOLUMES, *key_of(volume), {"spec": {"claimRef": {"uid": uid}}})
            has = {name: volume["spec"].get(name) for name in ("accessModes", "capacity")}
            if self._store.find(_CLAIMS, *key):
                self._store.patch(_CLAIMS, *key, {"status": {"phase": "Bound"} | has}, "status")

    def _volume(self, key: Key) -> None:
        if not (volume := self._store.find(_VOLUMES, *key)):
            return
        claim, uid = self._store.find(_CLAIMS, *_claimant(volume)), volume["spec"].get("claimRef", {}).get("uid")
        bound = claim is not None and claim["metadata"]["uid"] == uid
        phase = "Bound" if bound else "Released" if uid else "Available"
        self._store.patch(_VOLUMES, *key, {"status": {"phase": phase}}, "status")
        self._hold(_VOLUMES, volume, _IN_USE[_VOLUMES], bound or "deletionTimestamp" not in volume["metadata"])


def _claimant(volume: Obj) -> Key:
    claim = volume["spec"].get("claimRef", {})
    return claim.get("namespace", ""), claim.get("name", "")


def _has_ended(pod: Obj) -> bool:
    """Whether the pod runs no more, or was deleted before it had a node to run on."""
    lost = "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")
    return lost or pod["status"]["phase"] in _DONE


def _count(job: Obj, pod: Obj) -> None:
    name = "succeeded" if pod["status"]["phase"] == "Succeeded" else "failed"
    rules = job["spec"].get("podFailurePolicy", {}).get("rules", ())
    ignored = [each["type"] for rule in rules if rule["action"] == "Ignore" for each in rule.get("onPodConditions", ())]
    if name == "succeeded" or not any(_is(pod, kind) for kind in ignored):
        job["status"][name] = job["status"].get(name, 0) + 1


def _is(obj: Obj, kind: str) -> Obj:
    """Return the object's condition of that type if it is True, else an empty one."""
    found = obj.get("status", {}).get("conditions", ())
    return next((each for each in found if (each["type"], each["status"]) == (kind, "True")), {})


def _set(job: Obj, kind: str, reason: str, now: float, value: str = "True") -> None:
    old = job["status"].get("conditions", [])
    if not any((each["type"], each["status"]) == (kind, value) for each in old):
        new = {"type": kind, "status": value, "reason": reason, "message": _TEXTS.get(reason, reason)}
        others = [each for each in old if each["type"] != kind]
        job["status"]["conditions"] = [*others, new | {"lastTransitionTime": rfc3339(now)}]


def _deadline(job: Obj) -> float | None:
    limit, started = job["spec"].get("activeDeadlineSeconds"), epoch(job["status"].get("startTime"))
    return started + limit if limit and started else None


def _target(job: Obj, now: float) -> str:
    """Return the condition by which it is settled that the Job ends, and set it; "" where it goes on."""
    status, due, reason = job["status"], _deadline(job), ""
    if status.get("succeeded"):
        reason = "CompletionsReached"
    elif status.get("failed", 0) > job["spec"]["backoffLimit"]:
        reason = "BackoffLimitExceeded"
    elif due and due <= now:
        reason = "DeadlineExceeded"
    if reason and not _is(job, "SuccessCriteriaMet") and not _is(job, "FailureTarget"):
        _set(job, "SuccessCriteriaMet" if reason == "CompletionsReached" else "FailureTarget", reason, now)
    return next((kind for kind in ("SuccessCriteriaMet", "FailureTarget") if _is(job, kind)), "")
