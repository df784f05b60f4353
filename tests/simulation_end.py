"""The end of a simulated history: faults stop, time goes on, people mend what they are asked to, all comes to rest."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from controllers.api.conditions import AVAILABLE, METADATA_LOADED, READY, REFRESHING, STALLED
from controllers.api.dataset import Phase, parse_spec, parse_status
from controllers.decision import ADMISSION, Key
from controllers.kube.resources import DATASETS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from tests.simulation import WATCHED, Process, Step, World
from tests.simulation_laws import Violation, expected, holds
from tests.world import condition

Obj = dict[str, Any]
#: Upper bounds: of passes until the next timer must be waited for, and of timers until nothing is written any more.
PASSES, TIMERS = 600, 120
#: Reasons of Stalled that a person ends; each is explained by what the person did before.
CONFLICTS = ("JobConflict", "ClaimConflict", "VolumeConflict")


def play(steps: Iterable[Step], seed: int = 0) -> World:
    """Play a history to its end; raise Violation where a law does not hold."""
    world = World(seed)
    for step in steps:
        world.step(step)
    finish(world)
    return world


def finish(world: World) -> None:
    """Judge the end of a history: what is left alone comes to rest, what is refreshed is as if it were new."""
    world.note("faults stop")
    world.nest = None
    no_more_schedules(world)
    settle(world)
    for obj in world.datasets():
        world.refresh(obj)
    settle(world)
    compare(world)


def settle(world: World) -> None:
    """Come to rest, mend what is to be mended, and judge, until nothing is left to mend."""
    for _ in range(8):
        come_to_rest(world)
        judge(world)
        if not mend(world):
            return
    raise Violation("people mend and mend, and it is never enough")


def no_more_schedules(world: World) -> None:
    """Let people take the schedules away: with one there is no rest."""
    for obj in world.datasets():
        load = dict(obj["spec"].get("load") or {})
        if load.pop("refreshSchedule", ""):
            world.edit(obj, {**obj["spec"], "load": load})


def lead(world: World) -> Process:
    """Start what died, and return who leads."""
    for index, process in enumerate(world.processes):
        if not process.alive:
            world.processes[index] = Process(world, process.name)
    if world.leader is None or not world.leader.alive:
        world.leader = world.processes[0]
    return world.leader


def quiesce(world: World, rounds: int = 0) -> None:
    """Let everything happen that can happen now, or that many rounds of it."""
    for index in range(rounds or PASSES):
        leader, before = lead(world), world.store.version
        world.controllers.step()
        news = sum(leader.deliver(resource, 10_000) for resource in WATCHED)
        for address in set(leader.followed.values()):
            leader.poll(address)
        keys = leader.due()
        for key in keys:
            if leader.alive:
                leader.reconcile(key)
        busy = [world.kubelet(pod) for pod in world.store.page("pods").items]
        if not (news or keys or any(busy) or world.store.version != before):
            return
        if index + 1 == rounds:
            return
    raise Violation("it never comes to rest: a hot loop")


def come_to_rest(world: World) -> None:
    """Go on until nothing is written for two hours, however often everything is looked at again."""
    for master in world.masters.values():
        master.up = True
    quiet = 0
    for _ in range(TIMERS):
        writes = world.writes
        quiesce(world)
        leader = lead(world)
        if world.writes != writes:
            quiet = 0
            world.now = max(world.now, min(leader.timers.values(), default=world.now)) + 0.05
        elif (quiet := quiet + 1) > 2:
            break
        else:
            world.now += 3700.0
    else:
        raise Violation("it is written again and again, for ever")
    leader = lead(world)
    for obj in world.datasets():
        leader.add(Key("Dataset", obj["metadata"]["namespace"], obj["metadata"]["name"]))
    leader.add(ADMISSION)
    writes = world.writes
    quiesce(world)
    holds(world.writes == writes, "a resync writes something, so a wake-up had been lost")


def judge(world: World) -> None:
    """Everything is at rest: each Dataset is Ready, or says why not, and the history explains it."""
    for obj in world.datasets():
        name = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
        ready, stalled = condition(obj, READY), condition(obj, STALLED)
        reason = ready.get("reason")
        if "deletionTimestamp" in obj["metadata"]:
            held = world.store.find("pods", obj["metadata"]["namespace"], f"holder-{obj['metadata']['name']}")
            text = ready.get("message", "")
            holds(
                held and held["metadata"]["name"] in text, f"{name} does not go, and does not say why: {reason} {text}"
            )
            continue
        holds(reason, f"{name} was never looked at")
        refreshing, idle = condition(obj, REFRESHING), ("Suspended", "InvalidSpec")
        busy = refreshing.get("status") == "True" and not {reason, refreshing.get("reason")} & set(idle)
        busy = busy and refreshing.get("reason") not in CONFLICTS
        holds(not busy or obj["spec"].get("suspend"), f"{name} never ends its refresh: {refreshing}")
        if ready.get("status") != "True":
            explained = reason in ("Suspended", "InvalidSpec", "VolumeOutdated", "VolumeDeleted", *CONFLICTS)
            explained = explained or (reason == "LoadedUnverified" and world.laws.unproved(obj))
            known = explained and (stalled.get("status") == "True" or parse_status(obj).phase == Phase.READY)
            known = known or (reason == "ClaimDeleted" and holders(world))
            holds(known, f"{name} stands still for no reason: {parse_status(obj).phase} {ready}")
    left = world.laws.leftovers()
    holds(not left or holders(world), f"children of Datasets that are gone are left behind: {left}")


def holders(world: World) -> list[Obj]:
    """Return the pods of people that use a claim."""
    return [pod for pod in world.store.page("pods").items if pod["metadata"]["name"].startswith("holder")]


def mend(world: World) -> bool:
    """Do what the conditions ask a person to do; return whether there was anything."""
    done = False
    for pod in holders(world):
        world.store.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
        done = True
    for obj in world.datasets():
        reasons = {condition(obj, kind).get("reason") for kind in (READY, AVAILABLE, REFRESHING)}
        if "is not ours" in condition(obj, METADATA_LOADED).get("message", ""):  # in the way of the look at a master
            reasons.add("JobConflict")
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        if reasons & {"VolumeOutdated", "VolumeDeleted"} and world.store.find(str(PERSISTENTVOLUMECLAIMS), *key):
            world.store.delete(str(PERSISTENTVOLUMECLAIMS), *key)
            done = True
        if reasons & set(CONFLICTS):
            done = clear_foreign(world) or done
    return done


def clear_foreign(world: World) -> bool:
    """Delete what is not ours and stands in the way."""
    done = False
    for resource in (*map(str, WATCHED[1:]),):
        for obj in world.store.page(resource).items:
            if obj["metadata"]["uid"] in world.laws.foreign and not obj["metadata"]["name"].startswith("copy-"):
                world.store.delete(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
                done = True
    return done


def compare(world: World) -> None:
    """The end depends on the last specs alone: it is that of a world in which nothing else ever happened (Acto)."""
    other = World()
    other.age = world.age
    for obj in world.datasets():
        other.apply(obj["metadata"]["namespace"], obj["metadata"]["name"], obj["spec"])
    come_to_rest(other)
    for obj in world.datasets():
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        twin = other.store.get(str(DATASETS), *key)
        if condition(obj, READY).get("reason") == "LoadedUnverified" or obj["spec"].get("suspend"):
            continue  # how far it is depends on when it was suspended, or on what was found by then
        mine, its = summary(world, obj), summary(other, twin)
        holds(mine == its, f"{key} ends as {mine}, undisturbed it would be {its}")


def summary(world: World, obj: Obj) -> dict[str, Any]:
    """Return what must not depend on the history; of a suspended or refused one only that."""
    status, ready = parse_status(obj), condition(obj, READY)
    if ready.get("reason") in ("Suspended", "InvalidSpec"):
        return {"reason": ready["reason"]}
    volume = world.store.find(str(PERSISTENTVOLUMES), "", f"dataset-{obj['metadata']['uid']}")
    claim = world.store.find(str(PERSISTENTVOLUMECLAIMS), obj["metadata"]["namespace"], obj["metadata"]["name"])
    spec = parse_spec(obj)
    shown = {
        "phase": status.phase,
        "ready": (ready.get("status"), ready.get("reason")),
        "inputs": status.run.inputs,
        "counts": (status.file_count, status.ufs_total_bytes, status.size.directories),
        "truth": expected(spec, world.age).files,
    }
    if spec.volume.enabled and volume and claim:
        shown["volume"] = json.dumps(volume["spec"]["csi"]["volumeAttributes"]), claim["status"]["phase"]
    return shown


def shrink(steps: list[Step], law: str, tries: int = 400) -> list[Step]:
    """Drop steps as long as the same law is still broken."""
    size = len(steps) // 2
    while size and tries > 0:
        at = 0
        while at < len(steps) and tries > 0:
            tries -= 1
            fewer = steps[:at] + steps[at + size :]
            if broken(fewer) == law:
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def broken(steps: list[Step]) -> str:
    """Return the beginning of the law that this history breaks, or ""."""
    try:
        play(steps)
    except Violation as violation:
        return str(violation)[:40]
    return ""


def explain(steps: list[Step]) -> str:
    """Return what happens in a history, line by line."""
    world = World(0)
    try:
        for step in steps:
            world.note(f"- {step.kind} {step.number}")
            world.step(step)
        finish(world)
    except Violation as violation:
        world.note(f"VIOLATION {violation}")
    return "\n".join(world.trace)


# --- every single fault of a plain life -------------------------------------------------------------------------------

ONE_FAULT = ("crash before", "crash after", "no answer applied")


def one_fault_each(life: Callable[[World], None], after: int = 0) -> Iterator[tuple[str, World]]:
    """Live the life once undisturbed, then once for each fault and write but the first ``after``.

    Yield what went wrong, and the end.
    """
    calm = World()
    life(calm)
    yield "nothing", calm
    for number in range(after + 1, calm.attempts + 1):
        for fault in ONE_FAULT:
            world = World()
            world.faults[number] = fault
            life(world)
            assert not world.faults, "the fault was never met"
            yield f"{fault} at write {number}", world
