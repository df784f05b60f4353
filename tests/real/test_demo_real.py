"""The whole flow on the real stage: what a person sees is what ``find`` says, or it is not Ready and says where not."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fluidctl import demo
from tests.real.stack import Stack

#: Not among them, because a real Alluxio 2.9 cannot serve them: "\\" and "?", and what is not UTF-8.
ODD = (
    *(
        b"sp ace",
        b" outer ",
        "\u00fcn\u00efc\u00f6d\u00e9 \u6570".encode(),
        b"new\nline",
        b"tab\there",
        b"100%",
        b"%41",
    ),
    *(b"#hash", b"a+b", b"a&b=c", b'it\'s "quoted"', b"semi;colon", b"..hidden", b"<lt>", b"*", b"[b]{c}", b"n" * 250),
)


@pytest.fixture(scope="module")
def stack(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return the real stage with a controller on it; every test has a directory and a Dataset of its own."""
    mountable = {"alluxio.master.mount.table.root.readonly": "false"}
    with Stack(tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("work"), mountable) as running:
        running.start_controller()
        yield running


@pytest.fixture
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a new directory; its name is that of the Dataset and, in Alluxio, of the mount."""
    made: Path = tmp_path / re.sub("[^a-z]+", "-", request.node.name)[:40].strip("-")
    made.mkdir()
    return made


def test_counts_equal_find(stack: Stack, directory: Path) -> None:
    """Files, directories and bytes of deep, wide, empty and oddly named entries are those of the storage."""
    _fill(directory)
    apply(stack, directory)
    found = wait(stack, directory, "Ready")
    files, directories, total = _found(directory)
    assert {"files": files, "directories": directories, "bytes": total}.items() <= found["status"]["size"].items()
    assert found["status"]["fileCount"] == files
    assert found["status"]["ufsTotalBytes"] == total


def test_an_empty_directory_is_ready(stack: Stack, directory: Path) -> None:
    """No file is a valid result."""
    apply(stack, directory)
    status = wait(stack, directory, "Ready")["status"]
    assert (status["fileCount"], status["ufsTotalBytes"], status["fileNum"]) == (0, 0, "0")


@pytest.mark.parametrize("bad", ["link", "name"])
def test_an_unlistable_directory_is_named(stack: Stack, directory: Path, bad: str) -> None:
    """A dangling link, or a name that is not UTF-8, makes a real master answer "empty", status OK: never Ready."""
    (directory / "good").mkdir()
    (directory / "good" / "file").touch()
    (directory / "broken").mkdir()
    (directory / "broken" / "file").touch()
    if bad == "link":
        (directory / "broken" / "dangling").symlink_to("nowhere")
    else:
        (directory / os.fsdecode(b"broken/\xff")).touch()
    apply(stack, directory, maxAttempts=1)
    found = wait(stack, directory, "Stalled")
    conditions = {entry["type"]: entry for entry in found["status"]["conditions"]}
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Ready"]["reason"] == "Incomplete"
    assert f"/{directory.name}/broken" in conditions["Ready"]["message"]


def test_kubectl_tells_the_story(stack: Stack, directory: Path) -> None:
    """The table, the description with events, and the claim: what a person sees of a Dataset that is Ready."""
    (directory / "file").write_text("12345")
    apply(stack, directory)
    found = wait(stack, directory, "Ready")
    row = stack.control_plane.kubectl("get", "dataset", directory.name, "--no-headers").split()
    assert row[:3] == [directory.name, "Ready", "1"]
    described = stack.control_plane.kubectl("describe", "dataset", directory.name)
    for text in ("Ready", "Loaded", "Counted", "Events:"):
        assert text in described
    claim = stack.control_plane.kubectl(
        "get", "pvc", directory.name, "--output=jsonpath={.status.phase} {.spec.volumeName}"
    )
    assert claim == f"Bound dataset-{found['metadata']['uid']}"


def test_delete_leaves_nothing(stack: Stack, directory: Path) -> None:
    """With the Dataset go its Jobs, pods, claim and volume, and no data."""
    (directory / "file").touch()
    apply(stack, directory)
    uid = wait(stack, directory, "Ready")["metadata"]["uid"]
    stack.control_plane.kubectl("delete", "dataset", directory.name, "--timeout=60s")
    everything = ("get", "jobs,pods,pvc,pv", f"--selector=data.fluid.io/dataset-uid={uid}", "--output=name")
    deadline = time.monotonic() + 30
    while left := stack.control_plane.kubectl(*everything):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert (directory / "file").exists()


def test_rights_suffice(stack: Stack) -> None:
    """After all of this the controller was refused nothing: manifests/ give its ServiceAccount what it needs."""
    log = (stack.work / "controller.log").read_text()
    assert "Ready" in log
    assert not [line for line in log.splitlines() if "forbidden" in line.lower() or "403" in line]


def test_demo_real_once(real_programs: None, tmp_path: Path) -> None:
    """``make demo-real ONCE=1`` ends with 0 and the Ready Dataset as one line of JSON, and leaves nothing behind."""
    command = [sys.executable, "-m", "tests.real.demo", "--once", "--files=1000"]
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stderr) == (0, "")
    dataset = json.loads(done.stdout.splitlines()[-1])
    assert (dataset["status"]["phase"], dataset["status"]["size"]["files"]) == ("Ready", 1000)
    assert list((tmp_path / "tmp").iterdir()) == []


def apply(stack: Stack, directory: Path, **load: Any) -> None:
    """Mount this directory and apply a Dataset of it, by kubectl as a person does."""
    stack.alluxio.cli("fs", "mount", "--readonly", f"/{directory.name}", f"file://{directory}")
    dataset = demo.manifest(directory, [stack.alluxio.rpc_address], stack.alluxio.web_port)
    dataset |= {"apiVersion": "data.fluid.io/v1alpha1", "kind": "Dataset", "metadata": {"name": directory.name}}
    dataset["spec"]["alluxio"]["datasetPath"] = f"/{directory.name}"
    dataset["spec"]["load"] = load
    stack.control_plane.kubectl("apply", "--filename=-", stdin=json.dumps(dataset))


def wait(stack: Stack, directory: Path, condition: str) -> dict[str, Any]:
    """Return the Dataset once the condition is True, by ``fluidctl wait``, which does not wait for what cannot come."""
    command = [sys.executable, "-m", "fluidctl", "wait", directory.name, f"--for={condition}", "--timeout=120s"]
    environment = stack.control_plane.environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    if done.returncode != 0:
        log = (stack.work / "controller.log").read_text()
        pytest.fail(
            f"{done.stderr}\n{stack.control_plane.kubectl('describe', 'dataset', directory.name)}\n{log[-3000:]}"
        )
    found = json.loads(stack.control_plane.kubectl("get", "dataset", directory.name, "--output=json"))
    assert isinstance(found, dict)
    return found


def _fill(directory: Path) -> None:
    root = os.fsencode(directory)
    for index, name in enumerate(ODD):
        os.mkdir(os.path.join(root, b"d" + name[:249]))
        for path in (name, os.path.join(b"d" + name[:249], name)):
            with open(os.path.join(root, path), "wb") as file:
                file.write(b"x" * (index + 1))
    deep = directory.joinpath(*(f"level{number}" for number in range(100)))
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (directory / "empty" / "empty too").mkdir(parents=True)
    (directory / "wide").mkdir()
    for number in range(2_000):
        (directory / "wide" / str(number)).touch()


def _found(directory: Path) -> tuple[int, int, int]:
    """Return files, directories below, and bytes, by find(1): no code of ours counts here."""

    def find(*arguments: str) -> list[bytes]:
        return subprocess.run(["find", str(directory), *arguments], check=True, capture_output=True).stdout.split()

    sizes = find("-type", "f", "-printf", "%s\n")
    return len(sizes), len(find("-mindepth", "1", "-type", "d", "-printf", ".\n")), sum(map(int, sizes))
