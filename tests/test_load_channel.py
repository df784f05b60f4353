"""Finding and keeping a master, and the walk over it, against the double."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.api.result import Exit, Totals
from devcluster.master import AlluxioMaster
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods, requests
from fluidctl.load.channel import Client, Settings
from fluidctl.load.errors import Halted, StepError
from fluidctl.load.frontier import Spill
from fluidctl.load.retry import Rule
from fluidctl.load.walk import Outcome, Walk
from fluidctl.load.watch import Watch
from tests.load_kit import Answer, intercept, make, truth


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rule, "delay", lambda *_: 0.02)


@pytest.fixture
def watch() -> Watch:
    return Watch("size", lambda _: None, time.monotonic, 30)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make(tmp_path / "tree", [f"d{d}/e{e}/f{f}" for d in range(3) for e in range(3) for f in range(3)])
    return tmp_path / "tree"


def _at(*masters: AlluxioMaster, **more: Any) -> Settings:
    return Settings([f"127.0.0.1:{master.port}" for master in masters], **{"connect_seconds": 20.0, **more})


@pytest.fixture
def client(master: AlluxioMaster, watch: Watch) -> Iterator[Client]:
    made = Client(_at(master), watch)
    yield made
    made.close()


# --- finding one ------------------------------------------------------------------------------------------------------


def test_the_leader_is_found_among_standbys(master: AlluxioMaster, tree: Path, watch: Watch) -> None:
    """In whatever order they are named; a standby answers UNIMPLEMENTED to all that we ask."""
    with AlluxioMaster(tree, standby=True) as standby:
        for masters in ([standby, master], [master, standby]):
            client = Client(_at(*masters), watch)
            assert client.master.address == f"127.0.0.1:{master.port}"
            assert client.master.cluster_id == master.cluster_id
            client.close()


def test_a_new_leader_is_found_when_the_old_one_goes(tree: Path, watch: Watch) -> None:
    """In the middle of the work, which goes on; and the change is known."""
    with AlluxioMaster(tree) as old, AlluxioMaster(tree, standby=True) as new:
        new.cluster_id = old.cluster_id
        client = Client(_at(old, new), watch)
        new.behaviour.standby, old.behaviour.standby = False, True
        assert client.status(b"/d1").folder
        assert client.changed
        client.accept_change()
        assert client.master.address == f"127.0.0.1:{new.port}"
        client.close()


def test_safe_mode_is_waited_for(tree: Path, watch: Watch) -> None:
    """Files cannot be listed before its end."""
    answers = [True, True, False]
    with AlluxioMaster(tree) as master:
        intercept(master, methods.GET_MASTER_INFO, lambda request, answer: _safe(answer(request), answers.pop(0)))
        Client(_at(master), watch).close()
    assert not answers


def _safe(info: Any, safe: bool) -> Any:
    info.masterInfo.safeMode = safe
    return info


@pytest.mark.parametrize(("standby", "said"), [(True, "standing by"), (False, "in safe mode")])
def test_masters_that_do_not_lead_in_time_are_unreachable(tree: Path, watch: Watch, standby: bool, said: str) -> None:
    """Never an old version: that is said only of a master that leads."""
    with AlluxioMaster(tree, standby=standby) as master:
        intercept(master, methods.GET_MASTER_INFO, lambda request, answer: _safe(answer(request), True))
        with pytest.raises(StepError, match=said) as caught:
            Client(_at(master, connect_seconds=0.2), watch)
    assert caught.value.code is Exit.UNREACHABLE


def test_nothing_there_is_unreachable_and_each_address_has_its_reason(watch: Watch) -> None:
    """Refused and unknown are told apart."""
    with pytest.raises(StepError, match="127.0.0.1:1: .*refused.*nohost.invalid:1: ") as caught:
        Client(Settings(["127.0.0.1:1", "nohost.invalid:1"], connect_seconds=0.1), watch)
    assert caught.value.code is Exit.UNREACHABLE


def test_a_master_that_hangs_is_told_from_one_that_is_not_there(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel accepts connections for a process that is stopped."""
    monkeypatch.setattr("fluidctl.load.session.HANDSHAKE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        address = f"127.0.0.1:{stopped.getsockname()[1]}"
        with pytest.raises(StepError) as raised:
            Client(Settings([address], connect_seconds=0.1), watch)

    assert raised.value.code is Exit.UNREACHABLE
    assert f"{address} accepts connections and answers nothing" in raised.value.message


def test_a_web_port_is_told_from_a_dead_one(master: AlluxioMaster, watch: Watch) -> None:
    """At once, by its number, with what to use."""
    with pytest.raises(StepError, match=f"127.0.0.1:{master.web_port} does not speak gRPC.*19998") as caught:
        Client(Settings([f"127.0.0.1:{master.web_port}"]), watch)
    assert caught.value.code is Exit.NOT_GRPC


def test_one_wrong_port_beside_a_leader_does_no_harm(master: AlluxioMaster, watch: Watch) -> None:
    """The leader counts."""
    client = Client(Settings([f"127.0.0.1:{master.web_port}", f"127.0.0.1:{master.port}"]), watch)
    assert client.master.version == "2.9.6"
    client.close()


def test_another_major_version_is_refused_by_name(tree: Path, watch: Watch) -> None:
    """3xx has no tree of metadata in its master."""
    with AlluxioMaster(tree, version="313") as master, pytest.raises(StepError, match="runs Alluxio 313") as caught:
        Client(_at(master), watch)
    assert caught.value.code is Exit.UNSUPPORTED_MASTER


class _NoSasl(AlluxioMaster):
    def service(self, details: Any) -> Any:
        if details.method == methods.AUTHENTICATE.path:
            return None
        self._channels.add(None)  # type: ignore[arg-type]
        return super().service(details)


def test_a_master_without_authentication_is_served_unless_simple_is_demanded(tree: Path, watch: Watch) -> None:
    """NOSASL: its authentication service is UNIMPLEMENTED."""
    with _NoSasl(tree) as master:
        for auth in ("auto", "nosasl"):
            client = Client(_at(master, auth=auth), watch)
            assert client.status(b"/").folder
            client.close()
        with pytest.raises(StepError) as caught:
            Client(_at(master, auth="simple", connect_seconds=0.1), watch)
    assert caught.value.code is Exit.UNREACHABLE


def test_a_master_that_wants_authentication_says_so_to_who_has_none(master: AlluxioMaster, watch: Watch) -> None:
    """Permanent: trying again would not help."""
    with pytest.raises(StepError, match="does not let user 'root' in") as caught:
        Client(_at(master, auth="nosasl"), watch)
    assert caught.value.code is Exit.PERMISSION_DENIED


# --- keeping it -------------------------------------------------------------------------------------------------------


def test_a_restart_costs_a_new_authentication_and_nothing_else(master: AlluxioMaster, client: Client) -> None:
    """The registration of a channel dies with the server."""
    assert client.status(b"/d0").folder
    master.restart()

    assert client.status(b"/d1").folder
    assert client.changed


def test_a_format_is_another_cluster(master: AlluxioMaster, client: Client) -> None:
    """All that was loaded is lost."""
    master.format()
    with pytest.raises(StepError) as caught:
        client.status(b"/d1")
    assert caught.value.code is Exit.MASTER_CHANGED


def test_asynchronous_sync_is_asked_for_and_not_guessed_from_a_version(master: AlluxioMaster, client: Client) -> None:
    """NOT_FOUND for a task that never was means that there could be one."""
    assert client.has_sync()
    master.behaviour.asynchronous = False
    assert not client.has_sync()


# --- walking ----------------------------------------------------------------------------------------------------------


def _walk(client: Client, watch: Watch, tmp_path: Path, parallelism: int = 4) -> Outcome:
    spill = Spill(str(tmp_path / "spill"))
    try:
        return Walk(client, watch, spill, parallelism).run([b"/"])
    finally:
        spill.close()


@pytest.mark.parametrize("parallelism", [1, 4, 32])
def test_a_walk_is_exact_with_any_number_of_listings_in_flight(
    client: Client, watch: Watch, tree: Path, tmp_path: Path, parallelism: int
) -> None:
    """And the watch has counted the same."""
    make(tree, ["x/empty/", "wide/" + "y" * 200, *(f"wide/{n}/f" for n in range(200))])
    outcome = _walk(client, watch, tmp_path, parallelism)

    assert outcome.totals == watch.totals == truth(tree)
    assert [name for piece in outcome.empty.pieces() for name in piece] == [b"/x/empty"]


def test_what_a_broken_listing_had_answered_is_not_counted(
    client: Client, watch: Watch, master: AlluxioMaster, tree: Path, tmp_path: Path
) -> None:
    """The stream of a directory breaks after its first message, and is repeated."""
    make(tree, ["flat/1", "flat/2/f"])
    broken = threading.Event()

    def breaking(request: Any, answer: Answer) -> Iterator[Any]:
        for message in answer(request):
            yield message
            if request.path == b"/flat" and not broken.is_set():
                broken.set()
                raise OSError("the connection broke")

    intercept(master, methods.LIST_STATUS, breaking)
    outcome = _walk(client, watch, tmp_path)

    assert broken.is_set()
    assert (outcome.totals, outcome.failed_count) == (truth(tree), 0)


def test_a_step_that_is_told_to_end_waits_for_no_answer_of_a_master_that_hangs(
    client: Client, watch: Watch, master: AlluxioMaster
) -> None:
    """The call would last 30 s, as long as a pod has to end."""
    answered = threading.Event()

    def hanging(request: Any, answer: Answer) -> Any:
        watch.terminate()
        answered.wait(50)
        return answer(request)

    intercept(master, methods.GET_METRICS, hanging)
    with pytest.raises(Halted):
        client.metrics()
    assert not answered.is_set()
    answered.set()


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED]
)
def test_a_directory_that_fails_is_named_and_the_others_are_counted(
    client: Client, watch: Watch, master: AlluxioMaster, tree: Path, tmp_path: Path, code: grpc.StatusCode
) -> None:
    """After the trials that its code is worth."""
    master.behaviour.failing[b"/d1/e1"] = code
    outcome = _walk(client, watch, tmp_path)

    assert list(outcome.failed) == [b"/d1/e1"]
    assert code.name in outcome.failed[b"/d1/e1"]
    assert outcome.denied == (code is grpc.StatusCode.PERMISSION_DENIED)
    assert outcome.totals == Totals(24, 12, outcome.totals.bytes)


@pytest.mark.parametrize("parent_knows", [False, True])
def test_a_directory_that_vanishes_is_left_out_if_its_parent_agrees(
    client: Client, watch: Watch, master: AlluxioMaster, tmp_path: Path, parent_knows: bool
) -> None:
    """It was counted with its parent; if the parent still lists it, something is wrong and is named."""
    gone = threading.Event()

    def vanishing(request: Any, answer: Answer) -> Iterator[Any]:
        if request.path == b"/d2/e2":
            gone.set()
            request = requests.list_status(b"/nope")
        return map(without, answer(request))

    def without(message: pb.ListStatusResponse) -> pb.ListStatusResponse:
        hidden = b"/d2/e2" if gone.is_set() and not parent_knows else b""
        return pb.ListStatusResponse(fileInfos=[info for info in message.fileInfos if info.path != hidden])

    intercept(master, methods.LIST_STATUS, vanishing)
    outcome = _walk(client, watch, tmp_path)

    assert list(outcome.failed) == ([b"/d2/e2"] if parent_knows else [])
    assert outcome.totals.directories == 12 - (not parent_knows)


def test_a_bug_in_a_thread_of_the_walk_reaches_the_caller(
    client: Client, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no thread stays behind."""
    others = set(threading.enumerate())
    monkeypatch.setattr(client, "list", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _walk(client, watch, tmp_path)
    assert not [thread for thread in set(threading.enumerate()) - others if thread.name.startswith("walk-")]


def test_a_session_that_another_thread_closed_is_replaced_like_a_broken_one(client: Client) -> None:
    """The first thread that meets a broken connection closes it for all; the others must not take that for a bug."""
    client._session.close()

    assert client.metrics().total_paths >= 1


def test_a_wrong_value_on_an_open_session_is_not_hidden(client: Client) -> None:
    """Only a closed session explains a ValueError."""
    with pytest.raises(ValueError, match="not to be repeated"):
        client.persist(_refuse)


def _refuse(session: object) -> None:
    raise ValueError("not to be repeated")
