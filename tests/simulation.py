"""A whole cluster in one thread: seeded steps, simulated time, no HTTP, no sleeping; two controllers over one store.

A history is a list of ``Step``. Each carries a number from which all of its own choices are made, so that a history
replays exactly, and replays without some of its steps too: that is how ``shrink`` finds a short one. A step that has
nothing to act on does nothing. What must hold is in ``tests.simulation_laws``.

Concurrency is nesting: before and after any write of a pass other steps may happen, passes of the other controller and
of other keys included; the write then goes on, however late it is.

What counts as a running load: a container from its start on the node until its end there. The status of the pod tells
both later, so the controllers always see too little. A pod that was deleted by force (a lost node) runs no more, by
decree: nobody could know better.
"""

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import devcluster.jobs
import devcluster.store
from controllers.api.result import Changes, Exit, Master, Result, describe
from controllers.api.times import rfc3339
from controllers.apply import Applier
from controllers.config import ControllerConfig
from controllers.dataset import Observed
from controllers.dataset.seen import REFRESH_ANNOTATION
from controllers.decision import Key
from controllers.informers import Wakes
from controllers.jobs import LOADER, SELECTOR, STEP, job_name, masters_and_path
from controllers.kube import errors
from controllers.kube.resources import DATASETS, JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, Resource
from controllers.master_snapshot import ClusterAddress, MasterSnapshot, Reason, worth_showing
from controllers.observe import Observer
from controllers.reconciler import Reconciler
from controllers.stores import Stores
from controllers.volumes import volume_name
from devcluster import kinds
from devcluster.jobs import Controllers
from devcluster.refusals import ApiError
from devcluster.store import Store
from tests.simulation_laws import PER_MASTER, Laws, cluster_of, truth

Obj = dict[str, Any]
START = 1_800_000_000.0
NAMESPACES = ("default", "team")
#: Every cluster of masters, with the ways in which a spec names it.
CLUSTERS = {
    "a": (["a1:19998"], ["a1:19998", "a2:19998"], ["a2:19998", "a1:19998"], ["A1:19998"]),
    "b": (["b1:19998"],),
}
PATHS = ("/", "/x", "/x/y", "/xy", "/z")
LEASE_GAP = 5.0  # between the last write of one leader and the first of the next: 15 s lease - 10 s renew deadline
FAULTS = ("crash before", "crash after", "409", "429", "500", "500 applied", "no answer", "no answer applied", "403")
WATCHED = (DATASETS, JOBS, PODS, PERSISTENTVOLUMES, PERSISTENTVOLUMECLAIMS)


def _copied(value: Any) -> Any:
    """Copy JSON, many times faster than ``copy.deepcopy``, in which a history would spend half of its time."""
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


for _module in (devcluster.store, devcluster.jobs):
    vars(_module)["copy"] = SimpleNamespace(deepcopy=_copied)


class Step(NamedTuple):
    """One step of a history; every choice that it makes follows from the number."""

    kind: str
    number: int


class Crash(BaseException):  # noqa: N818  no except Exception may stop it
    """The process dies here."""


@dataclass
class Container:
    """What really runs on a node; ``pod`` is namespace and name."""

    pod: tuple[str, str]
    cluster: str
    path: str
    labels: dict[str, str]
    mounts: tuple[tuple[str, str], ...]
    master_start: int
    refresh: bool = False
    known_cluster: str = ""  # it only asks whether this is the one
    ended: Obj | None = None  # the state that the kubelet has not reported yet


@dataclass
class Alluxio:
    """One cluster of masters: what it knows, since when it runs."""

    name: str
    up: bool = True
    start_ms: int = 1_000
    cluster_id: str = "1"
    known: dict[tuple[Any, ...], int] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=dict)  # of which age of the storage it knows a path


class Api:
    """``controllers.kube.client.Cluster`` for one process, on the store itself. Every write is seen by the laws."""

    in_cluster = False

    def __init__(self, world: "World", process: "Process") -> None:
        self._world, self._process = world, process

    def get(self, res: Resource, namespace: str, name: str) -> Obj:
        self._world.before_read(self._process)
        return self._answer(lambda: self._world.store.get(str(res), namespace, name))

    def list_page(
        self, res: Resource, namespace: str | None = None, label_selector: str = "", limit: int = 500, token: str = "",
        *, field_selector: str = "",
    ) -> tuple[list[Obj], str, str]:  # fmt: skip
        self._world.before_read(self._process)
        if res.plural == "events":
            return [], "", ""
        page = self._world.store.page(str(res), kinds.selector(namespace or "", label_selector, field_selector))
        return page.items, str(page.version), ""

    def create(self, res: Resource, namespace: str, body: Obj) -> Obj:
        name = body["metadata"]["name"]
        return self._write("create", res, namespace, name, lambda store: store.create(str(res), namespace, body))

    def replace_status(self, res: Resource, body: Obj) -> Obj:
        key = body["metadata"]["namespace"], body["metadata"]["name"]
        return self._write("status", res, *key, lambda store: store.update(str(res), *key, body, "status"))

    def merge_patch(self, res: Resource, namespace: str, name: str, body: Obj) -> Obj:
        return self._write("patch", res, namespace, name, lambda store: store.patch(str(res), namespace, name, body))

    def delete(self, res: Resource, namespace: str, name: str, uid: str = "") -> Obj:
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        key = (namespace, name)
        return self._write("delete", res, *key, lambda store: store.delete(str(res), *key, options), bool(uid))

    def _write(
        self, verb: str, res: Resource, namespace: str, name: str, call: Callable[[Store], Obj], precise: bool = True
    ) -> Obj:
        world, process = self._world, self._process
        world.laws.writes(process, verb, precise)
        fault = world.before_write(process)
        if fault == "crash before":
            raise Crash
        _refuse(fault, verb)
        old, version = world.store.find(str(res), namespace, name), world.store.version
        new = self._answer(lambda: call(world.store))
        if verb == "delete" or world.store.version != version:
            world.writes += 1
        world.laws.wrote(process, verb, str(res), old, new)
        world.note(f"{process.name} {verb} {res} {namespace}/{name}")
        if fault == "crash after":
            raise Crash
        if fault == "500 applied":
            raise errors.ServerError(500, "InternalError", "it was applied all the same")
        if fault == "no answer applied":
            raise errors.NoAnswer("Timeout", "it was applied all the same")
        world.after_write(process)
        return new

    def _answer(self, call: Callable[[], Obj]) -> Obj:
        try:
            return call()
        except ApiError as error:
            raise errors.from_answer(error.code, json.dumps(error.status).encode(), {}, "simulated") from None


def _refuse(fault: str, verb: str) -> None:
    """Raise what the API server answers in place of doing it."""
    if fault == "409" and verb != "create":
        raise errors.Conflict(409, "Conflict", "somebody was faster")
    if fault == "403" and verb == "create":
        raise errors.Forbidden(403, "Forbidden", "exceeded quota")
    if fault in ("429", "409", "403"):
        raise errors.TooManyRequests(429, "TooManyRequests", "later", retry_after=1.0)
    if fault == "500":
        raise errors.ServerError(500, "InternalError", "not applied")
    if fault == "no answer":
        raise errors.NoAnswer("Timeout", "not applied")


class Process:
    """One controller: caches, queue, pollers and reconciler, all of which die with it."""

    def __init__(self, world: "World", name: str, lists: Callable[[Resource], int] | None = None) -> None:
        self.world, self.name, self.alive, self.crashed = world, name, True, False
        self.ready: dict[Key, None] = {}
        self.timers: dict[Key, float] = {}
        self.busy: set[Key] = set()
        self.began = 0  # the store's version at the beginning of the pass
        self.polled: dict[ClusterAddress, MasterSnapshot] = {}
        self.followed: dict[Key, ClusterAddress] = {}
        self.stores = Stores.of(())
        self._store = self.stores.watched()
        self.cursor = dict.fromkeys(WATCHED, 0)
        self._on_change = Wakes(self.stores, lambda key, lane: self.add(key)).rows
        api: Any = Api(world, self)
        self._config = ControllerConfig(loads_per_master=PER_MASTER)
        observer = Observer(
            self.stores, api, self._config, now=lambda: world.now, snapshot=self.polled.get,
            line=lambda job: self._reconciler.line(job), follow=self.follow,
        )  # fmt: skip
        self._reconciler = Reconciler(
            self.stores, (observer,), Applier(api, self.stores, lambda: self.alive and world.leader is self),
            now=lambda: world.now, follower=self, enqueue=self.add,
            send_event=lambda obj, event: None, per_master=PER_MASTER,
        )  # fmt: skip
        for resource in WATCHED:
            self.relist(resource, lists(resource) if lists else world.store.version)

    def add(self, key: Key) -> None:
        self.ready[key] = None

    # The three calls of a Follower.

    def follow(self, key: Key, seen: Observed) -> None:
        if seen.alluxio is None or seen.meta.deleting:
            self.followed.pop(key, None)
        else:
            self.followed[key] = seen.alluxio

    def decided(self, key: Key, old: Any, new: Any) -> None:
        """Nothing is counted here."""

    def forget(self, key: Key) -> None:
        self.followed.pop(key, None)

    # What the world does to it.

    def deliver(self, resource: Resource, count: int) -> int:
        """Deliver the next events of one watch; return how many there were."""
        selected = kinds.selector("", "" if resource is DATASETS else SELECTOR)
        changes = self.world.store.changes(str(resource), self.cursor[resource])[:count]
        store = self._store[resource]
        for change in changes:
            self.cursor[resource] = change.version
            if selected(change.shown):
                for news in store.upsert(change.shown) if change.new else store.remove(change.shown):
                    self._on_change[resource](news)
        return len(changes)

    def relist(self, resource: Resource, version: int) -> None:
        """List anew: the state of that version, for which an API server that is behind may take the present."""
        selected = kinds.selector("", "" if resource is DATASETS else SELECTOR)
        token = base64.b64encode(json.dumps([version, ["", ""]]).encode()).decode()
        items = self.world.store.page(str(resource), selected, token=token).items
        self.cursor[resource] = version
        for news in self._store[resource].replace(items, str(version)):
            self._on_change[resource](news)

    def poll(self, address: ClusterAddress) -> None:
        """Look at one cluster of masters and wake whoever follows it, where a status would show a difference."""
        found = self.world.look(address)
        if worth_showing(self.polled.get(address), found):
            self.polled[address] = found
            for key in [key for key, followed in self.followed.items() if followed == address]:
                self.add(key)

    def due(self) -> list[Key]:
        """Return the keys that a worker may take now."""
        for key in [key for key, time in self.timers.items() if time <= self.world.now]:
            del self.timers[key]
            self.add(key)
        return [key for key in self.ready if key not in self.busy]

    def reconcile(self, key: Key) -> None:
        """Make one pass, as a worker does."""
        self.ready.pop(key, None)
        self.busy.add(key)
        began, self.began = self.began, self.world.store.version
        try:
            outcome = self._reconciler.process(key)
        except Crash:
            self.alive, self.crashed = False, True
            self.world.note(f"{self.name} crashed")
            return
        finally:
            self.began = began
            self.busy.discard(key)
        if outcome.result in ("error", "requeue"):
            self._after(key, 0.5)
        elif outcome.result == "requeue_after":
            self._after(key, outcome.seconds)

    def _after(self, key: Key, seconds: float) -> None:
        self.timers[key] = min(self.timers.get(key, float("inf")), self.world.now + seconds)


class World:
    """The store, the Job controller, nodes, masters, people, and two controllers one of which leads."""

    def __init__(self, seed: int = 0) -> None:
        self.now, self.trace, self.depth = START, list[str](), 0
        self.age = 0  # how often the files in the storage have changed
        self.attempts, self.writes = 0, 0  # calls that would write, and those that did
        self.exits: list[int] = []  # exit codes of the next containers that end, where a test wants them
        self.store = Store((), lambda: self.now, random.Random(seed), window=100_000)
        # Without the schema, which is slow and belongs to other tests; a spec may be older than its CRD anyway.
        self.store.resources[str(DATASETS)] = DATASETS
        for name in NAMESPACES[1:]:
            self.store.create("namespaces", "", {"metadata": {"name": name}})
        self.first_version = self.store.version
        self.controllers = Controllers(self.store)
        self.laws = Laws(self)
        self.masters = {name: Alluxio(name) for name in CLUSTERS}
        self.containers: dict[str, Container] = {}
        self.faults: dict[int, str] = {}  # by the number of the attempt to write
        self.nest: random.Random | None = None
        self.processes = [Process(self, "A"), Process(self, "B")]
        self.leader: Process | None = self.processes[0]

    def note(self, text: str) -> None:
        """Remember what happened, for the reader of a failure."""
        self.trace.append(f"{self.now - START:9.2f}  {'  ' * self.depth}{text}")

    def datasets(self) -> list[Obj]:
        return self.store.page(str(DATASETS)).items

    def look(self, address: ClusterAddress) -> MasterSnapshot:
        """Return what the poller sees of a cluster."""
        master = self.masters[cluster_of(address.masters)]
        if not master.up:
            return MasterSnapshot(False, Reason.UNREACHABLE, "no RPC port answers", self.now)
        paths = 1 + sum(master.known.values())
        return MasterSnapshot(
            True, Reason.REACHABLE, "the master answers", self.now, address.masters[0], "2.9.6", master.start_ms, paths
        )

    # Faults and nested steps, around every call of a pass.

    def before_read(self, process: Process) -> None:
        if self.nest and self.nest.random() < 0.1:
            raise errors.ServerError(500, "InternalError", "cannot be read")

    def before_write(self, process: Process) -> str:
        self._nested(process)
        self.attempts += 1
        if self.nest and self.nest.random() < 0.25:
            return self.nest.choice(FAULTS)
        return self.faults.pop(self.attempts, "")

    def after_write(self, process: Process) -> None:
        self._nested(process)

    def _nested(self, process: Process) -> None:
        rng = self.nest
        if rng is None or self.depth > 1 or rng.random() > 0.3:
            return
        self.depth += 1
        for _ in range(rng.randint(1, 6)):
            self.nest = None
            self.step(Step(rng.choices(KINDS, WEIGHTS)[0], rng.getrandbits(32)))
        self.depth -= 1
        self.nest = rng
        if process.crashed:
            raise Crash

    # Steps.

    def step(self, step: Step) -> None:
        """Make one step of a history and check what must hold after it."""
        self.now += 0.05
        getattr(self, f"_{step.kind}")(random.Random(step.number))
        for index, process in enumerate(self.processes):
            if not process.alive:
                self._replace(index, process, random.Random(step.number))
        if self.leader is None and step.number % 4 == 0:
            self.leader = next((each for each in self.processes if each.alive), None)

    def _past(self, rng: random.Random) -> int:
        """Return the version that an API server shows which may be behind."""
        behind = rng.randrange(60) if rng.random() < 0.4 else 0
        return max(self.first_version, self.store.version - behind)

    def _replace(self, index: int, process: Process, rng: random.Random) -> None:
        if self.leader is process:
            self.leader = None  # its Lease runs out
        if not process.busy:
            self.processes[index] = Process(self, process.name, lambda resource: self._past(rng))

    def _deliver(self, rng: random.Random) -> None:
        rng.choice(self.processes).deliver(rng.choice(WATCHED), rng.choice((1, 1, 3, 1000)))

    def _deliver_all(self, rng: random.Random) -> None:
        for resource in WATCHED:
            rng.choice(self.processes).deliver(resource, 1000)

    def _relist(self, rng: random.Random) -> None:
        rng.choice(self.processes).relist(rng.choice(WATCHED), self._past(rng))

    def _reconcile(self, rng: random.Random) -> None:
        process = self.leader
        if process and (keys := process.due()):
            process.reconcile(rng.choice(keys))

    def _disturbed(self, rng: random.Random) -> None:
        """A pass with faults, and with other steps between its writes."""
        outer, self.nest = self.nest, rng
        try:
            self._reconcile(rng)
        finally:
            self.nest = outer

    def _calm(self, rng: random.Random) -> None:
        """Nothing goes wrong for a while: everybody does the next thing."""
        self._next(rng)

    def _well(self, rng: random.Random) -> None:
        """All goes well for a minute."""
        for _ in range(20):
            self.now += 3.0
            self._next(None)

    def _next(self, rng: random.Random | None) -> None:
        if self.leader is None:
            return
        for resource in WATCHED:
            self.leader.deliver(resource, 1000)
        for address in sorted(set(self.leader.followed.values()), key=repr):
            self.leader.poll(address)
        for key in self.leader.due():
            self.leader.reconcile(key)
        self.controllers.step()
        for pod in self.store.page("pods").items:
            self.kubelet(pod, rng)

    def _jobs(self, rng: random.Random) -> None:
        self.controllers.step()

    def _clock(self, rng: random.Random) -> None:
        self.now += rng.choice((1.0, 5.0, 20.0, 31.0, 100.0, 700.0, 3700.0))

    def _poll(self, rng: random.Random) -> None:
        process = rng.choice(self.processes)
        if addresses := sorted(set(process.followed.values()), key=repr):
            process.poll(rng.choice(addresses))

    def _lease(self, rng: random.Random) -> None:
        """The Lease changes hands, or nobody has it for a while. Who loses it exits; a pass under way goes on."""
        old, new = self.leader, rng.choice((*self.processes, None))
        if old is new:
            return
        if old is not None:
            old.alive = False
        self.now += LEASE_GAP
        self.leader = new if new is not None and new.alive else None
        self.note(f"leader is {self.leader.name if self.leader else 'nobody'}")

    def _crash(self, rng: random.Random) -> None:
        process = rng.choice(self.processes)
        process.alive, process.crashed = False, True

    def _master(self, rng: random.Random) -> None:
        master = rng.choice(list(self.masters.values()))
        what = rng.choice(("up", "down", "restart", "format"))
        master.up = what != "down"
        if what in ("restart", "format"):
            master.start_ms += 1_000
        if what == "format":
            master.known, master.ages, master.cluster_id = {}, {}, str(int(master.cluster_id) + 1)
        self.note(f"master {master.name}: {what}")

    # Pods and nodes.

    def _pod(self, rng: random.Random) -> None:
        pods = self.store.page("pods").items
        if pods:
            self.kubelet(rng.choice(pods), rng)

    def kubelet(self, pod: Obj, rng: random.Random | None = None) -> bool:
        """Do the next thing of one pod: the best one where there is no ``rng``. Return whether there was any."""
        uid, running = pod["metadata"]["uid"], self.containers.get(pod["metadata"]["uid"])
        if pod["metadata"]["name"].startswith("holder"):
            return False
        if rng and rng.random() < 0.12:
            self._disrupt(pod, rng)
        elif running and running.ended:
            self._report(pod, running.ended)
        elif pod["metadata"].get("deletionGracePeriodSeconds") == 0:
            return False  # only a finalizer holds it
        elif "deletionTimestamp" in pod["metadata"]:
            self._terminate(pod, running, rng)
        elif not pod["spec"].get("nodeName"):
            self._schedule(pod, rng)
        elif pod["status"].get("phase") == "Pending":
            if running is None:
                self._start(pod)
            else:
                self._patch_status(pod, "Running", {"running": {"startedAt": rfc3339(self.now)}})
        elif running and not running.ended:
            self._end(pod, running, rng)
        else:
            return False
        self.note(f"pod {pod['metadata']['name']} of {uid[:4]}")
        return True

    def _schedule(self, pod: Obj, rng: random.Random | None) -> None:
        if rng and rng.random() < 0.2:
            unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}
            self._patch_pod(pod, {"conditions": [unschedulable]})
            return
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "target": {"name": "node"}}
        self.store.bind(pod["metadata"]["namespace"], pod["metadata"]["name"], body)

    def _start(self, pod: Obj) -> None:
        masters, path = masters_and_path(pod)
        cluster = cluster_of(masters)
        argv = pod["spec"]["containers"][0]["command"]
        mounts = tuple(tuple(json.loads(arg.partition("=")[2])) for arg in argv if arg.startswith("--mount="))
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        made = Container(key, cluster, path, pod["metadata"]["labels"], mounts, self.masters[cluster].start_ms)
        made.refresh = "--refresh" in argv
        made.known_cluster = "".join(arg.partition("=")[2] for arg in argv if arg.startswith("--known-cluster="))
        self.containers[pod["metadata"]["uid"]] = made
        self.laws.started(made)

    def _end(self, pod: Obj, running: Container, rng: random.Random | None) -> None:
        master = self.masters[running.cluster]
        code = Exit.COMPLETE if rng is None or rng.random() < 0.6 else rng.choice((*Exit, 137))
        code = Exit.SUSPICIOUS_REFRESH if running.refresh and rng and rng.random() < 0.3 else code
        code = self.exits.pop(0) if self.exits else code
        code = Exit.MASTER_CHANGED if master.start_ms != running.master_start else code
        code = Exit.UNREACHABLE if not master.up else code
        if running.known_cluster and code == 0 and running.known_cluster != master.cluster_id:
            code = Exit.MASTER_CHANGED
        step = running.labels[STEP]
        if code == 0 and step == "load":  # a load asks the storage only for what the master does not know
            master.ages[running.path] = self.age if running.refresh else master.ages.get(running.path, self.age)
        counted = truth(running.cluster, running.path, running.mounts, master.ages.get(running.path, 0))
        cli = running.labels[LOADER] == "AlluxioCLI"
        if code == 0 and step == "load":
            for path in {running.path}:
                master.known[path, () if cli else running.mounts] = counted.files + counted.directories
        elif code == 0 and not running.known_cluster and running.path not in master.ages:
            code = Exit.INCOMPLETE
        proved = step == "size" and (rng is None or rng.random() < 0.9)
        who = Master("m", "2.9.6", master.cluster_id, master.start_ms)
        reason = describe(code)[0]
        found = counted if code == Exit.COMPLETE else None
        result = Result(step, reason, "in words", found, who, proved=proved, evidence="{}")
        if running.known_cluster:
            result = replace(result, reason="SameCluster" if code == 0 else reason, totals=None, proved=False)
        if running.refresh and code == 0:
            result = replace(result, changes=Changes(1, 2, 3))
        if code == Exit.INCOMPLETE:
            result = replace(result, failed_directories=("/d",), failed_count=1)
        text = result.to_json() if code != 137 and not (rng and rng.random() < 0.05) else ""
        ended: Obj = {
            "exitCode": int(code),
            "reason": "Error" if code else "Completed",
            "message": "12 0 (0%) /x" if cli else text,
        }
        if code == 137 and rng and rng.random() < 0.5:
            ended["reason"] = "OOMKilled"
        running.ended = {"terminated": ended}
        if code == 0 and (text or cli) and not running.known_cluster:
            self.laws.succeeded(running, counted, proved)

    def _terminate(self, pod: Obj, running: Container | None, rng: random.Random | None) -> None:
        if running is not None:
            running.ended = {"terminated": {"exitCode": int(Exit.TERMINATED), "reason": "Error", "message": ""}}
        else:
            self._force(pod)

    def _force(self, pod: Obj) -> None:
        """Remove the pod for good; the Job controller's finalizer may hold it a little longer."""
        self.containers.pop(pod["metadata"]["uid"], None)
        if pod["status"]["phase"] not in ("Succeeded", "Failed"):
            pod = self._patch_pod(pod, {"phase": "Failed"})
        self.store.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"], {"gracePeriodSeconds": 0})

    def _disrupt(self, pod: Obj, rng: random.Random) -> None:
        """Eviction, or loss of the node with all that the pod had to say."""
        if rng.random() < 0.5:
            self._force(pod)
            return
        conditions = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
        pod = self._patch_pod(pod, {"conditions": conditions})
        self.store.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _report(self, pod: Obj, ended: Obj) -> None:
        self.containers.pop(pod["metadata"]["uid"])
        self._patch_status(pod, "Failed" if ended["terminated"]["exitCode"] else "Succeeded", ended)

    def _patch_status(self, pod: Obj, phase: str, state: Obj) -> None:
        self._patch_pod(pod, {"phase": phase, "containerStatuses": [{"name": "step", "state": state}]})

    def _patch_pod(self, pod: Obj, status: Obj) -> Obj:
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        return self.store.patch("pods", *key, {"status": status}, "status")

    # People.

    def _create(self, rng: random.Random) -> None:
        namespace, name = rng.choice(NAMESPACES), rng.choice(("one", "two"))
        if not self.store.find(str(DATASETS), namespace, name):
            self.apply(namespace, name, a_spec(rng))

    def apply(self, namespace: str, name: str, spec: Obj) -> Obj:
        """Create a Dataset."""
        made = self.store.create(str(DATASETS), namespace, {"metadata": {"name": name}, "spec": spec})
        self.laws.saw(made)
        self.note(f"created {namespace}/{name}: {json.dumps(spec)}")
        return made

    def _edit(self, rng: random.Random) -> None:
        if found := self.datasets():
            obj = rng.choice(found)
            earlier = self.laws.specs_of(obj["metadata"]["uid"])
            spec = rng.choice(earlier) if rng.random() < 0.3 else rng.choice(EDITS)(obj["spec"], rng)
            self.edit(obj, spec)

    def edit(self, obj: Obj, spec: Obj) -> None:
        """Give a Dataset another spec."""
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        self.laws.saw(self.store.update(str(DATASETS), *key, obj | {"spec": spec}))
        self.note(f"edited {key[0]}/{key[1]}: {json.dumps(spec)}")

    def _retry(self, rng: random.Random) -> None:
        if found := self.datasets():
            self.retry(rng.choice(found))

    def retry(self, obj: Obj) -> None:
        """Set the annotation by which a person asks for another try."""
        notes = {"data.fluid.io/retry-requested-at": str(self.now)}
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        self.store.patch(str(DATASETS), *key, {"metadata": {"annotations": notes}})
        self.note(f"retry of {key[0]}/{key[1]}")

    def _storage(self, rng: random.Random) -> None:
        """Files come, go and change in the storage."""
        self.age += 1

    def _refresh(self, rng: random.Random) -> None:
        if found := self.datasets():
            self.refresh(rng.choice(found))

    def _plan(self, rng: random.Random) -> None:
        """Somebody edits the schedule of a Dataset."""
        if found := self.datasets():
            obj = rng.choice(found)
            self.edit(obj, SCHEDULES(obj["spec"], rng))

    def refresh(self, obj: Obj) -> None:
        """Set the annotation by which a person asks for a refresh."""
        notes = {REFRESH_ANNOTATION: str(self.now)}
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        self.store.patch(str(DATASETS), *key, {"metadata": {"annotations": notes}})
        self.note(f"refresh of {key[0]}/{key[1]}")

    def _delete(self, rng: random.Random) -> None:
        if found := self.datasets():
            self.delete(rng.choice(found))

    def delete(self, obj: Obj) -> None:
        """Delete a Dataset."""
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        self.laws.deleting(self.store.delete(str(DATASETS), *key))
        self.note(f"deleted {key[0]}/{key[1]}")

    def _tear(self, rng: random.Random) -> None:
        """Somebody is impatient and takes the finalizers off a Dataset that is being deleted."""
        if found := [obj for obj in self.datasets() if "deletionTimestamp" in obj["metadata"]]:
            obj = rng.choice(found)
            key = obj["metadata"]["namespace"], obj["metadata"]["name"]
            self.store.patch(str(DATASETS), *key, {"metadata": {"finalizers": None}})
            self.note(f"tore the finalizers off {key[0]}/{key[1]}")

    def _delete_child(self, rng: random.Random) -> None:
        """Somebody deletes a Job, a claim, a volume or a pod by hand."""
        resource = rng.choice((JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS))
        if found := self.store.page(str(resource)).items:
            meta = rng.choice(found)["metadata"]
            key = meta.get("namespace", ""), meta["name"]
            self.store.delete(str(resource), *key, {"propagationPolicy": "Background"})
            self.note(f"deleted {resource} {key[0]}/{key[1]} by hand")

    def _hold(self, rng: random.Random) -> None:
        """A pod of somebody's comes that uses a claim, or goes."""
        namespace, name = rng.choice(NAMESPACES), rng.choice(("one", "two"))
        pod = f"holder-{name}"
        if self.store.find("pods", namespace, pod):
            self.store.delete("pods", namespace, pod)
        elif self.store.find(str(PERSISTENTVOLUMECLAIMS), namespace, name):
            spec = {"volumes": [{"persistentVolumeClaim": {"claimName": name}}]}
            self.store.create("pods", namespace, {"metadata": {"name": pod}, "spec": spec})

    def _foreign(self, rng: random.Random) -> None:
        """Somebody else's object stands, or comes, where ours should."""
        namespace, name = rng.choice(NAMESPACES), rng.choice(("one", "two"))
        obj = self.store.find(str(DATASETS), namespace, name)
        what = rng.choice(("claim", "job", "volume", "copy"))
        meta: Obj = {"name": name}
        resource = PERSISTENTVOLUMECLAIMS
        if what == "copy" and obj:  # the manifest of a child, applied again elsewhere, labels and all
            children = self.store.page(str(JOBS)).items + self.store.page(str(PERSISTENTVOLUMECLAIMS)).items
            if not children:
                return
            child = rng.choice(children)
            resource = JOBS if child["kind"] == "Job" else PERSISTENTVOLUMECLAIMS
            namespace = rng.choice(NAMESPACES)
            kept = ("labels", "annotations")
            meta = {each: child["metadata"][each] for each in kept if each in child["metadata"]}
            meta["name"] = f"copy-{child['metadata']['name']}"
        elif what == "job" and obj:
            run = obj.get("status", {}).get("run", {}).get("number", 1) + rng.randint(0, 1)
            attempt = obj.get("status", {}).get("load", {}).get("attempt", 1) + rng.randint(0, 1)
            meta, resource = {"name": job_name(name, obj["metadata"]["uid"], "load", run, attempt)}, JOBS
        elif what == "volume" and obj:
            meta, resource, namespace = {"name": volume_name(obj["metadata"]["uid"])}, PERSISTENTVOLUMES, ""
        if self.store.find(str(resource), namespace, meta["name"]):
            return
        template = {"metadata": {}, "spec": {"containers": [{"name": "c"}]}}
        spec = {"suspend": True, "template": template} if resource is JOBS else {"accessModes": ["ReadOnlyMany"]}
        made = self.store.create(str(resource), namespace, {"metadata": meta, "spec": spec})
        self.laws.foreign.add(made["metadata"]["uid"])
        self.note(f"foreign {resource} {namespace}/{meta['name']}")


def a_spec(rng: random.Random) -> Obj:
    """Return a valid spec."""
    masters = rng.choice(CLUSTERS[rng.choice("aab")])
    spec: Obj = {
        "mounts": [{"mountPoint": f"s3://bucket/{rng.choice('pq')}", "path": "/"}],
        "alluxio": {"masters": masters, "datasetPath": rng.choice(PATHS)},
    }
    for _ in range(rng.randrange(3)):
        spec = rng.choice(EDITS[:-3])(spec, rng)
    return spec


def _field(*path: str, values: tuple[Any, ...]) -> Callable[[Obj, random.Random], Obj]:
    def edit(spec: Obj, rng: random.Random) -> Obj:
        patch: Any = rng.choice(values)
        for name in reversed(path):
            patch = {name: patch}
        return dict(kinds.merged(spec, patch))

    return edit


def _mount(uri: str) -> list[Obj]:
    return [{"mountPoint": uri, "path": "/"}]


SCHEDULES = _field("load", "refreshSchedule", values=("", "0 0 * * *", "0 * * * *", "*/20 * * * *"))
#: Every field that we serve; None is "not set". The last three give specs that cannot be served.
EDITS = (
    _field("alluxio", "datasetPath", values=PATHS),
    _field("alluxio", "masters", values=(*CLUSTERS["a"], *CLUSTERS["b"])),
    _field("alluxio", "webPort", values=(19999, 1)),
    _field(
        "mounts",
        values=(
            _mount("s3://bucket/p"),
            _mount("s3://bucket/q"),
            [*_mount("s3://bucket/p"), {"mountPoint": "s3://c", "name": "n"}],
        ),
    ),  # fmt: skip
    _field("mounts", values=([{"mountPoint": "s3://bucket/p", "path": "/", "options": {"k": "v"}}],)),
    _field("load", "loader", values=("Grpc", "AlluxioCLI")),
    _field("load", "parallelism", values=(1, 16)),
    _field("load", "maxAttempts", values=(1, 2, 4, 4)),
    _field("load", "startingDeadlineSeconds", values=(10, 600)),
    _field("load", "noProgressSeconds", values=(30, 900)),
    _field("load", "activeDeadlineSeconds", values=(None, 50)),
    _field("load", "acceptUnverified", values=(False, True)),
    SCHEDULES,
    _field("load", "timeZone", values=("", "Asia/Kolkata", "Europe/Berlin")),
    _field("load", "maxRemovedFraction", values=("0", "0.1", "1.0")),
    _field("load", "podTemplate", values=({"labels": {"team": "x"}}, {})),
    _field("volume", "enabled", values=(True, False)),
    _field("volume", "publish", values=("AfterLoad", "AfterVerify", "Immediately")),
    _field("suspend", values=(True, False, False)),
    _field("alluxio", "datasetPath", values=("/a/../b",)),
    _field("mounts", values=(_mount("local:///etc"),)),
    _field("load", "parallelism", values=("many",)),
)

STEPS = {
    "calm": 12,
    "deliver": 30,
    "deliver_all": 14,
    "relist": 2,
    "reconcile": 40,
    "disturbed": 25,
    "jobs": 20,
    "pod": 30,
    "poll": 10,
    "clock": 8,
    "lease": 2,
    "crash": 1,
    "master": 1.5,
    "create": 3,
    "edit": 3,
    "retry": 1,
    "storage": 1.5,
    "refresh": 2,
    "plan": 0.5,
    "well": 0.3,
    "delete": 0.7,
    "tear": 0.5,
    "delete_child": 2,
    "hold": 1,
    "foreign": 1,
}
#: What happens more often to Datasets that are Ready, and what would make them something else.
AFTER_READY = {
    "refresh": 3,
    "plan": 3,
    "storage": 3,
    "master": 3,
    "calm": 3,
    "well": 5,
    "clock": 3,
    "edit": 0.2,
    "delete": 0.2,
    "foreign": 0,
}
KINDS, WEIGHTS = tuple(STEPS), tuple(STEPS.values())


def history(seed: int, length: int = 220) -> list[Step]:
    """Return the steps of a seed. Each has weights of its own, some things being rare in it."""
    rng = random.Random(seed)
    weights = [weight * rng.choice((0.2, 1, 1, 3)) for weight in WEIGHTS]
    first = [Step("create", rng.getrandbits(32)) for _ in range(3)]
    if seed % 2:  # one about what is Ready already
        first += [Step("well", rng.getrandbits(32)) for _ in range(2)]
        length = 140
        weights = [weight * AFTER_READY.get(kind, 1) for kind, weight in zip(KINDS, weights, strict=True)]
    return first + [Step(rng.choices(KINDS, weights)[0], rng.getrandbits(32)) for _ in range(length)]
