"""Writing a decision: safe after a crash before or after every write, and never at the cost of somebody else's."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.api.alluxioruntime import AlluxioRuntimeStatus
from controllers.api.crd import KINDS, definition
from controllers.apply import CREATED, Applier, Refused
from controllers.decision import Create, Decision, Delete, Patch, SetFinalizers
from controllers.jobs import SCHEDULE_UID, owner_reference
from controllers.kube.client import Cluster
from controllers.kube.errors import Conflict, Forbidden
from controllers.kube.resources import (
    ALLUXIORUNTIMES,
    CONFIGMAPS,
    DATABACKUPS,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    SCHEDULEDDATABACKUPS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from controllers.stores import Stores
from devcluster import ApiServer

Obj = dict[str, Any]
CHILDREN = (CONFIGMAPS, SECRETS, SERVICES, PERSISTENTVOLUMECLAIMS, STATEFULSETS)
WRITES = ("create", "merge_patch", "replace_status", "delete")
_numbers = itertools.count()


class Crash(BaseException):  # noqa: N818  no except Exception may stop it
    """The process dies here."""


class Dying:
    """A cluster whose client dies before, or after, its n-th write."""

    def __init__(self, cluster: Cluster, number: int, *, after: bool) -> None:
        self._cluster, self._left, self._after = cluster, number, after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._cluster, name)
        return (lambda *args, **options: self._write(call, *args, **options)) if name in WRITES else call

    def _write(self, call: Any, *args: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Crash
        answer = call(*args, **options)
        if self._left == 0:
            raise Crash
        return answer


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A client of an API server that knows our kinds."""
    kubeconfig: Path = tmp_path_factory.mktemp("apply") / "kubeconfig"
    with ApiServer([definition(kind) for kind in KINDS]) as server:
        server.write_kubeconfig(kubeconfig)
        client = Cluster.connect(str(kubeconfig), pool_size=2, user_agent="test")
        yield client
        client.close()


@pytest.fixture
def space(cluster: Cluster) -> str:
    """A namespace of this test alone."""
    name = f"space-{next(_numbers)}"
    cluster.create(NAMESPACES, "", {"metadata": {"name": name}})
    return name


def runtime(cluster: Cluster, space: str) -> Obj:
    """An AlluxioRuntime with two StatefulSets that it had made before."""
    made = cluster.create(ALLUXIORUNTIMES, space, {"metadata": {"name": "one", "namespace": space}, "spec": {}})
    for name in ("grown", "old"):
        cluster.create(STATEFULSETS, space, child(made, STATEFULSETS, name))
    return cluster.get(ALLUXIORUNTIMES, space, "one")


def child(owner: Obj, resource: Resource, name: str = "made") -> Obj:
    """The body of a child, as a decision has it."""
    meta = owner["metadata"]
    owners = [owner_reference(meta["name"], meta["uid"], owner["kind"])]
    body: Obj = {"metadata": {"name": name, "ownerReferences": owners}}
    return body if resource in (CONFIGMAPS, SECRETS) else {**body, "spec": {"replicas": 1}}


def decision(cluster: Cluster, space: str, obj: Obj) -> Decision:
    """A decision with every kind of write; what is gone already is not deleted again, as an observer would see."""
    sets = {item["metadata"]["name"]: item["metadata"]["uid"] for item in cluster.list_all(STATEFULSETS, space)[0]}
    doomed = [Delete("StatefulSet", "old", sets["old"])] if "old" in sets else []
    made = [Create(resource.kind, child(obj, resource)) for resource in CHILDREN]
    grown = Patch("StatefulSet", "grown", sets["grown"], {"spec": {"replicas": 3}})
    status = AlluxioRuntimeStatus(master_phase="Ready")
    return Decision(status, SetFinalizers(("data.fluid.io/test",)), children=(*made, grown, *doomed))


def state(cluster: Cluster, space: str) -> list[tuple[str, str, Any, Any, Any]]:
    """All that stands in a namespace, without what differs from one to the other."""
    found = [item for res in (ALLUXIORUNTIMES, *CHILDREN) for item in cluster.list_all(res, space)[0]]
    return [
        (item["kind"], item["metadata"]["name"], item["metadata"].get("finalizers"), item.get("spec"), item["status"])
        for item in ({"status": None, **obj} for obj in found)
    ]


def applied(cluster: Any, space: str) -> None:
    """One pass of a new process: read, decide, write."""
    obj = cluster.get(ALLUXIORUNTIMES, space, "one")
    Applier(cluster, Stores.of(()), lambda: True).apply(obj, decision(cluster, space, obj))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, 10))
def test_a_crash_before_or_after_any_write_leaves_what_the_next_pass_completes(
    cluster: Cluster, space: str, number: int, after: bool
) -> None:
    """In the end everything stands as if nothing had happened, and nothing stands twice."""
    undisturbed = f"{space}-undisturbed"
    cluster.create(NAMESPACES, "", {"metadata": {"name": undisturbed}})
    runtime(cluster, undisturbed)
    applied(cluster, undisturbed)
    runtime(cluster, space)

    with pytest.raises(Crash):
        applied(Dying(cluster, number, after=after), space)
    applied(cluster, space)

    assert state(cluster, space) == state(cluster, undisturbed)
    assert len(state(cluster, space)) == 1 + len(CHILDREN) + 1


@pytest.mark.parametrize("kind", sorted(set(CREATED) - {"DataBackup", "PersistentVolume"}))
def test_what_somebody_else_has_under_that_name_is_left_alone_and_a_person_is_told(
    cluster: Cluster, space: str, kind: str
) -> None:
    """It is not ours by its name alone; the reason says of which kind it is."""
    obj = runtime(cluster, space)
    theirs = {"metadata": {"name": "made"}, "spec": {"theirs": True}}
    before = cluster.create(CREATED[kind], space, theirs)

    with pytest.raises(Refused) as refused:
        apply(cluster, obj, Create(kind, child(obj, CREATED[kind])))

    expected = {"PersistentVolumeClaim": "ClaimConflict"}.get(kind, f"{kind}Conflict")
    assert refused.value.problem.reason == expected
    assert f"a {kind} made exists that is not ours" in refused.value.problem.message
    assert cluster.get(CREATED[kind], space, "made") == before


def test_a_secret_of_that_name_is_never_read_and_never_written_again(cluster: Cluster, space: str) -> None:
    """The token that is there stays: nobody here may read Secrets, so nobody can compare it."""
    obj = runtime(cluster, space)
    secret = child(obj, SECRETS)
    for token in ("first", "second"):
        apply(cluster, obj, Create("Secret", {**secret, "stringData": {"token": token}}))

    assert cluster.get(SECRETS, space, "made")["stringData"] == {"token": "first"}


def test_a_patch_is_for_exactly_the_object_that_was_meant(cluster: Cluster, space: str) -> None:
    """Not for one of the same name that was made since, and not for one that is not ours."""
    obj = runtime(cluster, space)
    cluster.create(STATEFULSETS, space, {"metadata": {"name": "theirs"}, "spec": {"replicas": 1}})

    with pytest.raises(Conflict):
        apply(cluster, obj, Patch("StatefulSet", "grown", "another-uid", {"spec": {"replicas": 3}}))
    with pytest.raises(Refused):
        apply(cluster, obj, Patch("StatefulSet", "theirs", "", {"spec": {"replicas": 3}}))

    sets = cluster.list_all(STATEFULSETS, space)[0]
    assert {item["spec"]["replicas"] for item in sets} == {1}


def test_a_backup_belongs_to_the_schedule_whose_label_it_has(cluster: Cluster, space: str) -> None:
    """It outlives its schedule, so it has no owner; the one that the schedule made for a slot is as good as made."""
    wanted = {"dataset": {"name": "d"}, "backupStorageLocationSpec": {"mountPath": "pvc://c/b"}}
    spec = {"schedule": "0 3 * * *", "template": {"spec": wanted}}
    schedule = cluster.create(SCHEDULEDDATABACKUPS, space, {"metadata": {"name": "s"}, "spec": spec})
    body = {"metadata": {"name": "b", "labels": {SCHEDULE_UID: schedule["metadata"]["uid"]}}, "spec": wanted}
    cluster.create(DATABACKUPS, space, {"metadata": {"name": "other"}, "spec": wanted})

    for _ in range(2):
        apply(cluster, schedule, Create("DataBackup", body))
    with pytest.raises(Refused) as refused:
        apply(cluster, schedule, Create("DataBackup", {**body, "metadata": {**body["metadata"], "name": "other"}}))

    assert refused.value.problem.reason == "DataBackupConflict"
    assert len(cluster.list_all(DATABACKUPS, space)[0]) == 2


@pytest.mark.parametrize(("cause", "reason"), [("NamespaceTerminating", "NamespaceTerminating"), ("", "Forbidden")])
def test_a_namespace_that_ends_has_a_reason_of_its_own(cluster: Cluster, space: str, cause: str, reason: str) -> None:
    """Who is deleted in it must wait for no Job that can never be created."""
    obj = runtime(cluster, space)

    class Full:
        """Refuses every creation."""

        def __getattr__(self, name: str) -> Any:
            return getattr(cluster, name)

        def create(self, *args: Any) -> Any:
            """Refuse."""
            raise Forbidden(403, "Forbidden", "no", details={"causes": [{"reason": cause}]})

    with pytest.raises(Refused) as refused:
        apply(Full(), obj, Create("Service", child(obj, SERVICES)))

    assert refused.value.problem.reason == reason


def apply(cluster: Any, obj: Obj, *children: Any) -> None:
    """Write these children."""
    Applier(cluster, Stores.of(()), lambda: True).apply(obj, Decision(children=children))
