"""``get`` and ``wait`` against an API server over real HTTP, and against none."""

import io
import json
import math
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.kube.client import Cluster
from devcluster.apiserver import ApiServer, Fault
from fluidctl import follow
from fluidctl.cli import main
from fluidctl.exits import Code, Failure

_CRD = {
    "metadata": {"name": "datasets.data.fluid.io"},
    "spec": {
        "group": "data.fluid.io",
        "scope": "Namespaced",
        "names": {"kind": "Dataset", "plural": "datasets"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server that KUBECONFIG names, with nothing in it."""
    with ApiServer([_CRD]) as running:
        running.write_kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        running.store.create("namespaces", "", {"metadata": {"name": "team-a"}})
        yield running


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a kubeconfig nor a pod."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


def _create(server: ApiServer, name: str, namespace: str = "default", **status: Any) -> None:
    with server.changed:
        metadata = {"name": name, "managedFields": [{"manager": "kubectl"}]}
        server.store.create("datasets.data.fluid.io", namespace, {"metadata": metadata, "spec": {}})
    _set(server, name, namespace, **status)


def _set(server: ApiServer, name: str, namespace: str = "default", **status: Any) -> None:
    with server.changed:
        server.store.patch("datasets.data.fluid.io", namespace, name, {"status": status}, "status")
        server.changed.notify_all()


def _delete(server: ApiServer, name: str) -> None:
    with server.changed:
        server.store.delete("datasets.data.fluid.io", "default", name)
        server.changed.notify_all()


def _true(type_: str, generation: int = 1) -> dict[str, Any]:
    return {"type": type_, "status": "True", "reason": "R", "message": "m", "observedGeneration": generation}


def test_get_lists_one_namespace_or_all(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The namespace of the context, of -n, or -A with a column for it."""
    _create(server, "one")
    _create(server, "two", "team-a")

    seen = {}
    for arguments in ("get", "get -n team-a", "get -A", "get -n empty"):
        assert main(arguments.split()) == 0
        seen[arguments] = capsys.readouterr()

    assert [line.split()[0] for line in seen["get"].out.splitlines()] == ["NAME", "one"]
    assert [line.split()[0] for line in seen["get -n team-a"].out.splitlines()] == ["NAME", "two"]
    assert [line.split()[:2] for line in seen["get -A"].out.splitlines()[1:]] == [["default", "one"], ["team-a", "two"]]
    assert seen["get -n empty"].out == ""
    assert "empty" in seen["get -n empty"].err


def test_get_with_a_name_tells_everything_about_it(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """As kubectl describe, in our own words."""
    _create(server, "one", phase="Ready", conditions=[_true("Ready")])

    assert main(["get", "one"]) == 0

    assert {"default/one", "Ready,", "CONDITIONS:"} <= {
        word.replace("Conditions", "CONDITIONS") for word in capsys.readouterr().out.split()
    }


def test_json_is_the_object_or_a_list_of_them(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """For jq, without managedFields, also where there is nothing."""
    assert main(["get", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == []

    _create(server, "one", phase="Pending")
    assert main(["get", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["items"][0]
    assert main(["get", "one", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert listed == found
    assert found["status"] == {"phase": "Pending"}
    assert "managedFields" not in found["metadata"]


@pytest.mark.parametrize("command", [["get", "absent"], ["wait", "absent"]])
def test_a_dataset_that_does_not_exist_is_named_in_one_line(
    command: list[str], server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its own code, so that a script can tell it from a cluster that is down."""
    assert main(command) == Code.NOT_FOUND
    _one_line(capsys, "absent")


@pytest.mark.parametrize("command", [["get"], ["get", "a"], ["wait", "a"], ["get", "-A"]])
def test_a_cluster_without_our_crds_is_told_apart_from_an_empty_one(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says how to install them."""
    with ApiServer() as bare:
        bare.write_kubeconfig(tmp_path / "kubeconfig")

        assert main([*command, "--kubeconfig", str(tmp_path / "kubeconfig")]) == Code.CRDS_MISSING

    _one_line(capsys, "fluidctl crds")


@pytest.mark.parametrize("status", [401, 403])
def test_a_cluster_that_refuses_us_is_one_line(
    status: int, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Expired credentials and missing rights are not ours to retry."""
    server.faults.add("GET", Fault(status=status), times=9)

    assert main(["get"]) == Code.UNREACHABLE
    _one_line(capsys, "refuses")


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("command", [["get"], ["get", "a"], ["wait", "a"]])
def test_no_kubeconfig_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It says what was looked for."""
    assert main(command) == Code.UNREACHABLE
    _one_line(capsys, "kubeconfig")


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("content", [None, "no kubeconfig: [", "{}"])
def test_an_unusable_kubeconfig_is_one_line(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, not YAML, or of another shape."""
    if content is not None:
        (tmp_path / "file").write_text(content, encoding="utf-8")

    assert main(["get", "--kubeconfig", str(tmp_path / "file")]) == Code.UNREACHABLE
    _one_line(capsys, str(tmp_path / "file"))


@pytest.mark.parametrize("command", [["get"], ["wait", "a"]])
def test_an_address_where_nothing_listens_is_one_line(
    command: list[str], server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says that the cluster cannot be reached; a wait does not hope for it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets this port
        kubeconfig = (tmp_path / "kubeconfig").read_text(encoding="utf-8")
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "kubeconfig").write_text(kubeconfig.replace(server.url, url), encoding="utf-8")

        assert main(command) == Code.UNREACHABLE

    _one_line(capsys, "cannot be reached")


def _controller(*flags: str) -> "subprocess.CompletedProcess[str]":
    binds = ["--metrics-bind=", "--health-bind=", "--log-format=text"]
    command = [sys.executable, "-m", "fluidctl", "controller", *binds, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_a_controller_whose_port_is_taken_ends_with_its_own_code(server: ApiServer) -> None:
    """Two controllers on one machine is a usual mistake."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"

        ended = _controller(f"--metrics-bind={bind}")

    assert ended.returncode == Code.PORT_TAKEN
    assert bind in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_controller_in_a_cluster_without_our_crds_ends_with_its_own_code(tmp_path: Path) -> None:
    """Kubernetes starts it again, later each time, until they are there."""
    with ApiServer() as bare:
        bare.write_kubeconfig(tmp_path / "kubeconfig")

        ended = _controller(f"--kubeconfig={tmp_path / 'kubeconfig'}")

    assert ended.returncode == Code.CRDS_MISSING
    assert "CRDs" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("nowhere")
def test_a_controller_without_a_cluster_ends_in_one_line() -> None:
    """It says what was looked for."""
    ended = _controller()

    assert ended.returncode == Code.UNREACHABLE
    assert "kubeconfig" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def _one_line(capsys: pytest.CaptureFixture[str], part: str) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert part in said.err


def test_wait_ends_well_when_the_condition_is_true(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """And has printed plain lines, as stdout is no terminal here."""
    ready = _true("Ready") | {"reason": "Ready"}
    _create(server, "one", phase="Ready", conditions=[ready, _true("Available")])

    assert main(["wait", "one"]) == 0
    lines = [re.fullmatch(r" +\d+s  (.*)", line) for line in capsys.readouterr().out.splitlines()]
    assert [line and line[1] for line in lines] == ["Phase Ready", "Ready=True Ready: m", "Available=True R: m"]
    assert main(["wait", "one", "--for", "Available", "--timeout", "1h"]) == 0


@pytest.mark.parametrize(
    ("status", "code"),
    [({"phase": "Failed", "observedGeneration": 1}, Code.FAILED), ({"phase": "Sizing"}, Code.TIMED_OUT)],
)
def test_wait_ends_in_one_line_when_the_dataset_failed_or_the_time_is_up(
    status: dict[str, Any], code: Code, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the Dataset and where it stands."""
    _create(server, "one", **status)

    assert main(["wait", "one", "--timeout", "0"]) == code

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "default/one" in said
    assert status["phase"] in said


@pytest.mark.parametrize(
    ("status", "generation", "code"),
    [
        pytest.param({"conditions": [_true("Ready", 2)]}, 2, Code.OK, id="true of this spec"),
        pytest.param({"conditions": [_true("Ready", 1)]}, 2, None, id="true of an older spec"),
        pytest.param({"conditions": [_true("Ready", 0)]}, 2, Code.OK, id="true, without a generation"),
        pytest.param({"conditions": [_true("Available", 2)]}, 2, None, id="another one is true"),
        pytest.param({"phase": "Failed", "observedGeneration": 2}, 2, Code.FAILED, id="failed"),
        pytest.param({"phase": "Failed", "observedGeneration": 1}, 2, None, id="failed before the spec was mended"),
        pytest.param({"phase": "Failed", "conditions": [_true("Ready", 2)]}, 2, Code.OK, id="what was asked is true"),
        pytest.param({}, 1, None, id="not seen yet"),
    ],
)
def test_a_verdict_belongs_to_the_current_spec(status: dict[str, Any], generation: int, code: Code | None) -> None:
    """A deployment that edits and then waits must not see the state before its edit."""
    dataset = {"metadata": {"name": "a", "generation": generation}, "status": status}

    assert follow.verdict(dataset, "Ready") is code


@pytest.mark.parametrize(
    ("text", "value"),
    [("", math.inf), ("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800)],
)
def test_a_time_is_written_as_kubectl_writes_it(text: str, value: float) -> None:
    """Days are allowed too."""
    assert follow.seconds(text) == value


@pytest.mark.parametrize("text", ["-1", "1.5h", "m", "1h 30m", "1w", "soon"])
def test_a_time_that_cannot_be_read_is_refused(text: str) -> None:
    """Rather than waiting for a time that nobody meant."""
    with pytest.raises(Failure, match="--timeout"):
        follow.seconds(text)


@pytest.fixture
def source(server: ApiServer, tmp_path: Path) -> Iterator[Cluster]:
    """A client of the server."""
    with follow.cluster(str(tmp_path / "kubeconfig"), "") as connected:
        yield connected


def _states(source: Cluster, deadline: float = math.inf, clock: Callable[[], float] = lambda: 0.0) -> Iterator[Any]:
    return follow.states(source, "default", "one", deadline, clock, lambda _: None)


def test_every_change_of_the_dataset_is_seen_and_none_of_another_one(server: ApiServer, source: Cluster) -> None:
    """From the first look on, without polling."""
    _create(server, "one", phase="Pending")
    found = _states(source)

    seen = [next(found)["status"]["phase"]]
    for phase in ("LoadingMetadata", "Sizing", "Ready"):
        _create(server, f"other-{phase.lower()}", phase="Failed")
        _set(server, "one", phase=phase)
        seen.append(next(found)["status"]["phase"])

    assert seen == ["Pending", "LoadingMetadata", "Sizing", "Ready"]
    assert len([line for line in server.requests if "watch=true" in line[1]]) == 1


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(
            lambda server: server.faults.add("watch=true", Fault(status=410), 2), id="the version is forgotten"
        ),
        pytest.param(lambda server: server.faults.add("watch=true", Fault(status=500), 2), id="the server fails"),
        pytest.param(lambda server: server.faults.add("watch=true", Fault(cut=True), 2), id="the connection is cut"),
        pytest.param(lambda server: server.faults.add("GET", Fault(status=429, retry_after=0), 2), id="too busy"),
    ],
)
def test_a_wait_survives_what_heals_by_itself(
    harm: Callable[[ApiServer], None], server: ApiServer, source: Cluster
) -> None:
    """A deployment that waits for an hour must not fail for a restart of the API server."""
    _create(server, "one", phase="Pending")
    found = _states(source)
    next(found)

    harm(server)
    _set(server, "one", phase="Ready")

    assert next(state for state in found if state["status"]["phase"] == "Ready")


def test_a_wait_ends_when_its_dataset_is_deleted(server: ApiServer, source: Cluster) -> None:
    """There is nothing left to wait for."""
    _create(server, "one")
    found = _states(source)
    next(found)

    _delete(server, "one")

    with pytest.raises(Failure, match="deleted") as ended:
        next(found)
    assert ended.value.code is Code.NOT_FOUND


def test_another_dataset_of_the_same_name_is_not_the_one_that_was_waited_for(
    server: ApiServer, source: Cluster
) -> None:
    """Its Ready says nothing about the first one."""
    _create(server, "one")
    found = _states(source)
    next(found)

    _delete(server, "one")
    _create(server, "one", phase="Ready", conditions=[_true("Ready")])

    with pytest.raises(Failure, match="deleted"):
        next(found)


def test_a_wait_ends_at_its_deadline(server: ApiServer, source: Cluster) -> None:
    """Also where nothing happens but bookmarks: the server is asked to end the watch by then."""
    server.bookmark_seconds = 0.1
    _create(server, "one")
    times = iter([0.0, 5.0])
    found = _states(source, deadline=1.0, clock=lambda: next(times))

    next(found)
    _create(server, "other")

    assert list(found) == []
    assert any("timeoutSeconds=1" in line[1] for line in server.requests)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_live_table() -> None:
    """Its last state stays on the screen."""
    out = _Terminal()
    dataset = {"metadata": {"name": "one", "namespace": "default"}, "status": {"phase": "Sizing"}}

    with follow.Display("default/one", lambda: 0.0, out) as display:
        assert out.getvalue() == ""  # nothing is claimed before anything is known
        display.show(dataset)

        assert "Sizing" in out.getvalue()  # at once, not with the next tick
    assert "CONDITION" in out.getvalue()
