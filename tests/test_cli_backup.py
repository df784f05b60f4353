"""``backup``, ``backups`` and ``restore`` against an API server over real HTTP that has our real CRDs."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from controllers.api.crd import KINDS, definition
from controllers.api.databackup import VERIFY_ANNOTATION
from controllers.api.dataset import parse_spec
from controllers.api.validation import Limits, validate
from devcluster.apiserver import ApiServer
from fluidctl.backup_view import changes, listing, panel
from fluidctl.cli import main
from fluidctl.exits import Code

DATASETS, RUNTIMES, BACKUPS = (f"{name}.data.fluid.io" for name in ("datasets", "alluxioruntimes", "databackups"))
SPEC = {
    "mounts": [{"mountPoint": "s3://training-data/imagenet", "path": "/", "options": {"a": "b"}}],
    "load": {"parallelism": 4},
}
LOCATION = {"pvcName": "backups", "path": "alluxio/imagenet/one-1a2b3c4d"}


@pytest.fixture(scope="module")
def running() -> Iterator[ApiServer]:
    """One server for all tests: its schemas are made once."""
    with ApiServer([definition(kind) for kind in KINDS]) as started:
        yield started


@pytest.fixture
def server(running: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    """The server, named by KUBECONFIG, with nothing of ours in it."""
    running.write_kubeconfig(tmp_path / "kubeconfig")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with running.changed:
        for kind in (DATASETS, RUNTIMES, BACKUPS):
            for name in _there(running, kind):
                running.store.delete(kind, "default", name)
    return running


def _there(server: ApiServer, kind: str) -> dict[str, dict[str, Any]]:
    """Return the objects of a kind; the lock must be held."""
    return {item["metadata"]["name"]: item for item in server.store.page(kind).items}


def _create(server: ApiServer, kind: str, name: str, spec: dict[str, Any], **status: Any) -> None:
    with server.changed:
        server.store.create(kind, "default", {"metadata": {"name": name}, "spec": spec})
        if status:
            server.store.patch(kind, "default", name, {"status": status}, "status")
        server.changed.notify_all()


def _backup(server: ApiServer, name: str = "one", dataset: str = "imagenet", **status: Any) -> None:
    spec = {"dataset": {"name": dataset}, "backupStorageLocationSpec": {"mountPath": "pvc://backups/alluxio"}}
    _create(server, BACKUPS, name, spec, **status)


def _objects(server: ApiServer, kind: str) -> dict[str, dict[str, Any]]:
    with server.changed:
        return _there(server, kind)


def _fails(code: Code, command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with this code and one line on stderr; return the line."""
    assert main(command.split()) == code
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    return said.err


def test_a_backup_is_named_after_its_dataset_and_its_moment(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody has to think of a name at night, and the list is in the order of time."""
    _create(server, DATASETS, "imagenet", SPEC)

    assert main(["backup", "imagenet", "--to", "pvc://backups/alluxio", "--deletion-policy", "Delete"]) == 0

    ((name, made),) = _objects(server, BACKUPS).items()
    assert capsys.readouterr().out == f"databackup.data.fluid.io/{name} created\n"
    assert name.removeprefix("imagenet-").replace("-", "").isdigit()
    assert made["spec"]["dataset"]["name"] == "imagenet"
    assert made["spec"]["backupStorageLocationSpec"] == {"mountPath": "pvc://backups/alluxio"}
    assert made["spec"]["deletionPolicy"] == "Delete"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        pytest.param("imagnet --to pvc://backups", Code.NOT_FOUND, "no Dataset imagnet", id="a mistyped Dataset"),
        pytest.param("imagenet --to /backups", Code.USAGE, "pvc://claim/directory", id="no claim"),
        pytest.param("imagenet --to pvc://backups/../x", Code.USAGE, "no part", id="out of the claim"),
        pytest.param("imagenet", Code.USAGE, "--to", id="no place"),
        pytest.param("imagenet --to pvc://b --deletion-policy Keep", Code.USAGE, "Retain or Delete", id="no policy"),
        pytest.param("imagenet --to pvc://b --name one", Code.USAGE, '"one" already exists', id="a name in use"),
        pytest.param("imagenet --to pvc://b --timeout soon", Code.USAGE, "--timeout", id="no time"),
    ],
)
def test_a_backup_that_cannot_be_is_refused_before_there_is_one(
    arguments: str, code: Code, named: str, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that says what is wrong."""
    _create(server, DATASETS, "imagenet", SPEC)
    _backup(server, "one")

    assert named in _fails(code, f"backup {arguments}", capsys)
    assert set(_objects(server, BACKUPS)) == {"one"}


def _serve(server: ApiServer, kind: str, *states: dict[str, Any]) -> threading.Thread:
    """Play the controller: give the first object of the kind that appears these states, one after the other."""

    def play() -> None:
        with server.changed:
            assert server.changed.wait_for(lambda: _there(server, kind), 30)
            (name,) = _there(server, kind)
            for status in states:
                server.store.patch(kind, "default", name, {"status": status}, "status")
                server.changed.notify_all()
                server.changed.wait(0.05)

    thread = threading.Thread(target=play)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("state", "code", "shown"),
    [
        ({"phase": "Complete", "entryCount": 5, "message": "5 entries"}, Code.OK, "Phase Complete"),
        ({"phase": "Failed", "message": "the volume is full"}, Code.FAILED, "the volume is full"),
    ],
)
def test_who_waits_for_a_backup_sees_its_end_and_has_it_as_an_exit_code(
    state: dict[str, Any], code: Code, shown: str, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ``wait`` does for a Dataset."""
    _create(server, DATASETS, "imagenet", SPEC)
    controller = _serve(server, BACKUPS, {"phase": "Executing", "message": "the Job runs"}, state)

    assert main(["backup", "imagenet", "--to", "pvc://backups", "--wait", "--timeout", "50s"]) == code

    controller.join()
    said = capsys.readouterr()
    assert shown in said.out
    assert code is Code.OK or shown in said.err


def test_a_wait_for_a_backup_ends_when_its_time_is_up(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The backup goes on."""
    _create(server, DATASETS, "imagenet", SPEC)

    assert "is Pending" in _fails(Code.TIMED_OUT, "backup imagenet --to pvc://backups --wait --timeout 0", capsys)
    assert len(_objects(server, BACKUPS)) == 1


def test_the_list_shows_of_each_backup_what_could_be_restored(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of a namespace, those of one Dataset, as JSON; nothing found is no error."""
    _backup(server, "one", phase="Complete", entryCount=201004, sizeBytes=2411724, location=LOCATION)
    _backup(server, "two", dataset="other")

    seen = {}
    for arguments in ("backups", "backups other", "backups absent", "backups -A -o json"):
        assert main(arguments.split()) == 0
        seen[arguments] = capsys.readouterr()

    lines = [line.split() for line in seen["backups"].out.splitlines()]
    one = ["one", "imagenet", "Complete", "-", "201,004", "2.30MiB"]
    assert [lines[0][0], lines[1][:6], lines[2][0]] == ["NAME", one, "two"]
    assert lines[1][-1] == "pvc://backups/alluxio/imagenet/one-1a2b3c4d"
    assert [line.split()[0] for line in seen["backups other"].out.splitlines()] == ["NAME", "two"]
    assert seen["backups absent"].err == "No DataBackups of Dataset absent in namespace default.\n"
    assert len(json.loads(seen["backups -A -o json"].out)["items"]) == 2


def test_a_backup_that_is_not_complete_says_why_and_shows_no_path() -> None:
    """Of a running one how far it is; text of another hand moves nobody's cursor."""
    spec = {"dataset": {"name": "imagenet"}}
    metadata = {"name": "one", "namespace": "team-a", "creationTimestamp": "2026-01-31T11:59:00Z"}
    status = {"phase": "Executing", "message": "12 MiB of\x1b[2J 30", "location": LOCATION}

    header, row = listing([{"metadata": metadata, "spec": spec, "status": status}], 1769860800.0, namespaces=True)

    assert header.split()[0] == "NAMESPACE"
    assert header.split()[-1] == "MESSAGE"
    assert "12 MiB of [2J 30" in row
    assert "pvc://" not in row


def test_a_complete_backup_that_was_found_damaged_says_so_in_the_list() -> None:
    """Nobody should have to look at its conditions."""
    bad = {"type": "Verified", "status": "False", "reason": "BackupCorrupt", "message": "it ends early"}
    backup = {"metadata": {"name": "one"}, "status": {"phase": "Complete", "location": LOCATION, "conditions": [bad]}}

    assert listing([backup], 0.0)[1].endswith("not verified: it ends early")


def test_a_log_tells_each_change_of_a_backup_once() -> None:
    """Phase, what it says, and what a verification found."""
    metadata = {"name": "one", "creationTimestamp": "2026-01-31T12:00:00Z"}
    verified = {"type": "Verified", "status": "True", "reason": "Verified", "message": "as written"}
    running = {"metadata": metadata, "status": {"phase": "Executing", "message": "the Job runs"}}
    complete = {"metadata": metadata, "status": {"phase": "Complete", "message": "done", "conditions": [verified]}}

    assert changes({}, running, 1769860805.0) == ["    5s  Phase Executing", "    5s  the Job runs"]
    assert changes(running, running, 1769860806.0) == []
    assert [line[8:] for line in changes(running, complete, 1769860807.0)] == [
        "Phase Complete",
        "done",
        "Verified=True Verified: as written",
    ]


def test_the_live_table_of_a_backup_has_its_conditions() -> None:
    """What ``--wait`` shows on a terminal."""
    condition = {"type": "Executing", "status": "True", "reason": "JobRunning", "message": "12 MiB"}
    backup = {"metadata": {"name": "one"}, "status": {"phase": "Executing", "conditions": [condition]}}
    console = Console(width=120)
    with console.capture() as screen:
        console.print(panel(backup, "default/one", 0.0))

    assert {"default/one", "Executing", "JobRunning"} <= set(screen.get().split())


@pytest.mark.parametrize(("status", "code"), [("True", Code.OK), ("False", Code.FAILED)])
def test_a_backup_is_read_again_on_request(
    status: str, code: Code, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The outcome of an earlier verification is not taken for that of this one."""
    old = {"type": "Verified", "status": "False" if code is Code.OK else "True", "reason": "R", "message": "before"}
    _backup(server, phase="Complete", conditions=[old], lastHandledVerify="2020-01-01T00:00:00Z")

    def serve() -> None:
        def asked() -> str:
            found = server.store.get(BACKUPS, "default", "one")["metadata"]
            return str(found.get("annotations", {}).get(VERIFY_ANNOTATION, ""))

        with server.changed:
            assert server.changed.wait_for(asked, 30)
            verified = old | {"status": status, "message": "now"}
            new = {"lastHandledVerify": asked(), "conditions": [verified]}
            server.store.patch(BACKUPS, "default", "one", {"status": new}, "status")
            server.changed.notify_all()

    controller = threading.Thread(target=serve)
    controller.start()

    assert main(["backups", "verify", "one", "--wait", "--timeout", "50s"]) == code

    controller.join()
    said = capsys.readouterr()
    assert f"Verified={status} R: now" in said.out
    assert code is Code.OK or "not verified: now" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ("verify absent", Code.NOT_FOUND, "no DataBackup absent"),
        ("verify running", Code.USAGE, "is Executing: only one that is Complete"),
        ("verify", Code.USAGE, "no DataBackups of Dataset verify"),
        ("verify --wait", Code.USAGE, "backups verify BACKUP"),
        ("imagenet --wait", Code.USAGE, "backups verify BACKUP"),
        ("imagenet running", Code.USAGE, "backups verify BACKUP"),
        ("-A -n default", Code.USAGE, "-A"),
        ("-o yaml", Code.USAGE, "-o"),
    ],
)
def test_what_cannot_be_listed_or_verified_is_refused_in_one_line(
    arguments: str, code: Code, named: str, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """And leaves no request behind."""
    _backup(server, "running", phase="Executing")

    assert named in _fails(code, f"backups {arguments}", capsys)
    assert not _objects(server, BACKUPS)["running"]["metadata"].get("annotations")


def test_a_dataset_may_have_the_name_verify(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """One name lists, two verify: also a backup of that Dataset, or one of that name."""
    _backup(server, "verify", dataset="verify", phase="Complete")
    _backup(server, "other", phase="Complete")

    assert main(["backups", "verify"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["NAME", "verify"]
    assert main(["backups", "verify", "verify"]) == 0
    assert VERIFY_ANNOTATION in _objects(server, BACKUPS)["verify"]["metadata"]["annotations"]


def test_a_restore_makes_a_dataset_and_its_runtime_like_those_that_were_backed_up(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mounts and how they are loaded are the same: the backup fits nothing else."""
    runtime = {"replicas": 3, "master": {"jvmOptions": ["-Xmx4g"]}}
    _create(server, DATASETS, "imagenet", SPEC)
    _create(server, RUNTIMES, "imagenet", runtime)
    _backup(server, phase="Complete")

    assert main(["restore", "one", "--as", "imagenet-2", "--on-failure", "LoadFromUFS"]) == 0

    dataset = _objects(server, DATASETS)["imagenet-2"]["spec"]
    original = _objects(server, DATASETS)["imagenet"]["spec"]
    assert dataset.pop("dataRestoreLocation") == {"backupName": "one", "onFailure": "LoadFromUFS"}
    assert dataset == original
    assert _objects(server, RUNTIMES)["imagenet-2"]["spec"] == _objects(server, RUNTIMES)["imagenet"]["spec"]
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "alluxioruntime.data.fluid.io/imagenet-2 created",
        "dataset.data.fluid.io/imagenet-2 created",
    ]
    assert "fluidctl wait imagenet-2" in said.err


def test_a_restore_of_a_restored_dataset_names_the_new_backup(server: ApiServer) -> None:
    """What that Dataset started from once is not copied."""
    old = {"dataRestoreLocation": {"path": "pvc://old/x", "checksum": "sha256:" + "0" * 64}}
    _create(server, DATASETS, "imagenet", SPEC | old)
    _backup(server, phase="Complete")

    assert main(["restore", "one", "--as", "imagenet-2"]) == 0

    made = _objects(server, DATASETS)["imagenet-2"]["spec"]["dataRestoreLocation"]
    assert made == {"backupName": "one", "onFailure": "Fail"}


def test_a_dry_run_prints_what_kubectl_can_apply_and_creates_nothing(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wants another runtime edits it."""
    _create(server, DATASETS, "imagenet", SPEC)
    _backup(server, phase="Complete")

    assert main(["restore", "one", "--as", "imagenet-2", "--dry-run"]) == 0

    said = capsys.readouterr()
    runtime, dataset = yaml.safe_load_all(said.out)
    assert set(_objects(server, DATASETS)) == {"imagenet"}
    validate(parse_spec(dataset), Limits(), runtime_exists=True)
    assert (runtime["kind"], runtime["metadata"]["name"]) == ("AlluxioRuntime", "imagenet-2")
    assert "No AlluxioRuntime to copy" in said.err


def test_from_a_claim_alone_everything_is_restored_with_a_manifest(
    server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dataset, runtime and DataBackup are gone; the files, and a manifest from a repository, are left."""
    documents = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}},
        {"apiVersion": "data.fluid.io/v1alpha1", "kind": "Dataset", "metadata": {"name": "imagenet"}, "spec": SPEC},
        {"apiVersion": "data.fluid.io/v1alpha1", "kind": "AlluxioRuntime", "metadata": {}, "spec": {"replicas": 2}},
    ]
    (tmp_path / "imagenet.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    pin, path = "sha256:" + "a" * 64, "pvc://backups/alluxio/imagenet/one-1a2b3c4d"

    assert main(["restore", path, "--as", "new", "--like", str(tmp_path / "imagenet.yaml"), "--checksum", pin]) == 0

    spec = _objects(server, DATASETS)["new"]["spec"]
    assert spec["dataRestoreLocation"] == {"path": path, "checksum": pin, "onFailure": "Fail"}
    assert [mount["mountPoint"] for mount in spec["mounts"]] == ["s3://training-data/imagenet"]
    assert _objects(server, RUNTIMES)["new"]["spec"]["replicas"] == 2
    capsys.readouterr()


def test_a_runtime_that_was_made_for_the_restore_is_used(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """It waits for a Dataset of its name, and so has an empty journal."""
    _create(server, DATASETS, "imagenet", SPEC)
    _create(server, RUNTIMES, "new", {"replicas": 9})
    _backup(server, phase="Complete")

    assert main(["restore", "one", "--as", "new"]) == 0

    assert _objects(server, RUNTIMES)["new"]["spec"]["replicas"] == 9
    assert "AlluxioRuntime new exists and is used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        pytest.param("absent --as new", Code.NOT_FOUND, "pvc://claim/directory", id="no such backup"),
        pytest.param("failed --as new", Code.USAGE, "is Failed: no space", id="a backup that failed"),
        pytest.param("broken --as new", Code.USAGE, "is not verified: it ends early", id="a backup found damaged"),
        pytest.param("of-gone --as new", Code.NOT_FOUND, "--like FILE", id="the Dataset is gone"),
        pytest.param("pvc://backups/x --as new", Code.USAGE, "--like FILE", id="a path says nothing of mounts"),
        pytest.param("pvc:// --as new", Code.USAGE, "pvc://claim/directory", id="no path"),
        pytest.param("s3://b/x --as new --like imagenet", Code.USAGE, "PersistentVolumeClaim", id="no claim"),
        pytest.param("one --as imagenet", Code.USAGE, "choose another --as", id="a Dataset that exists"),
        pytest.param("one", Code.USAGE, "--as", id="no name"),
        pytest.param("one --as New", Code.USAGE, "lower-case", id="a name that no runtime may have"),
        pytest.param("one --as left", Code.USAGE, "a Dataset of before", id="a runtime of another Dataset"),
        pytest.param("one --as new --like /absent.yaml", Code.USAGE, "/absent.yaml", id="no such file"),
        pytest.param("one --as new --like external", Code.USAGE, "somebody else runs", id="an existing Alluxio"),
        pytest.param("one --as new --on-failure Hope", Code.USAGE, "LoadFromUFS", id="no such choice"),
        pytest.param("one --as new --checksum 12", Code.USAGE, "sha256:", id="no checksum"),
    ],
)
def test_a_restore_that_cannot_be_says_what_to_give_and_creates_nothing(
    arguments: str, code: Code, named: str, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever types this at night has one line to go by."""
    _create(server, DATASETS, "imagenet", SPEC)
    _create(server, RUNTIMES, "imagenet", {"replicas": 1})
    _create(server, DATASETS, "external", SPEC | {"alluxio": {"masters": ["a:1"]}})
    _create(server, RUNTIMES, "left", {"replicas": 1})
    uid = _objects(server, DATASETS)["external"]["metadata"]["uid"]
    owner = {"apiVersion": "data.fluid.io/v1alpha1", "kind": "Dataset", "name": "left", "uid": uid}
    with server.changed:
        server.store.patch(RUNTIMES, "default", "left", {"metadata": {"ownerReferences": [owner]}})
    _backup(server, phase="Complete")
    _backup(server, "of-gone", dataset="gone", phase="Complete")
    _backup(server, "failed", phase="Failed", message="no space")
    bad = {"type": "Verified", "status": "False", "reason": "BackupCorrupt", "message": "it ends early"}
    _backup(server, "broken", phase="Complete", conditions=[bad])

    assert named in _fails(code, f"restore {arguments}", capsys)
    assert set(_objects(server, DATASETS)) == {"imagenet", "external"}
    assert set(_objects(server, RUNTIMES)) == {"imagenet", "left"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: [", "cannot be read"),
        ("kind: Pod", "0 Datasets"),
        ("apiVersion: data.fluid.io/v1alpha1\nkind: Dataset\nspec: {mounts: [{path: /}]}", "mountPoint"),
    ],
)
def test_a_manifest_that_is_none_is_named(
    text: str, named: str, server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is wrong in it."""
    file = tmp_path / "like.yaml"
    file.write_text(text, encoding="utf-8")
    _backup(server, phase="Complete")

    said = _fails(Code.USAGE, f"restore one --as new --like {file}", capsys)

    assert named in said
    assert str(file) in said


def test_who_waits_for_a_restore_waits_for_ready(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Restored and published: pods can use it."""
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "restored"}
    _create(server, DATASETS, "imagenet", SPEC)
    _backup(server, phase="Complete")

    def serve() -> None:
        with server.changed:
            assert server.changed.wait_for(lambda: "new" in _there(server, DATASETS), 30)
            status = {"phase": "Ready", "conditions": [ready]}
            server.store.patch(DATASETS, "default", "new", {"status": status}, "status")
            server.changed.notify_all()

    controller = threading.Thread(target=serve)
    controller.start()

    assert main(["restore", "one", "--as", "new", "--wait", "--timeout", "50s"]) == 0

    controller.join()
    assert "Ready=True Ready: restored" in capsys.readouterr().out
