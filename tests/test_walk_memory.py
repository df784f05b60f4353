"""What a step holds in memory: few names however many directories, few messages however many listings are under way."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from pytest_mock import MockerFixture

from controllers.api.result import Totals
from devcluster.master import AlluxioMaster
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods, requests, shape
from fluidctl.load.channel import Client
from fluidctl.load.frontier import MEMORY, Batch, Frontier, Spill
from fluidctl.load.parts import PART, parts
from fluidctl.load.session import READERS, Session
from fluidctl.load.split import Split
from fluidctl.load.sync import Sync, Task
from fluidctl.load.walk import Walk
from fluidctl.load.watch import Watch
from tests.load_kit import Answer, intercept, make

MANY = 120_000  # over twice what a walk may hold


class _Namespace:
    """Answers as the client of a master does: one directory with MANY, each of them empty."""

    told = 0

    def persist(self, work: Any) -> Any:
        return work(None)

    apart = persist

    def list(self, session: None, request: pb.ListStatusRequest) -> Iterator[pb.FileInfo]:
        if request.path == b"/many":
            for number in range(MANY):
                self.told += 1
                yield pb.FileInfo(path=b"/many/%d" % number, folder=True)


class _Held:
    """Adds up the names that a walk holds: in its stack and in the batches under way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self.files = 0
        self._frontier: Frontier | None = None
        self._lock = threading.Lock()
        for kind, method in ((Batch, "add"), (Frontier, "push"), (Frontier, "pop")):
            monkeypatch.setattr(kind, method, self._around(getattr(kind, method)))

    def _around(self, method: Any) -> Any:
        def measured(place: Any, *args: Any) -> Any:
            done = method(place, *args)
            with self._lock:
                self._frontier = place if isinstance(place, Frontier) else self._frontier
                others = len(place.names) if isinstance(place, Batch) else 0
                self.most = max(self.most, others + (self._frontier.in_memory if self._frontier else 0))
                self.files = max(self.files, len(place.files) if isinstance(place, Batch) else 0)
            return done

        return measured


def test_names_of_directories_stay_within_their_bound_however_many_a_directory_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are in files, which are gone at the end; each was listed once."""
    held, spill = _Held(monkeypatch), Spill(str(tmp_path / "spill"))
    watch = Watch("size", lambda _: None, time.monotonic, 3600)
    outcome = Walk(cast(Client, _Namespace()), watch, spill, 4).run([b"/many"])
    (home,) = (tmp_path / "spill").iterdir()
    waiting = [file for file in home.iterdir() if file not in outcome.empty._batch.files]
    spill.close()

    assert (outcome.totals, len(outcome.empty)) == (Totals(0, MANY, 0), MANY)
    assert held.files > MANY // 2_000
    assert 1_000 <= held.most <= MEMORY
    assert (waiting, list((tmp_path / "spill").iterdir())) == ([], [])


def test_a_load_keeps_few_folders_of_a_directory_that_has_many(mocker: MockerFixture) -> None:
    """It reads no more than shows that one listing of all is the way, and that one covers them all."""
    sync = mocker.Mock(spec=Sync)
    sync.run.side_effect = lambda paths, shallow=False: [
        Task(path, 0, 0, 0, 0, ok=True, objects=10**9) for path in paths
    ]
    namespace = _Namespace()
    covering = Split(cast(Client, namespace), sync, 16).run(b"/many")

    assert namespace.told == shape.MANY + 1
    assert [task.path for task in covering] == [b"/many"]
    assert sync.run.call_args_list == [mocker.call([b"/many"], shallow=True), mocker.call([b"/many"])]


@pytest.mark.parametrize("entries", [0, 1, PART - 1, PART, PART + 1, 3 * PART])
def test_a_long_answer_comes_in_parts_that_are_the_whole(entries: int) -> None:
    """Names of all lengths, so that lengths take one byte, two and three; nothing is lost or told twice."""
    infos = [pb.FileInfo(path=b"x" * (number * 37 % 20_000), length=number, folder=True) for number in range(entries)]
    raw = pb.ListStatusResponse(fileInfos=infos).SerializeToString()
    pieces = [pb.ListStatusResponse.FromString(part) for part in parts(raw)]

    assert [info for piece in pieces for info in piece.fileInfos] == infos
    assert all(len(piece.fileInfos) <= PART for piece in pieces)
    assert len(pieces) == -(-entries // PART)


def test_what_a_later_master_may_add_to_an_answer_does_not_disturb_its_parts() -> None:
    """A field of another kind, anywhere; a tag of two bytes."""
    entry = pb.ListStatusResponse(fileInfos=[pb.FileInfo(path=b"/a")]).SerializeToString()
    number, fixed, text = b"\x10\x96\x01", b"\x1d\x0a\x0a\x0a\x0a", b"\x82\x01\x02\x0a\x0a"
    for raw in (
        entry * 3 + number + entry,
        fixed + entry * 4,
        entry + text + entry * 3,
        entry * 2 + number + entry * 2,
    ):
        pieces = [pb.ListStatusResponse.FromString(part) for part in parts(raw, 2)]
        assert [info.path for piece in pieces for info in piece.fileInfos] == [b"/a"] * 4


@pytest.fixture
def master(tmp_path: Path) -> Iterator[AlluxioMaster]:
    make(tmp_path / "tree", [f"{n}/f" for n in range(12)])
    with AlluxioMaster(tmp_path / "tree") as made:
        yield made


def test_few_messages_are_in_memory_at_once_however_many_listings_are_under_way(master: AlluxioMaster) -> None:
    """All twelve have been asked for before the first is answered; a third reader at once would end the wait."""
    asked, lock = threading.Barrier(12), threading.Lock()
    reading = most = 0
    crowd = threading.Event()

    def together(request: Any, answer: Answer) -> Any:
        asked.wait(30)
        return answer(request)

    intercept(master, methods.LIST_STATUS, together)
    session = Session(f"127.0.0.1:{master.port}", "root", "auto")

    def read(number: int) -> int:
        nonlocal reading, most
        found = 0
        for part in session.stream(methods.LIST_STATUS, requests.list_status(b"/%d" % number)):
            with lock:
                reading += 1
                most = max(most, reading)
            if most > READERS:
                crowd.set()
            crowd.wait(0.05)
            with lock:
                reading -= 1
            found += len(part.fileInfos)
        return found

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(read, range(12))) == [1] * 12
    session.close()
    assert most <= READERS


def test_a_walk_that_ends_early_waits_for_no_reader(master: AlluxioMaster, tmp_path: Path) -> None:
    """Its listings are cancelled, those that wait for their turn to be read too."""
    session = Session(f"127.0.0.1:{master.port}", "root", "auto")
    taken = [session.stream(methods.LIST_STATUS, requests.list_status(b"/%d" % number)) for number in range(READERS)]
    assert all(next(stream).fileInfos for stream in taken)
    with ThreadPoolExecutor(4) as pool:
        waiting = [
            pool.submit(list, session.stream(methods.LIST_STATUS, requests.list_status(b"/5"))) for _ in range(4)
        ]
        session.cancel_streams()
        taken.clear()  # nobody reads them any more
        errors = [future.exception(30) for future in waiting]
    session.close()

    assert all("CANCELLED" in repr(error) for error in errors)
