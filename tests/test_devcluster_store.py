"""Laws of devcluster's store, over seeded random histories, and what the contract cannot ask of a real server."""

import random
from typing import Any

import pytest

from controllers.kube.store import key_of
from devcluster.jobs import Controllers
from devcluster.refusals import ApiError
from devcluster.store import Change, Store, owners

Obj = dict[str, Any]
_KINDS = ("pods", "configmaps", "jobs.batch")


def history(store: Store, rng: random.Random, steps: int) -> None:
    """Do random writes, most of which succeed; a refused one must change nothing."""
    for _ in range(steps):
        resource, name, before = rng.choice(_KINDS), f"n{rng.randrange(4)}", store.version
        try:
            _step(store, rng, resource, name)
        except ApiError:
            assert store.version == before


def _step(store: Store, rng: random.Random, resource: str, name: str) -> None:
    meta: Obj = {"name": name, "labels": {"x": str(rng.randrange(3))}}
    spec = {"spec": {"containers": [{"name": "a"}], "size": rng.randrange(3)}}
    if rng.random() < 0.3:
        owner = store.find("configmaps", "default", f"n{rng.randrange(4)}")
        meta["ownerReferences"] = [{"uid": owner["metadata"]["uid"]}] if owner and resource == "pods" else []
    if rng.random() < 0.2:
        meta["finalizers"] = ["example.org/hold"] if rng.random() < 0.5 else []
    match rng.randrange(5):
        case 0 | 1:
            store.create(resource, "default", {"metadata": meta, **spec})
        case 2:
            store.patch(resource, "default", name, {"metadata": meta, **spec})
        case 3:
            store.patch(resource, "default", name, {"status": {"phase": rng.choice(["Running", "Failed"])}}, "status")
        case 4:
            store.delete(resource, "default", name, {"gracePeriodSeconds": rng.randrange(2)})


def state(store: Store, resource: str) -> dict[tuple[str, str], Obj]:
    return {key_of(obj): obj for obj in store.page(resource).items}


def replayed(before: dict[tuple[str, str], Obj], changes: list[Change]) -> dict[tuple[str, str], Obj]:
    result = dict(before)
    for change in changes:
        if change.new is None:
            del result[key_of(change.shown)]
        else:
            result[key_of(change.shown)] = change.new
    return result


@pytest.mark.parametrize("seed", range(20))
def test_a_list_and_the_changes_since_it_make_the_present_from_any_moment(seed: int) -> None:
    rng = random.Random(seed)
    store = Store(clock=lambda: 1e9, rng=random.Random(seed))
    moments = []
    for _ in range(20):
        history(store, rng, 10)
        moments.append((store.version, {resource: state(store, resource) for resource in _KINDS}))

    for version, then in moments:
        for resource in _KINDS:
            assert replayed(then[resource], store.changes(resource, version)) == state(store, resource)


@pytest.mark.parametrize("seed", range(20))
def test_versions_only_grow_and_a_stored_object_is_never_changed(seed: int) -> None:
    rng = random.Random(seed)
    store = Store(clock=lambda: 1e9, rng=random.Random(seed))
    history(store, rng, 100)
    changes = {resource: store.changes(resource, 100) for resource in _KINDS}
    copies = repr(changes)
    history(store, rng, 100)

    assert repr(changes) == copies
    for resource in _KINDS:
        versions = [change.version for change in store.changes(resource, 100)]
        assert versions == sorted(set(versions))
        shown = [change.shown["metadata"]["resourceVersion"] for change in store.changes(resource, 100)]
        assert shown == [str(version) for version in versions]


@pytest.mark.parametrize("seed", range(20))
def test_the_pages_of_a_list_are_the_list_as_it_was_whatever_happens_between(seed: int) -> None:
    rng = random.Random(seed)
    store = Store(clock=lambda: 1e9, rng=random.Random(seed))
    history(store, rng, 60)
    whole, page = store.page("pods"), store.page("pods", limit=1)
    found = list(page.items)
    while page.token:
        history(store, rng, 5)
        page = store.page("pods", limit=1, token=page.token)
        found += page.items

    assert (found, page.version) == (whole.items, whole.version)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_outlives_the_last_of_its_owners(seed: int) -> None:
    rng = random.Random(seed)
    store = Store(clock=lambda: 1e9, rng=random.Random(seed))
    for _ in range(50):
        history(store, rng, 4)
        uids = {obj["metadata"]["uid"] for resource in _KINDS for obj in store.page(resource).items}
        for pod in store.page("pods").items:
            named = set(owners(pod))
            assert not named or named & uids or "deletionTimestamp" in pod["metadata"]


def test_a_watcher_or_a_token_that_lies_too_far_behind_gets_410() -> None:
    store = Store(window=5)
    for index in range(6):
        store.create("configmaps", "default", {"metadata": {"name": f"a{index}"}})
    page = store.page("configmaps", limit=2)
    assert len(store.changes("configmaps", page.version - 5)) == 5
    with pytest.raises(ApiError) as old:
        store.changes("configmaps", page.version - 6)
    for index in range(6):
        store.delete("configmaps", "default", f"a{index}")
    with pytest.raises(ApiError) as expired:
        store.page("configmaps", limit=2, token=page.token)

    assert (old.value.code, expired.value.code) == (410, 410)
    assert expired.value.status["reason"] == "Expired"


def test_the_controllers_run_in_one_thread_by_an_injected_clock() -> None:
    """As the simulation uses them: no server, no thread, no waiting."""
    now = [1_000_000.0]
    store = Store(clock=lambda: now[0], rng=random.Random(1))
    controllers = Controllers(store)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}
    body = {"metadata": {"name": "a"}, "spec": {"activeDeadlineSeconds": 60, "template": template}}
    store.create("jobs.batch", "default", body)
    assert controllers.step() == 60
    (pod,) = store.page("pods").items
    now[0] += 59
    assert controllers.step() == 1
    version = store.version
    assert controllers.step() == 1
    assert store.version == version, "nothing happened, so nothing is written"
    now[0] += 1
    assert controllers.step() is None

    assert store.find("pods", "default", pod["metadata"]["name"]) is None
    failed = store.get("jobs.batch", "default", "a")["status"]["conditions"][-1]
    assert (failed["type"], failed["reason"]) == ("Failed", "DeadlineExceeded")
