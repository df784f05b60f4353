"""Laws of the store: never back in time, no ghosts, indexes and announcements that always fit."""

import random
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from controllers.kube.store import LAST_APPLIED, Change, ChangeKind, Store, key_of, older, strip, version_of

INITIAL, A, M, D = ChangeKind.INITIAL, ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


def obj(name: str, version: object, uid: str = "", owner: str = "", namespace: str = "ns") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "owner": owner}


def kinds(changes: Iterable[Change]) -> list[tuple[ChangeKind, str]]:
    return [(change.kind, version_of(change.obj)) for change in changes]


def filled(*items: dict[str, Any], version: int = 10) -> Store:
    store = Store({"owner": lambda o: [o["owner"]] if o["owner"] else []})
    store.replace(items, str(version))
    return store


def test_the_first_list_is_initial_and_syncs() -> None:
    store = Store()
    assert not store.synced.is_set()
    assert kinds(store.replace([obj("a", 3)], "10")) == [(INITIAL, "3")]
    assert store.synced.is_set()
    assert kinds(store.replace([obj("a", 3), obj("b", 11)], "12")) == [(A, "11")]
    assert len(store) == 2


def test_managed_fields_and_last_applied_are_not_kept_and_the_argument_is_untouched() -> None:
    whole = obj("a", 3)
    whole["metadata"] |= {"managedFields": [1], "annotations": {LAST_APPLIED: "{}", "mine": "x"}}
    kept = strip(whole)
    assert kept["metadata"]["annotations"] == {"mine": "x"}
    assert "managedFields" not in kept["metadata"]
    assert whole["metadata"]["managedFields"] == [1]
    assert LAST_APPLIED in whole["metadata"]["annotations"]


def test_an_older_state_never_replaces_a_newer_one() -> None:
    store = filled(obj("a", 9))
    assert store.upsert(obj("a", 8)) == ()
    assert store.replace([obj("a", 8)], "8") == ()
    store.observe_write(obj("a", 8))
    assert version_of(store.get("ns", "a") or {}) == "9"


def test_versions_are_compared_as_numbers_and_only_if_they_are() -> None:
    assert older("9", "10")
    assert not older("10", "9")
    assert not older("9", "9")
    assert not older("a9", "b1")
    assert not older("", "5")
    assert not older("5", "")


def test_a_version_that_is_no_number_is_taken_from_the_watch_but_not_from_a_write() -> None:
    store = filled(obj("a", "x9"))
    store.observe_write(obj("a", "x8"))
    assert version_of(store.get("ns", "a") or {}) == "x9"
    assert kinds(store.upsert(obj("a", "x1"))) == [(M, "x1")]


def test_our_own_write_is_seen_at_once_and_announced_when_the_watch_shows_it() -> None:
    store = filled(obj("a", 9))
    store.observe_write(obj("a", 11))
    store.observe_write(obj("new", 12, owner="o"))
    assert version_of(store.get("ns", "a") or {}) == "11"
    assert [o["metadata"]["name"] for o in store.by_index("owner", "o")] == ["new"]
    (modified,) = store.upsert(obj("a", 11))
    assert (modified.kind, modified.old) == (M, obj("a", 9))
    assert kinds(store.upsert(obj("new", 12, owner="o"))) == [(A, "12")]
    assert store.upsert(obj("new", 12, owner="o")) == ()


def test_the_answer_to_a_write_that_comes_after_the_deletion_brings_no_ghost() -> None:
    store = filled(obj("a", 9))
    store.upsert(obj("a", 11))
    store.remove(obj("a", 12))
    store.observe_write(obj("a", 11))
    assert store.get("ns", "a") is None


def test_a_bookmark_too_tells_that_a_late_answer_is_old() -> None:
    store = filled()
    store.advance("20")
    store.observe_write(obj("a", 15))
    assert len(store) == 0


def test_a_list_that_is_older_than_our_write_does_not_undo_it() -> None:
    store = filled()
    store.observe_write(obj("a", 15))
    assert store.replace([], "14") == ()
    assert store.get("ns", "a") is not None
    assert store.replace([], "16") == (), "it was never announced, so its end is not either"
    assert store.get("ns", "a") is None


def test_another_uid_is_a_deletion_and_an_addition() -> None:
    store = filled(obj("a", 9))
    assert kinds(store.upsert(obj("a", 11, "second"))) == [(D, "9"), (A, "11")]


def test_the_deletion_of_a_predecessor_keeps_the_successor_that_we_created() -> None:
    store = filled(obj("a", 9))
    store.observe_write(obj("a", 13, "second"))
    assert kinds(store.remove(obj("a", 12))) == [(D, "12")]
    assert version_of(store.get("ns", "a") or {}) == "13"
    assert kinds(store.upsert(obj("a", 13, "second"))) == [(A, "13")]


def test_removing_what_is_not_there_is_nothing() -> None:
    assert filled().remove(obj("a", 12)) == ()


def test_several_namespaces_share_a_store_and_it_is_synced_with_the_last() -> None:
    store = Store(namespaces=("one", "two"))
    store.replace([obj("a", 3, namespace="one")], "5", "one")
    assert not store.synced.is_set()
    assert kinds(store.replace([obj("a", 4, namespace="two")], "9", "two")) == [(INITIAL, "4")]
    assert store.synced.is_set()
    assert kinds(store.replace([], "11", "one")) == [(D, "3")], "a list speaks for its own namespace only"
    assert store.keys() == [("two", "a")]
    store.advance("30", "one")
    store.observe_write(obj("b", 20, namespace="two"))
    assert store.get("two", "b") is not None
    store.observe_write(obj("c", 50, namespace="unwatched"))
    assert store.get("unwatched", "c") is None


def test_a_reflector_of_one_namespace_may_fill_an_ordinary_store() -> None:
    store = Store()
    store.replace([obj("a", 3)], "5", "ns")
    store.advance("6", "ns")
    assert store.synced.is_set()


@pytest.mark.parametrize("seed", range(30))
def test_any_history_of_watch_and_writes_keeps_the_laws(seed: int) -> None:
    """Replays a server's history in order, with answers to writes early and late, duplicates, and lists in between."""
    rng = random.Random(seed)
    store = Store({"owner": lambda o: [o["owner"]]})
    store.replace([], "0")
    truth: dict[str, dict[str, Any]] = {}
    history: list[Callable[[], tuple[Change, ...]]] = []
    answers: list[dict[str, Any]] = []
    told: dict[tuple[str, str], dict[str, Any]] = {}
    newest: dict[str, int] = {}

    def follow(changes: tuple[Change, ...]) -> None:
        for change in changes:
            key = key_of(change.obj)
            assert (change.kind in (M, D)) == (key in told)
            assert change.old == told.get(key)
            told[key] = change.obj
            if change.kind is D:
                del told[key]

    def check() -> None:
        for o in store.items():
            uid, version = o["metadata"]["uid"], int(version_of(o))
            assert version >= newest.get(uid, 0), "a store went back"
            newest[uid] = version
            assert o in store.by_index("owner", o["owner"])
        assert sum(len(store.by_index("owner", owner)) for owner in "xyz") == len(store)

    for version in range(1, 200):
        name = rng.choice("abcd")
        old = truth.get(name)
        if old and rng.random() < 0.3:
            gone = {**old, "metadata": {**old["metadata"], "resourceVersion": str(version)}}
            del truth[name]
            history.append(lambda gone=gone: store.remove(gone))
        else:
            uid = old["metadata"]["uid"] if old else f"{name}{version}"
            made = truth[name] = obj(name, version, uid, rng.choice("xyz"))
            history.append(lambda made=made: store.upsert(made))
            if rng.random() < 0.5:
                answers.append(made)
        if answers and rng.random() < 0.6:
            store.observe_write(answers.pop(rng.randrange(len(answers))))
        while history and rng.random() < 0.45:
            follow(history.pop(0)())
        if rng.random() < 0.05:
            history.clear()  # the watch broke; a list takes its place
            follow(store.replace(list(truth.values()), str(version)))
        check()
    for late in answers:
        store.observe_write(late)
    for event in history:
        follow(event())
    check()
    assert {o["metadata"]["name"]: o for o in store.items()} == truth
    assert {name: o for (_, name), o in told.items()} == truth


def test_readers_in_other_threads_never_see_an_index_without_its_object() -> None:
    store = filled()
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            try:
                for o in store.by_index("owner", "x"):
                    assert o["owner"] == "x"
                store.keys(), store.items(), len(store)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(11, 1500):
        store.upsert(obj("a", version, owner="xy"[version % 2]))
        if version % 7 == 0:
            store.remove(obj("a", version))
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
