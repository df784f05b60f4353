"""How a tree is cut into sync tasks: which ones, how many at once, and what stands still."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.api.result import Exit
from devcluster.master import AlluxioMaster
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods, requests, shape, sync
from fluidctl.load.channel import Client, Settings
from tests.load_kit import Answer, Steps, intercept, make, truth


@pytest.mark.parametrize(
    ("folders", "listed", "mean", "in_flight", "pays"),
    [
        pytest.param(1_000, 1_000, 100, 16, False, id="wide: 100 listings as one against 2,000"),
        pytest.param(1_000, 1_000, 1_300, 16, True, id="the classes of ImageNet: 1,300 after one another, or 3,000"),
        pytest.param(1_000, 1_000, 500, 16, True, id="at the limit of what may be wasted"),
        pytest.param(1_000, 1_000, 490, 16, False, id="beyond it"),
        pytest.param(300, 1_000_000, 100, 16, True, id="much is directly in the parents, and would be listed again"),
        pytest.param(300, 300, 1_300, 2, False, id="two at once are no faster"),
        pytest.param(300, 300, 0, 16, False, id="empty ones"),
    ],
)
def test_a_task_for_each_folder_pays_where_it_is_faster_and_wastes_little(
    folders: int, listed: int, mean: float, in_flight: int, pays: bool
) -> None:
    """Of many folders; a few get one each, unseen."""
    assert shape.pays(folders, listed, mean, in_flight) is pays


@pytest.mark.parametrize("count", [1, 7, 8, 9, 250, 50_000])
def test_a_sample_is_spread_and_always_the_same(count: int) -> None:
    """So that a new attempt asks for the same folders, and joins what is under way."""
    folders = [b"%d" % n for n in range(count)]

    found = shape.sample(folders)
    assert len(set(found)) == len(found) == min(count, shape.SAMPLE)
    assert found == shape.sample(folders)
    assert len(found) < shape.SAMPLE or folders.index(found[-1]) >= count * 0.6


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which a few files are many."""
    for name, value in (("PAGE", 8), ("FEW", 6), ("MANY", 30), ("SAMPLE", 2)):
        monkeypatch.setattr(shape, name, value)


@pytest.fixture
def master(tmp_path: Path) -> Iterator[AlluxioMaster]:
    with AlluxioMaster(tmp_path / "tree") as made:
        yield made


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("files", "tasks"),
    [
        pytest.param(["f", "g"], "1", id="flat"),
        pytest.param([f"{n}/f" for n in range(5)], "1 *****", id="few folders: a task each"),
        pytest.param([f"{n}/f" for n in range(9)], "1 ** *", id="many small ones: two are tried, one for all"),
        pytest.param([f"{n}/{f}" for n in range(9) for f in range(9)], f"1 ** {'*' * 7}", id="many big ones"),
        pytest.param([f"{n}/{f}" for n in range(31) for f in range(9)], "1 *", id="too many"),
        pytest.param([f"a/b/{n}/e/f" for n in range(4)], "1 1 1 ****", id="below single folders"),
        pytest.param(["a/b/c/d/e/f"], "1 1 1 *", id="a chain: only so deep"),
        pytest.param(
            [f"{s}/{n}/{f}" for s in "tv" for n in range(4) for f in range(9)],
            f"1 11 ** {'*' * 6}",
            id="train and validation",
        ),
    ],
)
def test_a_tree_is_cut_by_its_shape(
    master: AlluxioMaster, steps: Steps, tmp_path: Path, files: list[str], tasks: str
) -> None:
    """1: a task of one level; *: one of a whole tree. Up to four at once. The count finds nothing left to list."""
    make(tmp_path / "tree", files)
    loaded, _ = steps.run("load")
    listings = master.counters["MetadataSyncPrefetchOpsCount"]
    counted, code = steps.run("size", evidence=loaded.evidence)

    assert "".join("*" if task.deep else "1" for task in master._groups) == tasks.replace(" ", "")
    assert (code, counted.proved, counted.totals) == (Exit.COMPLETE, True, truth(tmp_path / "tree"))
    assert master.counters["MetadataSyncPrefetchOpsCount"] == listings


@pytest.mark.usefixtures("small")
def test_progress_counts_nothing_twice(steps: Steps, tmp_path: Path) -> None:
    """Where two folders were tried and then all listed as one; a task may count its own path."""
    make(tmp_path / "tree", ["top", *(f"{n}/f" for n in range(9))])
    steps.run("load")

    seen = truth(tmp_path / "tree")
    assert 0 <= steps.watch.totals.files - seen.files - seen.directories <= 1


class _Slow:
    """Lets every task of a whole tree run for some looks, and keeps count of those that run."""

    def __init__(self, master: AlluxioMaster, looks: int) -> None:
        self.most, self.submitted = 0, 0
        self._left = dict[int, int]()
        self._looks = looks
        intercept(master, methods.SYNC_METADATA_ASYNC, self._submit)
        intercept(master, methods.GET_SYNC_PROGRESS, self._progress)

    def release(self) -> None:
        """Let all end."""
        self._looks = 0
        self._left.clear()

    def _submit(self, request: Any, answer: Answer) -> Any:
        found = answer(request)
        if request.options.loadDescendantType == pb.ALL:
            self._left[found.taskGroupId] = self._looks
        self.submitted += 1
        self.most = max(self.most, sum(left > 0 for left in self._left.values()))
        return found

    def _progress(self, request: Any, answer: Answer) -> Any:
        found = answer(request)
        if self._left.get(request.taskGroupId, 0) > 0:
            self._left[request.taskGroupId] -= 1
            found.task[0].state = pb.RUNNING
        return found


@pytest.mark.parametrize("parallelism", [1, 3])
def test_no_more_tasks_than_asked_for_run_at_once(
    master: AlluxioMaster, steps: Steps, tmp_path: Path, parallelism: int
) -> None:
    """And all of them do; a single one is asked for the whole tree."""
    make(tmp_path / "tree", [f"{n}/f" for n in range(8)])
    slow = _Slow(master, looks=2)
    _, code = steps.run("load", parallelism=parallelism)

    assert (code, slow.most) == (Exit.COMPLETE, parallelism)
    assert slow.submitted == (1 if parallelism == 1 else 9)


def test_what_has_no_place_beside_tasks_that_stand_still_is_walked(
    master: AlluxioMaster, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of eight folders hold all places for ever; the load ends, is exact, and leaves none running."""
    monkeypatch.setattr(sync, "QUIET_SECONDS", 0.3)
    make(tmp_path / "tree", [f"{n}/f" for n in range(8)])
    _Slow(master, looks=1_000_000)
    loaded, code = steps.run("load", parallelism=3)
    counted, _ = steps.run("size", evidence=loaded.evidence)

    assert code is Exit.COMPLETE
    assert loaded.message.startswith("The master knows /. 8 parts were walked instead: /0: nothing moved for ")
    assert (counted.proved, counted.totals) == (True, truth(tmp_path / "tree"))


def test_after_a_restart_a_number_is_somebody_elses_task(
    master: AlluxioMaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours are forgotten: the other's success is not ours, and we do not cancel it."""
    make(tmp_path / "tree", ["ours/f", "theirs/f"])
    address = f"127.0.0.1:{master.port}"
    monkeypatch.setattr(sync, "QUIET_SECONDS", 0.3)
    slow, cancelled = _Slow(master, looks=1_000_000), list[int]()
    intercept(master, methods.CANCEL_SYNC_METADATA, lambda request, answer: cancelled.append(request.taskGroupId))
    watch = Steps(tmp_path, [address]).watch
    client, other = (Client(Settings([address]), watch) for _ in range(2))
    tasks = sync.Sync(client, watch, 2, 0.3)
    (ours,) = tasks.run([b"/ours"])
    assert (ours.running, ours.stalled, ours.group) == (True, True, 0)
    master.restart()
    theirs = other.call(methods.SYNC_METADATA_ASYNC, requests.sync_metadata(b"/theirs")).taskGroupId
    slow.release()
    tasks.run([b"/theirs"])

    assert theirs == ours.group
    assert (ours.ok, ours.running) == (False, False)
    assert ours.reason == "the master forgot the task: it was restarted"
    assert cancelled == []
    client.close()
    other.close()
