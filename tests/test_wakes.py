"""Which change wakes which key: whoever decides by something hears of it, and nobody hears of progress alone."""

from typing import Any

import pytest

from controllers.decision import ADMISSION, Key
from controllers.informers import Wakes
from controllers.jobs import BACKUP_UID, DATASET_UID, RUNTIME_UID, SCHEDULE_UID
from controllers.kube.resources import (
    ALLUXIORUNTIMES,
    DATABACKUPS,
    DATASETS,
    JOBS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    SCHEDULEDDATABACKUPS,
    STATEFULSETS,
    Resource,
)
from controllers.kube.store import Change, ChangeKind
from controllers.stores import Stores

Obj = dict[str, Any]
ABOUT = {"dataset": {"name": "d"}}


def thing(resource: Resource, name: str, spec: Obj | None = None, status: Obj | None = None, **labels: str) -> Obj:
    """An object of namespace n, with its name as its uid."""
    meta = {"namespace": "n", "name": name, "uid": f"uid-{name}", "labels": labels, "generation": 1}
    return {"kind": resource.kind, "metadata": meta, "spec": spec or {}, "status": status or {}}


THERE = (
    (DATASETS, thing(DATASETS, "d")),
    (DATASETS, thing(DATASETS, "restored", {"dataRestoreLocation": {"backupName": "b"}})),
    (DATASETS, thing(DATASETS, "other")),
    (ALLUXIORUNTIMES, thing(ALLUXIORUNTIMES, "d")),
    (DATABACKUPS, thing(DATABACKUPS, "b", ABOUT, **{SCHEDULE_UID: "uid-s"})),
    (DATABACKUPS, thing(DATABACKUPS, "b2", ABOUT)),
    (DATABACKUPS, thing(DATABACKUPS, "b3", {"dataset": {"name": "other"}})),
    (SCHEDULEDDATABACKUPS, thing(SCHEDULEDDATABACKUPS, "s", {"template": {"spec": ABOUT}})),
    (STATEFULSETS, thing(STATEFULSETS, "d-master", **{RUNTIME_UID: "uid-d"})),
)


def woken(
    resource: Resource, obj: Obj, kind: ChangeKind = ChangeKind.ADDED, old: Obj | None = None, only: str = ""
) -> Any:
    """Return the keys, as "Kind name", that such a change wakes where everything of THERE is known."""
    stores = Stores.of(())
    for known, store in stores.watched().items():
        store.replace([there for where, there in THERE if where == known], "1")
    keys: list[Key] = []
    Wakes(stores, lambda key, lane: keys.append(key), only).rows[resource](Change(kind, obj, old))
    return {"Admission" if key == ADMISSION else f"{key.kind} {key.name}" for key in keys}


DATASET = {"Dataset d"}
RUNTIME = {"AlluxioRuntime d"}
BACKUPS = {"DataBackup b", "DataBackup b2"}
SCHEDULE = {"ScheduledDataBackup s"}


@pytest.mark.parametrize(
    ("resource", "obj", "expected"),
    [
        (DATASETS, thing(DATASETS, "d"), DATASET | RUNTIME | BACKUPS | SCHEDULE),
        (ALLUXIORUNTIMES, thing(ALLUXIORUNTIMES, "d"), DATASET | RUNTIME),
        (STATEFULSETS, thing(STATEFULSETS, "d-master", **{RUNTIME_UID: "uid-d"}), DATASET | RUNTIME),
        (PODS, thing(PODS, "d-master-0", **{RUNTIME_UID: "uid-d"}), DATASET | RUNTIME),
        (PERSISTENTVOLUMECLAIMS, thing(PERSISTENTVOLUMECLAIMS, "j", **{RUNTIME_UID: "uid-d"}), DATASET | RUNTIME),
        (JOBS, thing(JOBS, "take", **{BACKUP_UID: "uid-b"}), {"DataBackup b", "Admission"}),
        (JOBS, thing(JOBS, "load", **{DATASET_UID: "uid-d"}), DATASET | {"Admission"}),
        (DATABACKUPS, thing(DATABACKUPS, "b", ABOUT, **{SCHEDULE_UID: "uid-s"}),
         DATASET | {"Dataset restored"} | BACKUPS | SCHEDULE),
        (DATABACKUPS, thing(DATABACKUPS, "b2", ABOUT), DATASET | BACKUPS),
        (SCHEDULEDDATABACKUPS, thing(SCHEDULEDDATABACKUPS, "s", {"template": {"spec": ABOUT}}), SCHEDULE),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [ChangeKind.INITIAL, ChangeKind.ADDED, ChangeKind.DELETED])
def test_what_is_new_or_gone_wakes_all_who_decide_by_it(
    resource: Resource, obj: Obj, expected: set[str], kind: ChangeKind
) -> None:
    """And nobody else: not the Dataset "other", not its backup."""
    assert woken(resource, obj, kind) - {"Admission"} == expected - {"Admission"}
    assert ("Admission" in expected) <= ("Admission" in woken(resource, obj, kind))


@pytest.mark.parametrize("resource", [DATASETS, DATABACKUPS])
def test_progress_wakes_nobody_else(resource: Resource) -> None:
    """It is written every few seconds, and a Dataset may have a hundred backups; another phase wakes them."""
    name = "d" if resource == DATASETS else "b"
    old = thing(resource, name, ABOUT, {"phase": "Ready", "progress": {"files": 1}})
    new = thing(resource, name, ABOUT, {"phase": "Ready", "progress": {"files": 2}})
    moved = thing(resource, name, ABOUT, {"phase": "Failed"})

    assert woken(resource, new, ChangeKind.MODIFIED, old) == {f"{resource.kind} {name}"}
    assert woken(resource, moved, ChangeKind.MODIFIED, old) >= BACKUPS


def test_a_master_that_answers_again_wakes_the_backups_that_wait_for_it() -> None:
    """The phase stays Ready while it does not answer; the condition says so, and when it is over."""
    down = {"phase": "Ready", "conditions": [{"type": "MasterReachable", "status": "False"}]}
    back = {"phase": "Ready", "conditions": [{"type": "MasterReachable", "status": "True"}]}

    found = woken(DATASETS, thing(DATASETS, "d", ABOUT, back), ChangeKind.MODIFIED, thing(DATASETS, "d", ABOUT, down))

    assert found >= BACKUPS


def test_one_dataset_alone_is_served_with_all_that_is_about_it() -> None:
    """--only n/d: its runtime, backups and schedule, too, and nothing about another."""
    whole = DATASET | RUNTIME | BACKUPS | SCHEDULE

    assert woken(DATASETS, thing(DATASETS, "d"), only="n/d") == whole
    assert woken(DATASETS, thing(DATASETS, "d"), only="n/other") == set()
    assert woken(DATABACKUPS, thing(DATABACKUPS, "b", ABOUT), only="n/d") == DATASET | BACKUPS
    assert woken(DATABACKUPS, thing(DATABACKUPS, "b3", {"dataset": {"name": "other"}}), only="n/d") == set()


@pytest.mark.parametrize("only", ["", "n/d"])
def test_at_a_resync_everything_that_is_served_is_looked_at(only: str) -> None:
    """Whoever missed a change finds it then."""
    stores = Stores.of(())
    for known, store in stores.watched().items():
        store.replace([there for where, there in THERE if where == known], "1")
    keys: list[str] = []
    Wakes(stores, lambda key, lane: keys.append(f"{key.kind} {key.name}"), only).everything()

    ours = {f"{obj['kind']} {obj['metadata']['name']}" for resource, obj in THERE if resource != STATEFULSETS}
    others = {"Dataset restored", "Dataset other", "DataBackup b3"}
    assert set(keys) == (ours - others if only else ours)
    assert len(keys) == len(set(keys))
