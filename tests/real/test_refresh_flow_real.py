"""A refresh as its user sees it, on a real API server and a real Alluxio: files change, and are known, exactly."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from controllers.api.result import Totals
from controllers.kube.resources import PERSISTENTVOLUMECLAIMS
from tests.load_kit import make, truth
from tests.real.flow import Flow
from tests.real.stack import Stack
from tests.world import Obj, condition

REFRESH = "data.fluid.io/refresh-requested-at"
#: The first test pays for a cold JVM; a busy machine is ten times slower than a quiet one.
SECONDS = 90.0
PARTS = ("run", "load", "size", "refresh")  # of a status that explain a refresh that does not end


@pytest.fixture(scope="module")
def flow(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """One stage for all tests of this file."""
    with (
        Stack(tmp_path_factory.mktemp("storage"), tmp_path_factory.mktemp("work")) as stack,
        closing(Flow(stack)) as made,
    ):
        yield made


def ask(flow: Flow, name: str, word: str) -> None:
    """Ask for a refresh as a person does."""
    flow.kubectl("annotate", "dataset", name, f"{REFRESH}={word}", "--overwrite")


def refreshed(flow: Flow, name: str, number: int) -> Obj:
    """Wait until the refresh that is the run of that number has ended well."""

    def seen() -> Obj | None:
        obj = flow.get(name)
        over = obj and condition(obj, "Refreshing").get("reason") == "Refreshed"
        return obj if obj and over and obj["status"]["run"]["number"] == number else None

    return dict(flow.eyes.until(seen, SECONDS, lambda: [(flow.get(name) or {})["status"][part] for part in PARTS]))


def counted(obj: Obj) -> Totals:
    """Return what the Dataset says that it holds."""
    size = obj["status"]["size"]
    return Totals(size.get("files", 0), size.get("directories", 0), size.get("bytes", 0))


def test_files_that_came_went_and_changed_are_known_and_counted_while_the_dataset_stays_ready(flow: Flow) -> None:
    """7 entries come, 21 go, 2 change; the phase, Ready and the claim never do; nothing is said twice."""
    data = flow.data / "tree"
    make(data, [f"d{folder}/f{file}" for folder in range(10) for file in range(20)])
    flow.make("tree")
    first, before = flow.ready("tree", SECONDS), truth(data)
    claim = flow.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "tree")["metadata"]["uid"]
    make(data, ["new/a", "new/b", "new/c/1", "d0/late"])
    (data / "new/empty").mkdir()
    for file in sorted((data / "d9").iterdir()):
        file.unlink()
    (data / "d9").rmdir()
    for name in ("d1/f1", "d1/f2"):
        (data / name).write_bytes(b"longer than before")
    after = truth(data)

    with flow.watching("get", "dataset", "tree", "--output=json") as watch:
        ask(flow, "tree", "monday")
        found = refreshed(flow, "tree", 2)
        watch.wait_ready(lambda: '"reason": "Refreshed"' in watch.log.read_text(), 30)
        story = _documents(watch.log.read_text())

    status, change = found["status"], found["status"]["refresh"]
    assert (counted(first), counted(found)) == (before, after)
    assert (status["fileCount"], status["ufsTotalBytes"]) == (after.files, after.bytes)
    assert (change["added"], change["removed"], change["changed"]) == (7, 21, 2)
    assert change["filesDelta"] == after.files - before.files == -16
    assert change["bytesDelta"] == after.bytes - before.bytes < 0
    assert (status["lastHandledRefresh"], change["trigger"]) == ("monday", "Requested")
    words = condition(found, "Refreshing")["message"]
    grown = after.bytes - before.bytes
    assert words == f"added 7, removed 21, changed 2 entries; files -16, bytes {grown:+,}"
    assert flow.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "tree")["metadata"]["uid"] == claim
    for seen in story:
        assert (seen["status"]["phase"], condition(seen, "Ready")["status"]) == ("Ready", "True")
        assert condition(seen, "Reconciling")["status"] == condition(seen, "Stalled")["status"] == "False"
        assert seen["status"]["fileCount"] in (before.files, after.files)
    turns = [(turn["status"], turn["reason"]) for turn in (condition(seen, "Refreshing") for seen in story) if turn]
    assert ("True", "Loading") in turns
    assert turns[-1] == ("False", "Refreshed")
    flow.eyes.until(lambda: "added 7, removed 21" in flow.kubectl("events", "--for=dataset/tree"))
    assert flow.eyes.runs["tree"] == sorted(flow.eyes.runs["tree"])


def test_a_refresh_that_finds_nothing_says_so_and_a_value_asks_once(flow: Flow) -> None:
    """The same value again asks for nothing, another one does."""
    make(flow.data / "calm", ["a/1", "b/2"])
    flow.make("calm")
    flow.ready("calm", SECONDS)
    ask(flow, "calm", "one")
    first = refreshed(flow, "calm", 2)
    ask(flow, "calm", "one")
    ask(flow, "calm", "two")

    found = refreshed(flow, "calm", 3)

    assert (first["status"]["lastHandledRefresh"], found["status"]["lastHandledRefresh"]) == ("one", "two")
    words = "added 0, removed 0, changed 0 entries; files +0, bytes +0"
    assert condition(first, "Refreshing")["message"] == condition(found, "Refreshing")["message"] == words


def test_a_directory_that_cannot_be_listed_fails_the_refresh_and_leaves_what_was_known(flow: Flow) -> None:
    """Refreshing says which and since when; mended and asked again, it heals."""
    data = flow.data / "hurt"
    make(data, ["good/1", "broken/1", "broken/2"])
    flow.make("hurt", load={"maxAttempts": 1})
    flow.ready("hurt", SECONDS)
    (data / "broken" / "link").symlink_to("nowhere")
    ask(flow, "hurt", "one")

    found = flow.until("hurt", "Refreshing", "False", seconds=SECONDS)

    hurt = condition(found, "Refreshing")
    assert hurt["reason"] == "Incomplete"
    assert "/hurt/broken" in hurt["message"]
    assert "the data is as it was counted at" in hurt["message"]
    assert condition(found, "Ready")["status"] == "True"
    assert found["status"]["phase"] == "Ready"
    assert found["status"]["fileCount"] == 3
    (data / "broken" / "link").unlink()
    ask(flow, "hurt", "two")
    assert counted(refreshed(flow, "hurt", 3)) == truth(data)
    assert condition(flow.get("hurt"), "Ready")["status"] == "True"


def test_a_storage_that_seems_to_be_empty_takes_ready_away_and_a_persons_word_gives_it_back(flow: Flow) -> None:
    """Nothing is withdrawn; who meant it says so by the fraction and by asking again."""
    data = flow.data / "swept"
    make(data, [f"{file}" for file in range(20)])
    flow.make("swept", load={"maxAttempts": 1})
    flow.ready("swept", SECONDS)
    for file in range(15):
        (data / f"{file}").unlink()
    ask(flow, "swept", "monday")

    found = flow.until("swept", "Ready", "False", "SuspiciousRefresh", "larger spec.load.maxRemovedFraction", SECONDS)

    assert (found["status"]["phase"], condition(found, "Available")["status"]) == ("Ready", "True")
    assert (condition(found, "Refreshing")["reason"], condition(found, "Stalled")["status"]) == (
        "SuspiciousRefresh",
        "True",
    )
    flow.kubectl("patch", "dataset", "swept", "--type=merge", '--patch={"spec":{"load":{"maxRemovedFraction":"1.0"}}}')
    after = flow.ready("swept", SECONDS)["status"]["run"]["number"]
    ask(flow, "swept", "tuesday")
    assert counted(refreshed(flow, "swept", after + 1)) == truth(data)


def _documents(text: str) -> list[Obj]:
    """Return the JSON documents that kubectl has printed, but for a last one that is not whole."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (start := text.find("{", at)) >= 0:
        try:
            document, at = decoder.raw_decode(text, start)
        except ValueError:
            break
        found.append(dict(document))
    return found
