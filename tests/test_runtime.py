"""The decision about an AlluxioRuntime: laws over every combination, and the objects that it makes."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from controllers.api import conditions as c
from controllers.api.alluxioruntime import quantity, spec_schema
from controllers.api.dataset import DatasetSpec, DatasetStatus, RestorePhase, RestoreStatus, RunStatus, StepStatus
from controllers.decision import Create, Decision, Delete, Patch
from controllers.observe_runtime import directories
from controllers.runtime import FINALIZER, DatasetView, Seen, children, decide
from controllers.runtime.pods import JOURNAL_LOST_EXIT
from controllers.runtime.properties import MASTER, WORKER, properties, render, without_effect
from controllers.runtime.view import STARTED_FROM, started_from
from tests.runtime_kit import DATASET_UID, SAMPLES, carried_out, pod, running, seen

CHECKSUM = "sha256:" + "1" * 64


def dataset(
    phase: RestorePhase | None = None, *, restores: bool = False, run: int = 1, staged: str = ""
) -> DatasetView:
    status = DatasetStatus(
        run=RunStatus(number=run, plan=("stage", "mount", "load", "size") if phase else ("mount", "load", "size")),
        restore=RestoreStatus(phase=phase, checksum=CHECKSUM if phase else ""),
        stage=StepStatus(completion_time=staged),
    )
    return DatasetView(DATASET_UID, status, restores)


DATASETS = (
    None,
    dataset(),
    dataset(restores=True, run=0),
    dataset(restores=True),
    *(dataset(phase, staged=staged) for phase in RestorePhase for staged in ("", "2026-11-24T00:00:00Z")),
    replace(dataset(), uid="another"),
)

BEFORE = (None, dataset(), dataset(RestorePhase.STAGING), dataset(RestorePhase.RESTORED))


def held(view: DatasetView | None) -> bool:
    """Whether no master may run, by the words of docs/design."""
    if view is None or view.uid != DATASET_UID:
        return True
    phase = view.status.restore.phase
    if phase is RestorePhase.ABANDONED:
        return not view.status.stage.completion_time
    begins = phase is None and view.restores and not view.status.run.number
    return begins or phase in (RestorePhase.STAGING, RestorePhase.FAILED)


def replicas(state: Seen) -> tuple[int, int]:
    return tuple(s["spec"]["replicas"] if s else 0 for s in (state.masters, state.workers))  # type: ignore[return-value]


def worlds() -> Iterator[Seen]:
    """Every combination of Dataset, children before, deletion, finalizer and spec."""
    specs: tuple[dict[str, Any], ...] = (*SAMPLES.values(), {"tieredstore": {"levels": [{"mediumtype": "TAPE"}]}}, {})
    for spec, view, deleting, before in itertools.product(specs, DATASETS, (False, True), BEFORE):
        start = seen(spec, dataset=before)
        old = carried_out(start, decide(start))
        yield replace(old, dataset=view, deleting=deleting)
        yield replace(running(old), dataset=view, deleting=deleting, finalizers=())


def test_every_combination_is_decided_and_no_master_runs_that_must_not() -> None:
    """Total, and idempotent but for what nobody watches, which is asked for again while no master serves.

    No master runs without its Dataset, nor while its journal is, or is still to be, laid out.
    """
    for state in worlds():
        after = carried_out(state, decide(state))
        assert state.deleting or not held(state.dataset) or replicas(after) == (0, 0), state.dataset
        again = decide(after)
        left = [child for child in again.children if not isinstance(child, Create) or child.kind == "StatefulSet"]
        assert not left or state.deleting, (state.dataset, left)
        settled = carried_out(after, again)
        assert decide(settled).status == settled.status or state.deleting


def test_a_master_starts_from_a_backup_exactly_while_one_lies_beside_its_journal() -> None:
    begun = (RestorePhase.STARTING, RestorePhase.VERIFYING, RestorePhase.RESTORED)
    for view in DATASETS[1:-1]:
        after = carried_out(seen(), decide(seen(dataset=view)))
        phase = view.status.restore.phase if view else None
        assert started_from(after.masters) == (CHECKSUM if phase in begun else "")
        init = properties("ml", "imagenet", after.spec, MASTER, restored=phase in begun)
        assert ("alluxio.master.journal.init.from.backup" in init) is (phase in begun)


def test_the_pods_change_when_the_backup_that_they_start_from_does() -> None:
    before = carried_out(seen(), decide(seen(dataset=dataset(RestorePhase.STAGING))))
    started = replace(before, dataset=dataset(RestorePhase.STARTING))
    patch = next(child for child in decide(started).children if isinstance(child, Patch))
    assert patch.body["spec"]["replicas"] == 1
    assert patch.body["spec"]["template"]["metadata"]["annotations"][STARTED_FROM] == CHECKSUM
    back = replace(carried_out(started, decide(started)), dataset=dataset(RestorePhase.STAGING))
    after = carried_out(back, decide(back))
    assert (replicas(after), started_from(after.masters)) == ((0, 0), "")


def test_a_journal_claim_that_a_person_deleted_is_made_anew_while_a_backup_is_to_be_staged() -> None:
    """No master runs then, and the Job that stages waits for the claim."""
    held = seen(dataset=dataset(RestorePhase.STAGING))
    after = running(carried_out(held, decide(held)))
    assert replicas(after) == (0, 0)
    assert "PersistentVolumeClaim" in [child.kind for child in decide(after).children if isinstance(child, Create)]


def test_a_runtime_that_runs_asks_for_nothing() -> None:
    for spec in SAMPLES.values():
        state = running(carried_out(seen(spec), decide(seen(spec))))
        decision = decide(state)
        assert decision.children == ()
        ready = c.find(carried_out(state, decision).status.conditions, c.READY)
        assert ready is not None
        assert ready.status == c.TRUE
        assert decision.status is not None
        assert decision.status.model_dump()["setup_duration"] == "30s"


def test_a_restored_master_finds_the_directories_above_its_mounts_and_an_edit_of_mounts_restarts_none() -> None:
    """Alluxio would forget them, and the mounts in them, with the first load."""
    restored = replace(dataset(RestorePhase.RESTORED), directories=("/dataset", "/dataset/$(a)/b"))
    master = pods_of(decide(seen(dataset=restored)))[0]
    root = "/var/lib/fluidctl/journal/root"
    assert master["initContainers"][0]["command"][-3:] == [root, f"{root}/dataset", f"{root}/dataset/$$(a)/b"]
    state = running(carried_out(seen(dataset=restored), decide(seen(dataset=restored))))
    assert decide(replace(state, dataset=replace(restored, directories=()))).children == ()


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["/"], ()),
        (["/a"], ("/dataset",)),
        (["/", "/a/b"], ()),
        (["/a/b", "/c", "/a/b/c/d"], ("/dataset", "/dataset/a")),
        (["/a/../../b", "/c"], ("/dataset",)),
    ],
)
def test_what_is_above_the_mounts_is_found(paths: list[str], found: tuple[str, ...]) -> None:
    assert directories(DatasetSpec.read({"mounts": [{"mountPoint": "s3://b/x", "path": p} for p in paths]})) == found


@pytest.mark.parametrize(
    ("made", "backup", "code", "formats"),
    [
        ((), "", 0, True),
        (("log/BlockMaster/v1/_format_1",), "", 0, True),  # killed in a format
        (("log/BlockMaster/v1/_format_1", "log/BlockMaster/v1/logs/0x0-0x1"), "", 0, False),
        (("log/BlockMaster/v1/checkpoints/0x1",), "restore/metadata.gz", 0, False),
        (("restore/metadata.gz",), "restore/metadata.gz", 0, True),
        ((), "restore/metadata.gz", JOURNAL_LOST_EXIT, False),
    ],
)
def test_only_a_journal_that_was_never_used_is_formatted(
    tmp_path: Path, made: tuple[str, ...], backup: str, code: int, formats: bool
) -> None:
    """The init container's own command, in a real shell; the program that formats only leaves a file here."""
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    program = tmp_path / "bin" / "alluxio"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/formatted\n')
    program.chmod(0o755)
    state = seen(dataset=dataset(RestorePhase.STARTING) if backup else dataset())
    command = pods_of(decide(state))[0]["initContainers"][0]["command"]
    here = [word.replace("/var/lib/fluidctl/journal", str(tmp_path)) for word in command]
    path = f"{program.parent}:{os.environ['PATH']}"

    assert subprocess.run(here, env={"PATH": path}, check=False).returncode == code
    assert (tmp_path / "formatted").exists() is formats
    assert (tmp_path / "root").is_dir()


def test_more_workers_are_one_patch_of_one_number() -> None:
    state = running(carried_out(seen(), decide(seen())))
    more = replace(state, spec=state.spec.model_copy(update={"replicas": 7}))
    assert [child.body for child in decide(more).children if isinstance(child, Patch)] == [{"spec": {"replicas": 7}}]


def test_an_edit_of_the_masters_properties_replaces_the_master_and_no_worker() -> None:
    state = running(carried_out(seen(), decide(seen())))
    master = state.spec.master.model_copy(update={"properties": {"alluxio.master.metastore": "HEAP"}})
    changed = decide(replace(state, spec=state.spec.model_copy(update={"master": master})))
    assert [child.name for child in changed.children if isinstance(child, Patch)] == ["imagenet-master"]
    assert any(isinstance(child, Create) and child.kind == "ConfigMap" for child in changed.children)


def test_a_label_that_is_no_longer_wanted_goes_and_what_kubectl_wrote_stays() -> None:
    state = running(carried_out(seen(SAMPLES["resources"]), decide(seen(SAMPLES["resources"]))))
    assert state.masters is not None
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-11-24T00:00:00Z"}
    state.masters["spec"]["template"]["metadata"]["annotations"].update(restarted)
    after = carried_out(replace(state, spec=seen().spec), decide(replace(state, spec=seen().spec)))
    assert after.masters is not None
    meta, spec = after.masters["spec"]["template"]["metadata"], after.masters["spec"]["template"]["spec"]
    assert "team" not in meta["labels"]
    assert "note" not in meta["annotations"]
    assert spec["nodeSelector"] == {}
    assert restarted.items() <= meta["annotations"].items()


def test_a_new_release_of_ours_restarts_no_master(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of this spec is frozen: who changes it restarts every master and worker of everybody."""
    state = running(carried_out(seen(), decide(seen())))
    monkeypatch.setattr(children, "_probe", lambda role, port: {"tcpSocket": {"port": port}})
    assert decide(replace(state, config=replace(state.config, job_image="fluidctl:next"))).children == ()
    roles = (MASTER, WORKER)
    assert [children.template(seen(), role)["metadata"]["annotations"][children.TEMPLATE] for role in roles] == [
        "f8ed64131e",
        "b4b8191492",
    ]


def test_what_goes_is_deleted_workers_first_and_only_once_the_dataset_is_gone() -> None:
    state = replace(running(carried_out(seen(), decide(seen()))), deleting=True)
    assert decide(state).children == ()
    state = replace(state, dataset=None)
    order = []
    for _ in range(10):
        decision = decide(state)
        if decision.release:
            break
        order += [child.name for child in decision.children if isinstance(child, Delete)]
        state = carried_out(state, decision)
        gone = order[-1].removeprefix("imagenet-")
        state = replace(state, pods=tuple(p for p in state.pods if gone not in p["metadata"]["name"]))
    assert order == ["imagenet-worker", "imagenet-master"]
    assert decision.finalizers is not None
    assert FINALIZER not in decision.finalizers.finalizers


def test_a_dataset_takes_its_runtime_along_and_no_dataset_takes_that_of_another() -> None:
    free = replace(seen(), owners=({"kind": "Team", "uid": "t"},))
    owners = carried_out(free, decide(free)).owners
    assert [owner["uid"] for owner in owners] == ["t", DATASET_UID]
    anothers = replace(seen(), owners=({"kind": "Dataset", "uid": "before"},))
    assert decide(anothers).children == ()


def pods_of(decision: Decision) -> list[dict[str, Any]]:
    return [
        child.body["spec"]["template"]["spec"]
        for child in decision.children
        if isinstance(child, Create) and child.kind == "StatefulSet"
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_of_fluid_apply_unchanged(name: str) -> None:
    Draft202012Validator(spec_schema()).validate(SAMPLES[name])
    assert len(pods_of(decide(seen(SAMPLES[name])))) == 2


@pytest.mark.parametrize("name", SAMPLES)
def test_no_pod_reaches_its_node(name: str) -> None:
    for spec in pods_of(decide(seen(SAMPLES[name]))):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all("hostPath" not in volume for volume in spec["volumes"])
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] != 0
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                **({"readOnlyRootFilesystem": True} if container["name"] == "agent" else {}),
            }


def test_only_the_agent_sees_the_token_and_only_its_secret_holds_it() -> None:
    decision = decide(seen(token="the-token"))  # noqa: S106
    others = [child for child in decision.children if not (isinstance(child, Create) and child.kind == "Secret")]
    assert "the-token" not in json.dumps([repr(child) for child in others])
    master = pods_of(decision)[0]
    mounted = [c["name"] for c in master["containers"] if any(m["name"] == "agent" for m in c["volumeMounts"])]
    assert mounted == ["agent"]


def test_root_is_no_user_to_run_as() -> None:
    master = pods_of(decide(seen({"runAs": {"uid": 0, "gid": 0}})))[0]
    assert master["securityContext"]["runAsUser"] == 65532


def test_what_is_not_served_is_named() -> None:
    accepted = {name: _accepted(spec) for name, spec in SAMPLES.items()}
    assert accepted["memory"].reason == "Accepted"
    assert "spec.fuse" in accepted["properties"].message
    assert "spec.tieredstore.levels[0].volumeType" in accepted["tiers"].message
    assert all(text in accepted["resources"].message for text in ("spec.master.networkMode", "spec.jobWorker"))


def _accepted(spec: dict[str, Any]) -> c.Condition:
    found = c.find(carried_out(seen(spec), decide(seen(spec))).status.conditions, c.ACCEPTED)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "a" * 41}, "InvalidName"),
        ({"name": "a.b"}, "InvalidName"),
        ({"spec": {"tieredstore": {"levels": [{"mediumtype": "MEM", "quota": "much"}]}}}, "InvalidSpec"),
        ({"spec": {"tieredstore": {"levels": [{"mediumtype": "MEM", "quota": "1Gi"}] * 2}}}, "InvalidSpec"),
        ({"spec": {"tieredstore": {"levels": [{"mediumtype": "MEM", "quota": "9" * 400 + "Gi"}]}}}, "InvalidSpec"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    decision = decide(seen(changes.pop("spec", None), **changes))
    assert decision.children == ()
    assert [event.reason for event in decision.events] == [reason]


def test_a_property_can_neither_add_another_nor_take_the_place_of_ours() -> None:
    spec = {"properties": {"a b": "x\nalluxio.master.hostname=evil", "alluxio.master.hostname": "evil", "k": "é😀 \\"}}
    lines = render(properties("ml", "imagenet", seen(spec).spec, MASTER)).splitlines()
    assert [line for line in lines if line.startswith("alluxio.master.hostname")] == [
        "alluxio.master.hostname=imagenet-master-0.ml.svc"
    ]
    assert r"a\ b=x\nalluxio.master.hostname\=evil" in lines
    assert r"k=\u00e9\ud83d\ude00\ \\" in lines


@pytest.mark.parametrize("space", ["\f", " ", "\t", "\x01"])
def test_a_space_makes_no_property_of_ours_another(space: str) -> None:
    """A form feed ends a name in java.util.Properties; and Alluxio trims names, as Java does."""
    spec = {"properties": {f"alluxio.master.journal.folder{space}": "/evil", f"a{space}b": "x"}}
    text = render(properties("ml", "imagenet", seen(spec).spec, MASTER))
    assert "/evil" not in text
    assert "\f" not in text


def test_neither_options_of_the_jvm_nor_variables_take_the_place_of_ours() -> None:
    """An option of the JVM goes before every file, and of two variables of a name the last one counts."""
    forged = "-Dalluxio.master.journal.init.from.backup=/evil"
    own = {"ALLUXIO_MASTER_JAVA_OPTS": "-Xmx1g", "POD_IP": "192.0.2.1", "TZ": "UTC"}
    spec = {"jvmOptions": [forged, "-XX:+UseG1GC"], "master": {"jvmOptions": [f"-Xmx2g {forged}"], "env": own}}
    env = pods_of(decide(seen(spec)))[0]["containers"][0]["env"]
    assert [each["name"] for each in env] == ["POD_IP", "ALLUXIO_MASTER_JAVA_OPTS", "TZ"]
    assert forged not in env[1]["value"]
    assert "-XX:+UseG1GC" in env[1]["value"]
    assert without_effect(seen(spec).spec) == [
        "spec.jvmOptions[0]",
        "spec.master.jvmOptions[0]",
        "spec.master.env[ALLUXIO_MASTER_JAVA_OPTS]",
        "spec.master.env[POD_IP]",
    ]


def test_nobody_but_us_says_of_a_pod_whose_it_is_and_what_it_started_from() -> None:
    forged = {"data.fluid.io/dataset-uid": "another", STARTED_FROM: "sha256:evil"}
    state = seen(
        {"podMetadata": {"labels": forged, "annotations": forged}, "master": {"podMetadata": {"labels": forged}}}
    )
    meta = children.template(state, MASTER)["metadata"]
    assert not forged.items() & (meta["labels"] | meta["annotations"]).items()


def test_a_dollar_of_a_tenant_stays_a_dollar() -> None:
    """Kubernetes would expand $(NAME) in a value."""
    master = pods_of(decide(seen(SAMPLES["resources"])))[0]["containers"][0]
    assert {"name": "TZ", "value": "$$(UTC)"} in master["env"]


def test_the_fastest_tier_is_the_first_and_no_default_of_the_image_takes_its_place() -> None:
    state = seen(SAMPLES["tiers"])
    found = properties("ml", "imagenet", state.spec, WORKER)
    assert [found[f"alluxio.worker.tieredstore.level{n}.alias"] for n in (0, 1)] == ["MEM", "HDD"]
    assert found["alluxio.worker.tieredstore.level1.dirs.quota"] == f"{300 * 2**30}B"
    options = {e["name"]: e.get("value") for e in pods_of(decide(state))[1]["containers"][0]["env"]}
    assert "level0.dirs.path=/var/lib/fluidctl/cache/mem" in str(options["ALLUXIO_WORKER_JAVA_OPTS"])


@pytest.mark.parametrize(
    ("text", "size"),
    [("2Gi", 2**31), ("1.5Gi", 3 * 2**29), ("500M", 500_000_000), (1024, 1024), ("2GB", 2 * 10**9), ("x", 0), ("", 0)],
)
def test_a_quantity_is_read_as_kubernetes_reads_it(text: str | int, size: int) -> None:
    assert quantity(text) == size


def test_every_child_is_a_plain_object_of_its_runtime() -> None:
    for child in decide(seen()).children:
        assert isinstance(child, Create)
        assert yaml.safe_load(yaml.safe_dump(child.body)) == child.body
        assert [owner["name"] for owner in child.body["metadata"]["ownerReferences"]] == ["imagenet"]
        assert len(child.body["metadata"]["name"]) <= 63


def test_a_worker_in_trouble_is_shown_and_stops_no_master() -> None:
    state = running(carried_out(seen(), decide(seen())))
    sick = replace(state, pods=(state.pods[0], pod(WORKER, 0, ready=False), pod(WORKER, 1)))
    status = decide(sick).status
    assert status is not None
    found = status.model_dump()
    assert (found["master_phase"], found["worker_phase"], found["worker_number_ready"]) == ("Ready", "PartialReady", 1)
