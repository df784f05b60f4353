"""The engine under every kind: who is served, and that one object's trouble is its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.api.crd import KINDS, definition
from controllers.api.databackup import DataBackupStatus
from controllers.apply import Applier
from controllers.config import ControllerConfig
from controllers.decision import ADMISSION, Decision, Key, Problem
from controllers.jobs import DATASET_UID, MASTERS
from controllers.kube.client import Cluster
from controllers.kube.resources import DATABACKUPS, DATASETS
from controllers.observe_backup import BackupObserver
from controllers.reconciler import Handler, Outcome, Reconciler
from controllers.stores import Stores
from devcluster import ApiServer

NOW = 1_800_000_000.0
Obj = dict[str, Any]


class Recorder:
    """A handler of DataBackups, and a follower: notes what it is asked and told."""

    resource, logged = DATABACKUPS, ("Complete",)

    def __init__(self, stores: Stores, phase: str = "Pending") -> None:
        self.store, self.phase, self.seen, self.told = stores.backups, phase, list[str](), list[str]()

    def decide(self, obj: Obj, problem: Problem | None) -> tuple[DataBackupStatus, Decision]:
        """Give the backup this phase; a backup of the name "odd" meets a bug."""
        self.seen.append(obj["metadata"]["name"])
        if self.seen[-1] == "odd":
            raise ZeroDivisionError
        return DataBackupStatus.read(obj.get("status") or {}), Decision(DataBackupStatus.read({"phase": self.phase}))

    def decided(self, key: Key, old: Any, new: Any) -> None:
        """See Follower."""
        self.told.append(f"{key}: {getattr(old.phase, 'value', '')} -> {new.phase.value}")

    def forget(self, key: Key) -> None:
        """See Follower."""
        self.told.append(f"{key}: gone")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A client of an API server that knows our kinds, with a Dataset "there"."""
    with ApiServer([definition(kind) for kind in KINDS]) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        client = Cluster.connect(str(tmp_path / "kubeconfig"), pool_size=2, user_agent="test")
        client.create(DATASETS, "default", {"metadata": {"name": "there", "namespace": "default"}, "spec": {}})
        yield client
        client.close()


def backup(cluster: Cluster, stores: Stores, dataset: str, name: str = "b") -> Key:
    """A DataBackup of that Dataset, which the cache knows."""
    spec = {"dataset": {"name": dataset}, "backupStorageLocationSpec": {"mountPath": "pvc://c/b"}}
    body = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
    stores.backups.upsert(cluster.create(DATABACKUPS, "default", body))
    return Key("DataBackup", "default", name)


def reconciler(cluster: Cluster, stores: Stores, handler: Handler, *, selected: bool = False) -> Reconciler:
    """The engine with this handler alone."""
    return Reconciler(
        stores,
        [handler],
        Applier(cluster, stores, lambda: True),
        now=lambda: NOW,
        follower=Recorder(stores) if not isinstance(handler, Recorder) else handler,
        enqueue=lambda key: None,
        send_event=lambda obj, event: None,
        per_master=4,
        selected=selected,
    )


@pytest.mark.parametrize(
    ("dataset", "known", "served"),
    [("there", True, True), ("there", False, False), ("gone", False, True)],
)
def test_with_a_selector_a_backup_is_served_by_who_serves_its_dataset(
    cluster: Cluster, dataset: str, known: bool, served: bool
) -> None:
    """Not where the selector hides the Dataset; where there is none, everybody may end what is left."""
    stores = Stores.of(())
    if known:
        stores.datasets.upsert(cluster.get(DATASETS, "default", dataset))
    key, recorder = backup(cluster, stores, dataset), Recorder(stores)

    assert reconciler(cluster, stores, recorder, selected=True).process(key) == Outcome("success")

    assert bool(recorder.seen) == served
    assert bool(cluster.get(DATABACKUPS, "default", "b").get("status")) == served


def test_whoever_counts_is_told_of_every_kind_what_it_was_and_what_it_is(cluster: Cluster) -> None:
    """Once for each decision, and once when the object is gone."""
    stores = Stores.of(())
    key, recorder = backup(cluster, stores, "there"), Recorder(stores)
    engine = reconciler(cluster, stores, recorder)

    for recorder.phase in ("Pending", "Executing"):
        engine.process(key)
    stores.backups.replace([], "999999")
    engine.process(key)

    name = "default/b"
    assert recorder.told == [f"{name}:  -> Pending", f"{name}: Pending -> Executing", f"{name}: gone"]


def test_a_bug_with_one_object_and_a_key_of_a_foreign_kind_cost_nobody_else(cluster: Cluster) -> None:
    """Whoever may create a Job may name anything as its owner."""
    stores = Stores.of(())
    odd, good, recorder = backup(cluster, stores, "there", "odd"), backup(cluster, stores, "there"), Recorder(stores)
    engine = reconciler(cluster, stores, recorder)

    assert engine.process(odd).bug
    assert engine.process(Key("Deployment", "default", "x")) == Outcome("success")
    assert engine.process(good) == Outcome("success")


def test_the_log_says_why_a_backup_has_failed(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has the log alone; and of a good one nothing that it is not."""
    stores = Stores.of(())
    backup(cluster, stores, "there")
    observer = BackupObserver(
        stores, cluster, ControllerConfig(), now=lambda: NOW, line=lambda _: "", progress=lambda *_: None
    )
    engine = reconciler(cluster, stores, observer)
    spec = {"dataset": {"name": "there", "namespace": "other"}, "backupStorageLocationSpec": {"mountPath": "pvc://c/b"}}
    body = {"metadata": {"name": "wrong", "namespace": "default"}, "spec": spec}
    stores.backups.upsert(cluster.create(DATABACKUPS, "default", body))

    with caplog.at_level("INFO"):
        engine.process(Key("DataBackup", "default", "b"))
        engine.process(Key("DataBackup", "default", "wrong"))

    said = [record.getMessage().partition(":")[0] for record in caplog.records if "reconciler" in record.name]
    assert said == ["DatasetNotFound", "Idle", "CrossNamespace"]


def test_whoever_waits_for_a_turn_is_looked_at_again_without_an_event(cluster: Cluster) -> None:
    """That a pod of another is lost is seen by the clock alone."""
    stores, owner = Stores.of(()), {"kind": "Dataset", "name": "there", "uid": "u"}
    about = {"namespace": "default", "resourceVersion": "1", "annotations": {MASTERS: '["m:19998"]'}}
    about |= {"labels": {DATASET_UID: "u"}, "ownerReferences": [owner]}
    engine = reconciler(cluster, stores, Recorder(stores))
    stores.jobs.upsert({"metadata": {**about, "name": "runs", "uid": "a"}, "spec": {}})
    assert engine.process(ADMISSION) == Outcome("success")
    stores.jobs.upsert({"metadata": {**about, "name": "waits", "uid": "b"}, "spec": {"suspend": True}})
    assert engine.process(ADMISSION).result == "requeue_after"
    assert "overlaps" in engine.line("default/waits")
