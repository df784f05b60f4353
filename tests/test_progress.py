"""The progress of running Jobs comes from the tails of their logs, and is told when it has moved."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from controllers.api.result import Progress, Result
from controllers.decision import Key
from controllers.kube.errors import Forbidden, NoAnswer, NotFound
from controllers.master_snapshot import ClusterAddress
from controllers.progress import FORBIDDEN_SECONDS, ProgressReader, last_progress
from workqueue.clock import FakeClock

WAIT = 40.0  # real seconds after which a test gives up
KEY = Key("Dataset", "ns", "data")
CLUSTER = ClusterAddress(("m:1",))


def line(files: int, **more: Any) -> str:
    return Progress(step="load", files=files, **more).to_json()


class Scene:
    """A reader on a fake clock; ``log`` is what the pods say, or the error that reading them raises."""

    def __init__(self, rand: float = 0.0) -> None:
        self.clock, self.told = FakeClock(), queue.Queue[Key]()
        self.read: queue.Queue[tuple[str, str]] = queue.Queue()
        self.log: str | Exception = ""
        self.paths: int | None = None
        self.others = set(threading.enumerate())  # such as those of an earlier test that took long to end
        self.reader = ProgressReader(
            self._tail, self.told.put, total_paths=lambda _: self.paths, clock=self.clock, rand=lambda: rand
        )
        self.reader.start()

    def _tail(self, namespace: str, pod: str) -> str:
        self.read.put((namespace, pod))
        if isinstance(self.log, Exception):
            raise self.log
        return self.log

    def begin(self, key: Key = KEY, pod: str = "pod-1") -> None:
        """Register the pod and wait until its log was read."""
        self.reader.register(key, pod, CLUSTER)
        self.read.get(timeout=WAIT)
        self.rest()

    def rest(self) -> None:
        threads = set(threading.enumerate()) - self.others
        self.clock.block_until(sum(thread.name.startswith("progress-") for thread in threads))

    def next(self, log: str | Exception | None = None, seconds: float = 5.0) -> None:
        """Let the time of the next look come, and the look end."""
        self.log = self.log if log is None else log
        self.clock.advance(seconds)
        self.rest()

    def news(self) -> list[Key]:
        return [self.told.get() for _ in range(self.told.qsize())]

    def files(self) -> int | None:
        sample = self.reader.sample(KEY)
        return sample.progress.files if sample else None


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.reader.stop()


@pytest.mark.parametrize(
    ("tail", "files"),
    [
        ("", None),
        ("starting\n", None),
        (line(1) + "\n" + line(2) + "\n", 2),
        (line(1)[20:] + "\n" + line(2), 2),
        (line(1) + "\n" + line(2)[:-5], 1),
        (line(3) + "\nTraceback: boom\n{}\n[]\n", 3),
        (line(3) + "\n" + Result(step="load", reason="Complete").to_json(), 3),
        ('{"v":1,"kind":"Progress"}', None),
        (line(3) + '\n{"v":1,"kind":"Progress","step":"load","files":"many"}', 3),
        (line(3) + '\n{"v":1,"kind":"Progress","step":"load","files":-1}', 3),
        (line(3) + '\n{"v":1,"kind":"Progress","step":"load","files_per_second":NaN}', 3),
        (line(3) + '\n{"v":1,"kind":"Progress","step":"load","bytes":1' + "0" * 30 + "}", 3),
        (line(3) + '\n{"v":1,"kind":"Progress","x":' + "[" * 100_000, 3),
        ('{"v":9,"kind":"Progress","step":"size","files":4,"later":true}', 4),
    ],
)
def test_the_last_whole_progress_line_counts_whatever_stands_around_it(tail: str, files: int | None) -> None:
    found = last_progress(tail)
    assert (found.files if found else None) == files


def test_the_pod_of_the_dataset_is_read_again_and_again(scene: Scene) -> None:
    scene.log = line(5, files_per_second=2.5)
    scene.reader.register(KEY, "pod-1")
    assert scene.read.get(timeout=WAIT) == ("ns", "pod-1")
    scene.rest()
    sample = scene.reader.sample(KEY)
    assert sample is not None
    assert (sample.progress.files, sample.progress.files_per_second, sample.time) == (5, 2.5, scene.clock.now())
    scene.next(line(6))
    assert scene.files() == 6


def test_growth_of_over_one_percent_is_told_and_less_only_after_thirty_seconds(scene: Scene) -> None:
    scene.log = line(1000)
    scene.begin()
    assert scene.news() == [KEY]
    scene.next(line(1010))
    assert scene.news() == []
    scene.next(line(1011))
    assert scene.news() == [KEY]
    for _ in range(5):
        scene.next(line(1012))
    assert scene.news() == []
    scene.next()
    assert scene.news() == [KEY]


def test_a_job_that_counts_no_files_is_told_by_its_words(scene: Scene) -> None:
    """A backup that is copied, or read."""
    scene.log = line(0, message="copying backup: 1 of 4 MB")
    scene.begin()
    scene.news()
    scene.next()
    assert scene.news() == []
    scene.next(line(0, message="copying backup: 2 of 4 MB"))
    assert scene.news() == [KEY]


def test_a_job_that_stands_still_is_not_told(scene: Scene) -> None:
    scene.log = line(1000)
    scene.begin()
    scene.news()
    for _ in range(20):
        scene.next()
    assert scene.news() == []


@pytest.mark.parametrize(("rand", "seconds"), [(0.0, 5.0), (1.0, 10.0)])
def test_looks_are_spread_over_five_to_ten_seconds(rand: float, seconds: float) -> None:
    scene = Scene(rand)
    scene.begin()
    scene.next(seconds=seconds - 0.01)
    assert scene.read.empty()
    scene.next(seconds=0.02)
    assert not scene.read.empty()
    scene.reader.stop()


def test_another_pod_begins_anew_and_the_same_does_not(scene: Scene) -> None:
    scene.log = line(1000)
    scene.begin()
    scene.reader.register(KEY, "pod-1")
    assert scene.files() == 1000
    scene.reader.register(KEY, "pod-2")
    assert scene.files() is None
    scene.next(line(3))
    assert scene.files() == 3
    assert scene.read.get(timeout=WAIT) == ("ns", "pod-2")


@pytest.mark.parametrize("error", [NotFound(404, "NotFound", ""), NoAnswer("Timeout", "")], ids=["404", "no answer"])
def test_a_log_that_cannot_be_read_now_leaves_the_last_sample(scene: Scene, error: Exception) -> None:
    scene.log = line(1000)
    scene.begin()
    scene.next(error)
    assert scene.files() == 1000
    scene.next(line(2000))
    assert scene.files() == 2000


def test_without_the_right_to_read_logs_the_master_tells_and_it_is_said_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.log, scene.paths = Forbidden(403, "Forbidden", "no"), 500
    scene.begin()
    assert scene.news() == [KEY]
    scene.reader.register(Key("DataBackup", "ns", "data"), "pod-2", CLUSTER)
    assert scene.told.get(timeout=WAIT) == Key("DataBackup", "ns", "data")
    scene.rest()
    scene.paths = 620
    scene.next()
    assert scene.files() == 120
    assert scene.read.empty()
    assert caplog.text.count("may not be read") == 1
    scene.next(line(7), FORBIDDEN_SECONDS)  # meanwhile the role was given
    assert scene.files() == 7
    assert caplog.text.count("may not be read") == 1


def test_without_logs_and_without_the_master_nothing_is_claimed(scene: Scene) -> None:
    scene.log = Forbidden(403, "Forbidden", "no")
    scene.begin()
    assert scene.files() is None
    assert scene.news() == []


def test_a_master_that_lost_paths_never_gives_a_negative_count(scene: Scene) -> None:
    scene.log, scene.paths = Forbidden(403, "Forbidden", "no"), 500
    scene.begin()
    scene.paths = 1
    scene.next()
    assert scene.files() == 0
    scene.paths = 11
    scene.next()
    assert scene.files() == 10


def test_an_unregistered_dataset_is_read_no_more(scene: Scene) -> None:
    scene.log = line(1)
    scene.begin()
    scene.reader.unregister(KEY)
    scene.reader.unregister(KEY)
    assert scene.reader.sample(KEY) is None
    scene.clock.advance(100)
    assert scene.read.empty()
