"""What devcluster claims of the Kubernetes API, as tests that run against it and against a real kube-apiserver.

The importing module gives the fixture ``api``, a Cluster with every right, and says ``from tests.contract import *``. A
namespace is made for each test. Nothing here needs a controller, except where the name of the test says so.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controllers.kube import errors
from controllers.kube.client import Cluster
from controllers.kube.resources import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from controllers.kube.transport import Request

Obj = dict[str, Any]
WIDGETS = Resource("contract.example.org", "v1", "widgets", "Widget")
_TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
_SETS = {"serviceName": "a", "replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": _TEMPLATE}
#: What a runtime is made of beside its claim.
PLAIN: dict[Resource, Obj] = {
    CONFIGMAPS: {"data": {"key": "value"}},
    SECRETS: {"stringData": {"token": "value"}},
    SERVICES: {"spec": {"clusterIP": "None", "selector": {"app": "a"}, "ports": [{"port": 19998}]}},
    STATEFULSETS: {"spec": _SETS},
}
BINDINGS = Resource("", "v1", "bindings", "Binding")
_SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer"},
        "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
_STATUS = {"type": "object", "properties": {"phase": {"type": "string"}}}
CRD: Obj = {
    "metadata": {"name": "widgets.contract.example.org"},
    "spec": {
        "group": WIDGETS.group,
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC, "status": _STATUS}},
                },
            }
        ],
    },
}


@pytest.fixture(scope="session")
def widgets(api: Cluster) -> Resource:
    """Return a custom resource that the server serves."""
    api.create(CUSTOMRESOURCEDEFINITIONS, "", CRD)
    eventually(lambda: _is_served(api))
    return WIDGETS


def _is_served(api: Cluster) -> bool:
    try:
        api.list_page(WIDGETS)
    except errors.NotFound:
        return False
    return True


@pytest.fixture
def space(api: Cluster) -> str:
    """Return a new namespace; it is not removed, as that takes seconds on a real server."""
    return str(
        api.create(NAMESPACES, "", {"metadata": {"name": f"contract-{uuid.uuid4().hex[:8]}"}})["metadata"]["name"]
    )


def eventually(true: Callable[[], Any], seconds: float = 50.0) -> Any:
    """Return the first true answer; a real server's controllers take their time."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.05)
    return found


def widget(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Obj:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"size": 1} | spec}


def pod(name: str, **spec: Any) -> Obj:
    container = {"name": "main", "image": "example.org/none", "command": ["true"]}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [container], "automountServiceAccountToken": False} | spec,
    }


def send(
    api: Cluster,
    method: str,
    path: str,
    query: Obj | None = None,
    body: Obj | None = None,
    kind: str = "application/json",
) -> Obj:
    """Send what Cluster has no method for."""
    found = api._transport.exchange(Request(method, path, "contract", query or {}, body, kind), 10.0)
    return json.loads(found) if found else {}


def read(api: Cluster, path: str, query: Obj, until: Callable[[Obj], bool]) -> list[Obj]:
    """Return the events of a watch up to the first that ``until`` is true of."""
    response = api._transport.send(Request("GET", path, "watch", {"watch": "true", "timeoutSeconds": 20} | query), 25.0)
    seen: list[Obj] = []
    for line in _lines(response):
        seen.append(json.loads(line))
        if until(seen[-1]):
            break
    response.close()
    return seen


def _lines(response: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)


def named(name: str, kind: str) -> Callable[[Obj], bool]:
    return lambda event: event["type"] == kind and event["object"]["metadata"]["name"] == name


def status_of(error: pytest.ExceptionInfo[errors.KubeError]) -> tuple[int, str]:
    return error.value.status, error.value.reason


# Objects and their versions


def test_a_created_object_has_what_the_server_gives(api: Cluster, widgets: Resource, space: str) -> None:
    made = api.create(widgets, space, widget("a"))

    meta = made["metadata"]
    assert (made["apiVersion"], made["kind"], meta["namespace"], meta["generation"]) == (
        widgets.api_version, "Widget", space, 1,
    )  # fmt: skip
    assert len(meta["uid"]) == 36
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 0


def test_a_second_create_is_409_already_exists(api: Cluster, widgets: Resource, space: str) -> None:
    api.create(widgets, space, widget("a"))
    with pytest.raises(errors.AlreadyExists, match='widgets.contract.example.org "a" already exists') as error:
        api.create(widgets, space, widget("a"))

    assert status_of(error) == (409, "AlreadyExists")


def test_what_is_not_there_is_404(api: Cluster, widgets: Resource, space: str) -> None:
    with pytest.raises(errors.NotFound, match='widgets.contract.example.org "nope" not found') as error:
        api.get(widgets, space, "nope")
    with pytest.raises(errors.NotFound, match='pods "nope" not found'):
        api.delete(PODS, space, "nope")
    with pytest.raises(errors.NotFound):
        api.get(Resource("no.example.org", "v1", "things", "Thing"), space, "nope")

    assert status_of(error) == (404, "NotFound")


def test_a_namespace_must_exist(api: Cluster, widgets: Resource) -> None:
    with pytest.raises(errors.NotFound, match='namespaces "no-such-space" not found'):
        api.create(CONFIGMAPS, "no-such-space", {"metadata": {"name": "a"}})


def test_every_change_has_a_higher_resource_version(api: Cluster, widgets: Resource, space: str) -> None:
    first = api.create(widgets, space, widget("a"))
    other = api.create(CONFIGMAPS, space, {"metadata": {"name": "a"}})
    second = api.merge_patch(widgets, space, "a", {"spec": {"size": 2}})

    versions = [int(obj["metadata"]["resourceVersion"]) for obj in (first, other, second)]
    assert versions == sorted(set(versions))


def test_generation_counts_changes_of_the_spec_alone(api: Cluster, widgets: Resource, space: str) -> None:
    api.create(widgets, space, widget("a"))
    labelled = api.merge_patch(widgets, space, "a", {"metadata": {"labels": {"x": "y"}}})
    told = api.merge_patch(widgets, space, "a", {"status": {"phase": "Good"}}, "status")
    changed = api.merge_patch(widgets, space, "a", {"spec": {"size": 2}})

    assert [obj["metadata"]["generation"] for obj in (labelled, told, changed)] == [1, 1, 2]


def test_a_write_that_changes_nothing_keeps_the_version(api: Cluster, widgets: Resource, space: str) -> None:
    made = api.create(widgets, space, widget("a"))
    told = api.merge_patch(widgets, space, "a", {"status": {"phase": "Good"}}, "status")

    assert api.merge_patch(widgets, space, "a", {"status": {"phase": "Good"}}, "status") == told
    assert api.merge_patch(widgets, space, "a", {"spec": {"size": 1}}) == told
    assert api.replace(widgets, told) == told
    assert made["metadata"]["resourceVersion"] != told["metadata"]["resourceVersion"]


# Preconditions


def test_a_stale_put_is_409_conflict(api: Cluster, widgets: Resource, space: str) -> None:
    stale = api.create(widgets, space, widget("a"))
    api.merge_patch(widgets, space, "a", {"spec": {"size": 2}})
    with pytest.raises(errors.Conflict, match="the object has been modified; please apply your changes") as error:
        api.replace(widgets, stale)
    with pytest.raises(errors.Conflict):
        api.replace_status(widgets, stale | {"status": {"phase": "Bad"}})

    assert status_of(error) == (409, "Conflict")


def test_a_merge_patch_with_a_stale_version_is_409(api: Cluster, widgets: Resource, space: str) -> None:
    stale = api.create(widgets, space, widget("a"))
    api.merge_patch(widgets, space, "a", {"spec": {"size": 2}})
    version = {"resourceVersion": stale["metadata"]["resourceVersion"]}
    with pytest.raises(errors.Conflict) as error:
        api.merge_patch(widgets, space, "a", {"metadata": version, "spec": {"size": 3}})

    assert status_of(error) == (409, "Conflict")


def test_a_put_without_version_is_refused_for_custom_resources(api: Cluster, widgets: Resource, space: str) -> None:
    api.create(widgets, space, widget("a"))
    with pytest.raises((errors.Invalid, errors.Conflict)):
        api.replace(widgets, {"metadata": {"name": "a", "namespace": space}, "spec": {"size": 2}})


def test_a_stale_lease_is_409(api: Cluster, space: str) -> None:
    stale = api.create(LEASES, space, {"metadata": {"name": "a"}, "spec": {"holderIdentity": "one"}})
    api.replace(LEASES, stale | {"spec": {"holderIdentity": "two"}})
    with pytest.raises(errors.Conflict):
        api.replace(LEASES, stale | {"spec": {"holderIdentity": "three"}})


def test_a_delete_with_another_uid_or_version_is_409(api: Cluster, widgets: Resource, space: str) -> None:
    made = api.create(widgets, space, widget("a"))
    with pytest.raises(errors.Conflict):
        api.delete(widgets, space, "a", uid="1234")
    with pytest.raises(errors.Conflict):
        api.delete(widgets, space, "a", resource_version="1")
    api.delete(widgets, space, "a", uid=made["metadata"]["uid"], resource_version=made["metadata"]["resourceVersion"])

    with pytest.raises(errors.NotFound):
        api.get(widgets, space, "a")


# Patches and the status subresource


def test_a_null_in_a_merge_patch_removes(api: Cluster, widgets: Resource, space: str) -> None:
    api.create(widgets, space, widget("a", labels={"x": "1", "y": "2"}, free={"p": 1}))
    new = api.merge_patch(widgets, space, "a", {"metadata": {"labels": {"x": None}}, "spec": {"free": None}})

    assert new["metadata"]["labels"] == {"y": "2"}
    assert "free" not in new["spec"]


def test_status_and_the_rest_are_written_apart(api: Cluster, widgets: Resource, space: str) -> None:
    made = api.create(widgets, space, widget("a") | {"status": {"phase": "Ignored"}})
    assert "status" not in made
    both = {"spec": {"size": 9}, "status": {"phase": "Good"}}
    told = api.merge_patch(widgets, space, "a", both, "status")
    assert (told["spec"]["size"], told["status"]) == (1, {"phase": "Good"})
    changed = api.merge_patch(widgets, space, "a", {"spec": {"size": 9}, "status": {"phase": "Bad"}})

    assert (changed["spec"]["size"], changed["status"]) == (9, {"phase": "Good"})


def test_a_strategic_merge_of_a_custom_resource_is_415(api: Cluster, widgets: Resource, space: str) -> None:
    api.create(widgets, space, widget("a"))
    path, kind = widgets.path(space, "a"), "application/strategic-merge-patch+json"
    with pytest.raises(errors.Invalid) as error:
        send(api, "PATCH", path, body={"spec": {"size": 2}}, kind=kind)

    assert status_of(error) == (415, "UnsupportedMediaType")


# Schemas


def test_unknown_fields_are_pruned_and_defaults_filled_in(api: Cluster, widgets: Resource, space: str) -> None:
    made = api.create(widgets, space, widget("a", unknown=1, free={"any": [1]}))

    assert made["spec"] == {"size": 1, "colour": "red", "free": {"any": [1]}}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"size": "x"}, "spec.size", id="type"),
        pytest.param({"colour": "green"}, "spec.colour", id="enum"),
    ],
)
def test_what_the_schema_refuses_is_422_with_the_field(
    api: Cluster, widgets: Resource, space: str, spec: Obj, field: str
) -> None:
    with pytest.raises(errors.Invalid, match=f'Widget.contract.example.org "a" is invalid.*{field}: ') as error:
        api.create(widgets, space, widget("a", **spec))

    assert status_of(error) == (422, "Invalid")
    assert field in [cause["field"] for cause in error.value.details["causes"]]


def test_the_schema_holds_for_the_status_too(api: Cluster, widgets: Resource, space: str) -> None:
    api.create(widgets, space, widget("a"))
    with pytest.raises(errors.Invalid, match="status.phase"):
        api.merge_patch(widgets, space, "a", {"status": {"phase": 1}}, "status")


# Deletion


def test_a_finalizer_holds_what_is_being_deleted(api: Cluster, widgets: Resource, space: str) -> None:
    body = widget("a")
    body["metadata"]["finalizers"] = ["example.org/hold"]
    api.create(widgets, space, body)
    api.delete(widgets, space, "a")
    held = api.get(widgets, space, "a")
    assert "deletionTimestamp" in held["metadata"]
    assert held["metadata"]["generation"] == 2
    api.merge_patch(widgets, space, "a", {"metadata": {"finalizers": []}})

    with pytest.raises(errors.NotFound):
        api.get(widgets, space, "a")


def test_an_unbound_pod_goes_at_once_and_a_bound_one_waits_for_its_node(api: Cluster, space: str) -> None:
    for name in ("free", "bound"):
        api.create(PODS, space, pod(name, terminationGracePeriodSeconds=20))
    bind(api, space, "bound")
    for name in ("free", "bound"):
        api.delete(PODS, space, name)
    with pytest.raises(errors.NotFound):
        api.get(PODS, space, "free")
    waiting = api.get(PODS, space, "bound")
    assert waiting["metadata"]["deletionGracePeriodSeconds"] == 20
    api.merge_patch(PODS, space, "bound", {"status": {"phase": "Failed"}}, "status")
    api.delete(PODS, space, "bound", uid=waiting["metadata"]["uid"], grace_seconds=0)

    with pytest.raises(errors.NotFound):
        api.get(PODS, space, "bound")


def bind(api: Cluster, space: str, name: str) -> None:
    target = {"apiVersion": "v1", "kind": "Node", "name": "contract-no-such-node"}
    api.create(BINDINGS, space, {"metadata": {"name": name}, "target": target})


def test_a_pod_is_bound_once(api: Cluster, space: str) -> None:
    api.create(PODS, space, pod("a"))
    bind(api, space, "a")
    bound = api.get(PODS, space, "a")
    assert bound["spec"]["nodeName"] == "contract-no-such-node"
    with pytest.raises(errors.Conflict, match="already assigned to node") as error:
        bind(api, space, "a")

    assert status_of(error) == (409, "Conflict")


def test_a_patch_with_another_uid_is_refused(api: Cluster, space: str) -> None:
    api.create(PODS, space, pod("a"))
    body = {"metadata": {"uid": "1234"}, "status": {"phase": "Running"}}
    with pytest.raises((errors.Invalid, errors.Conflict)):
        api.merge_patch(PODS, space, "a", body, "status")


def test_a_new_pod_is_pending_and_its_phase_may_go_back(api: Cluster, space: str) -> None:
    assert api.create(PODS, space, pod("a") | {"status": {"phase": "Running"}})["status"]["phase"] == "Pending"
    for phase in ("Succeeded", "Running"):
        assert api.merge_patch(PODS, space, "a", {"status": {"phase": phase}}, "status")["status"]["phase"] == phase


def test_logs_of_a_pod_without_a_node_are_empty(api: Cluster, space: str) -> None:
    api.create(PODS, space, pod("a"))

    assert api.pod_log(space, "a") == ""


def test_a_dependent_goes_with_its_owner_by_the_garbage_collector(api: Cluster, space: str) -> None:
    owner = api.create(CONFIGMAPS, space, {"metadata": {"name": "owner"}})
    ref = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    api.create(CONFIGMAPS, space, {"metadata": {"name": "child", "ownerReferences": [ref]}})
    api.delete(CONFIGMAPS, space, "owner")

    eventually(lambda: _is_gone(api, CONFIGMAPS, space, "child"))


def _is_gone(api: Cluster, res: Resource, space: str, name: str) -> bool:
    try:
        api.get(res, space, name)
    except errors.NotFound:
        return True
    return False


@pytest.mark.parametrize("kind", list(PLAIN), ids=str)
def test_what_a_runtime_is_made_of_is_made_once_patched_and_found_by_its_label(
    api: Cluster, space: str, kind: Resource
) -> None:
    body = {"metadata": {"name": "a", "labels": {"mine": "yes"}}, **PLAIN[kind]}
    made = api.create(kind, space, body)
    with pytest.raises(errors.AlreadyExists):
        api.create(kind, space, body)
    api.create(kind, space, {**body, "metadata": {"name": "b"}})
    patch = {"metadata": {"annotations": {"x": "y"}, "resourceVersion": made["metadata"]["resourceVersion"]}}

    assert api.merge_patch(kind, space, "a", patch)["metadata"]["annotations"] == {"x": "y"}
    with pytest.raises(errors.Conflict):
        api.merge_patch(kind, space, "a", patch)
    assert [obj["metadata"]["name"] for obj in api.list_page(kind, space, "mine=yes")[0]] == ["a"]
    api.delete(kind, space, "a", uid=made["metadata"]["uid"])
    eventually(lambda: _is_gone(api, kind, space, "a"))


# Lists


def test_a_list_in_pages_shows_the_state_of_its_first_page(api: Cluster, widgets: Resource, space: str) -> None:
    for index in range(5):
        api.create(widgets, space, widget(f"w{index}"))
    first, version, token = api.list_page(widgets, space, limit=2)
    api.delete(widgets, space, "w3")
    api.create(widgets, space, widget("w9"))
    rest, same, end = api.list_page(widgets, space, limit=10, continue_token=token)

    assert [obj["metadata"]["name"] for obj in first + rest] == ["w0", "w1", "w2", "w3", "w4"]
    assert (same, end) == (version, "")


def test_labels_select(api: Cluster, widgets: Resource, space: str) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2", "y": "3"}), ("c", {})):
        api.create(widgets, space, widget(name, labels=labels))

    def found(selector: str) -> str:
        return "".join(obj["metadata"]["name"] for obj in api.list_page(widgets, space, selector)[0])

    rows = {"": "abc", "x=1": "a", "x==2": "b", "x=2,y=3": "b", "x=1,y=3": ""}
    assert {selector: found(selector) for selector in rows} == rows


def test_an_event_is_found_by_what_it_regards(api: Cluster, space: str) -> None:
    for name, kind in (("a", "Warning"), ("b", "Normal")):
        api.create(EVENTS, space, event(space, name, kind, "uid-1"))
    api.create(EVENTS, space, event(space, "c", "Warning", "uid-2"))
    found, _, _ = api.list_page(EVENTS, space, field_selector="regarding.uid=uid-1,type=Warning")

    assert [obj["metadata"]["name"] for obj in found] == ["a"]


def event(space: str, name: str, kind: str, uid: str) -> Obj:
    return {
        "metadata": {"name": name},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "action": "Test",
        "reason": "Testing",
        "type": kind,
        "note": "a test",
        "reportingController": "contract",
        "reportingInstance": "contract",
        "regarding": {"kind": "Job", "namespace": space, "name": "x", "uid": uid},
    }


# Watches


def test_a_watch_from_a_list_shows_every_later_change_once(api: Cluster, widgets: Resource, space: str) -> None:
    api.create(widgets, space, widget("before"))
    _, version, _ = api.list_page(widgets, space)
    api.create(widgets, space, widget("a"))
    api.merge_patch(widgets, space, "a", {"spec": {"size": 2}})
    last = api.merge_patch(widgets, space, "a", {"status": {"phase": "Good"}}, "status")
    api.delete(widgets, space, "a")
    seen = read(api, widgets.path(space), {"resourceVersion": version}, named("a", "DELETED"))

    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    assert versions == sorted(set(versions))
    assert seen[-1]["object"]["status"] == last["status"]
    assert versions[-1] > int(last["metadata"]["resourceVersion"])


def test_an_object_that_leaves_the_selection_is_deleted_for_the_watch(
    api: Cluster, widgets: Resource, space: str
) -> None:
    _, version, _ = api.list_page(widgets, space)
    api.create(widgets, space, widget("other"))
    api.create(widgets, space, widget("a", labels={"x": "1"}))
    api.merge_patch(widgets, space, "a", {"metadata": {"labels": {"x": "2"}}})
    api.merge_patch(widgets, space, "other", {"metadata": {"labels": {"x": "1"}}})
    query = {"resourceVersion": version, "labelSelector": "x=1"}
    seen = read(api, widgets.path(space), query, named("other", "ADDED"))

    got = [(event["type"], event["object"]["metadata"]["name"]) for event in seen]
    assert got == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "other")]


def test_a_watch_from_too_old_a_version_is_200_and_then_error_410(api: Cluster, widgets: Resource, space: str) -> None:
    seen = read(api, widgets.path(space), {"resourceVersion": "1"}, lambda event: True)

    assert seen[0]["type"] == "ERROR"
    assert (seen[0]["object"]["code"], seen[0]["object"]["reason"]) == (410, "Expired")


def test_a_watch_ends_after_its_seconds(api: Cluster, widgets: Resource, space: str) -> None:
    query = {"timeoutSeconds": 1, "resourceVersion": api.list_page(widgets, space)[1]}

    assert read(api, widgets.path(space), query, lambda event: False) == []


# Jobs and volumes


def job(name: str, **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": "contract"}}, "spec": pod("")["spec"] | {"restartPolicy": "Never"}}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template} | spec}


def conditions(obj: Obj) -> dict[str, tuple[str, str]]:
    found = obj.get("status", {}).get("conditions", ())
    return {each["type"]: (each["status"], each["reason"]) for each in found}


def only_pod(api: Cluster, space: str) -> Obj:
    return dict(eventually(lambda: api.list_page(PODS, space)[0])[0])


def test_a_job_makes_one_pod_that_belongs_to_it(api: Cluster, space: str) -> None:
    made = api.create(JOBS, space, job("a"))
    found = only_pod(api, space)

    uid = made["metadata"]["uid"]
    assert {"app": "contract", "job-name": "a"}.items() <= found["metadata"]["labels"].items()
    assert found["metadata"]["name"].startswith("a-")
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Job", uid, True)
    assert eventually(lambda: api.get(JOBS, space, "a").get("status", {}).get("startTime"))


def test_a_job_whose_pod_succeeds_is_complete(api: Cluster, space: str) -> None:
    api.create(JOBS, space, job("a"))
    name = only_pod(api, space)["metadata"]["name"]
    api.merge_patch(PODS, space, name, {"status": {"phase": "Succeeded"}}, "status")
    done = eventually(lambda: (now := api.get(JOBS, space, "a")) and "Complete" in conditions(now) and now)

    assert conditions(done)["Complete"] == ("True", "CompletionsReached")
    assert done["status"]["succeeded"] == 1


def test_a_job_whose_pod_fails_has_failed_with_backoff_limit_0(api: Cluster, space: str) -> None:
    api.create(JOBS, space, job("a"))
    name = only_pod(api, space)["metadata"]["name"]
    api.merge_patch(PODS, space, name, {"status": {"phase": "Failed"}}, "status")
    done = eventually(lambda: (now := api.get(JOBS, space, "a")) and "Failed" in conditions(now) and now)

    assert conditions(done)["Failed"] == ("True", "BackoffLimitExceeded")
    assert done["status"]["failed"] == 1


def test_a_suspended_job_has_no_pod_until_it_is_resumed_and_loses_it_again(api: Cluster, space: str) -> None:
    api.create(JOBS, space, job("a", suspend=True))
    assert api.list_page(PODS, space)[0] == []
    api.merge_patch(JOBS, space, "a", {"spec": {"suspend": False}})
    only_pod(api, space)
    eventually(lambda: "startTime" in api.get(JOBS, space, "a")["status"])
    api.merge_patch(JOBS, space, "a", {"spec": {"suspend": True}})

    eventually(lambda: api.list_page(PODS, space)[0] == [])
    eventually(lambda: "startTime" not in api.get(JOBS, space, "a")["status"])
    assert not api.get(JOBS, space, "a")["status"].get("failed")


def test_a_job_ends_at_its_deadline(api: Cluster, space: str) -> None:
    api.create(JOBS, space, job("a", activeDeadlineSeconds=1))
    only_pod(api, space)
    done = eventually(lambda: (now := api.get(JOBS, space, "a")) and "Failed" in conditions(now) and now)

    assert conditions(done)["Failed"] == ("True", "DeadlineExceeded")
    eventually(lambda: api.list_page(PODS, space)[0] == [])


def test_a_disrupted_pod_is_replaced_and_not_counted(api: Cluster, space: str) -> None:
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    rules = [{"action": "Ignore", "onPodConditions": [disrupted]}]
    api.create(JOBS, space, job("a", podFailurePolicy={"rules": rules}))
    first = only_pod(api, space)["metadata"]["name"]
    status = {"phase": "Failed", "conditions": [disrupted | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    api.merge_patch(PODS, space, first, {"status": status}, "status")
    eventually(lambda: {obj["metadata"]["name"] for obj in api.list_page(PODS, space)[0]} - {first})

    assert "Failed" not in conditions(api.get(JOBS, space, "a"))
    assert not api.get(JOBS, space, "a")["status"].get("failed")


def test_a_deleted_job_takes_its_pod_along_by_the_garbage_collector(api: Cluster, space: str) -> None:
    api.create(JOBS, space, job("a"))
    only_pod(api, space)
    api.delete(JOBS, space, "a", propagation="Background")

    eventually(lambda: api.list_page(PODS, space)[0] == [])


def volume(space: str) -> tuple[Obj, Obj]:
    """Return a volume and a claim that are made for each other."""
    size, modes = {"storage": "1Gi"}, ["ReadOnlyMany"]
    name = f"contract-{space}"
    csi = {"driver": "example.org", "volumeHandle": name}
    ref = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": space, "name": "data"}
    spec = {"capacity": size, "accessModes": modes, "csi": csi, "claimRef": ref, "storageClassName": "none"}
    wanted = {"accessModes": modes, "volumeName": name, "storageClassName": "none"}
    return (
        {"metadata": {"name": name}, "spec": spec | {"persistentVolumeReclaimPolicy": "Retain"}},
        {"metadata": {"name": "data"}, "spec": wanted | {"resources": {"requests": size}}},
    )


def phase(api: Cluster, res: Resource, space: str, name: str) -> str:
    return str(api.get(res, space, name)["status"].get("phase"))


def test_a_volume_and_a_claim_made_for_each_other_are_bound(api: Cluster, space: str) -> None:
    pv, pvc = volume(space)
    name = pv["metadata"]["name"]
    api.create(PERSISTENTVOLUMES, "", pv)
    api.create(PERSISTENTVOLUMECLAIMS, space, pvc)
    eventually(lambda: phase(api, PERSISTENTVOLUMECLAIMS, space, "data") == "Bound")
    claim = api.get(PERSISTENTVOLUMECLAIMS, space, "data")
    eventually(lambda: phase(api, PERSISTENTVOLUMES, "", name) == "Bound")
    assert api.get(PERSISTENTVOLUMES, "", name)["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    api.delete(PERSISTENTVOLUMECLAIMS, space, "data")
    eventually(lambda: phase(api, PERSISTENTVOLUMES, "", name) == "Released")
    api.delete(PERSISTENTVOLUMES, "", name)

    eventually(lambda: _is_gone(api, PERSISTENTVOLUMES, "", name))


def test_a_claim_stays_while_a_pod_on_a_node_names_it_even_one_that_has_ended(api: Cluster, space: str) -> None:
    api.create(PERSISTENTVOLUMECLAIMS, space, volume(space)[1])
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    api.create(PODS, space, pod("user", volumes=volumes))
    bind(api, space, "user")
    held = "kubernetes.io/pvc-protection"
    eventually(lambda: held in api.get(PERSISTENTVOLUMECLAIMS, space, "data")["metadata"].get("finalizers", ()))
    api.delete(PERSISTENTVOLUMECLAIMS, space, "data")
    assert "deletionTimestamp" in api.get(PERSISTENTVOLUMECLAIMS, space, "data")["metadata"]
    api.merge_patch(PODS, space, "user", {"status": {"phase": "Succeeded"}}, "status")
    assert "deletionTimestamp" in api.get(PERSISTENTVOLUMECLAIMS, space, "data")["metadata"]
    api.delete(PODS, space, "user", grace_seconds=0)

    eventually(lambda: _is_gone(api, PERSISTENTVOLUMECLAIMS, space, "data"))


# The rest


def test_the_server_says_its_version(api: Cluster) -> None:
    assert api.server_version()["gitVersion"].startswith("v1.")
