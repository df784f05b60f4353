"""Events: sent from behind, counted together, limited for each object, and never in anybody's way."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.kube.client import Cluster
from controllers.kube.events import EventRecorder
from tests import kube_script as script
from tests.kube_script import PATIENCE, ScriptedServer, failure, kubeconfig, reply, serve
from workqueue.clock import FakeClock

OK = reply({"metadata": {"name": "e"}})
DATASET = {
    "apiVersion": "data.fluid.io/v1alpha1",
    "kind": "Dataset",
    "metadata": {"namespace": "ns", "name": "imagenet", "uid": "u1", "resourceVersion": "7"},
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve() as served:
        served.answer = lambda seen: OK
        yield served


@pytest.fixture
def recorder(server: ScriptedServer, clock: FakeClock, tmp_path: Path) -> Iterator[EventRecorder]:
    cluster = Cluster.connect(kubeconfig(tmp_path, server.url), None, pool_size=1, user_agent="t")
    made = EventRecorder(cluster, "data.fluid.io/fluidctl", "pod-1", clock)
    yield made
    made.stop(0)
    cluster.close()


def note(recorder: EventRecorder, message: str = "loaded", obj: dict[str, Any] = DATASET) -> None:
    recorder.event(obj, "Normal", "Loaded", "Load", message)


def test_an_event_has_all_that_the_api_requires(recorder: EventRecorder, server: ScriptedServer) -> None:
    note(recorder)
    assert recorder.flush(PATIENCE)
    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/apis/events.k8s.io/v1/namespaces/ns/events")
    body = seen.body
    assert body["metadata"].pop("name").startswith("imagenet.")
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "ns"},
        "eventTime": "2023-11-14T22:13:20.000000Z",
        "type": "Normal",
        "reason": "Loaded",
        "action": "Load",
        "note": "loaded",
        "regarding": {
            "apiVersion": "data.fluid.io/v1alpha1",
            "kind": "Dataset",
            "namespace": "ns",
            "name": "imagenet",
            "uid": "u1",
            "resourceVersion": "7",
        },
        "reportingController": "data.fluid.io/fluidctl",
        "reportingInstance": "pod-1",
    }


def test_the_event_of_a_cluster_wide_object_goes_to_default(recorder: EventRecorder, server: ScriptedServer) -> None:
    note(recorder, obj={"kind": "PersistentVolume", "metadata": {"name": "pv"}})
    recorder.flush(PATIENCE)
    assert server.seen[0].path == "/apis/events.k8s.io/v1/namespaces/default/events"
    assert "namespace" not in server.seen[0].body["regarding"]


def test_the_event_of_the_longest_name_has_a_name_that_the_api_takes(
    recorder: EventRecorder, server: ScriptedServer
) -> None:
    """A name is cut, and what is cut may end in a dot or a dash, after which no dot may follow (RFC 1123)."""
    note(recorder, obj={"kind": "Dataset", "metadata": {"namespace": "ns", "name": "a" * 198 + "-." + "b" * 53}})
    recorder.flush(PATIENCE)
    assert re.fullmatch(r"a{198}\.[0-9a-f]{16}", server.seen[0].body["metadata"]["name"])


def test_a_long_message_is_cut_to_what_the_api_takes(recorder: EventRecorder, server: ScriptedServer) -> None:
    note(recorder, "\u00e9" * 1000)
    recorder.flush(PATIENCE)
    assert server.seen[0].body["note"] == "\u00e9" * 512


def test_the_same_event_again_becomes_a_count(
    recorder: EventRecorder, server: ScriptedServer, clock: FakeClock
) -> None:
    note(recorder)
    recorder.flush(PATIENCE)
    clock.advance(60)
    note(recorder)
    recorder.flush(PATIENCE)
    patch = server.seen[1]
    assert patch.method == "PATCH"
    assert patch.path.rsplit("/", 1)[1] == server.seen[0].body["metadata"]["name"]
    assert patch.body == {"series": {"count": 2, "lastObservedTime": "2023-11-14T22:14:20.000000Z"}}


def test_an_event_that_the_server_has_forgotten_is_created_again(
    recorder: EventRecorder, server: ScriptedServer
) -> None:
    note(recorder)
    recorder.flush(PATIENCE)
    server.answer = lambda seen: failure(404, "NotFound") if seen.method == "PATCH" else OK
    note(recorder)
    recorder.flush(PATIENCE)
    assert [seen.method for seen in server.seen] == ["POST", "PATCH", "POST"]
    assert server.seen[2].body["series"]["count"] == 2


def test_after_a_long_pause_the_same_event_is_a_new_one(
    recorder: EventRecorder, server: ScriptedServer, clock: FakeClock
) -> None:
    note(recorder)
    recorder.flush(PATIENCE)
    clock.advance(601)
    note(recorder)
    recorder.flush(PATIENCE)
    assert [seen.method for seen in server.seen] == ["POST", "POST"]


def test_an_object_gets_twenty_five_at_once_then_one_in_five_minutes(
    recorder: EventRecorder, server: ScriptedServer, clock: FakeClock
) -> None:
    for number in range(100):
        note(recorder, f"message {number}")
    note(recorder, obj={"kind": "Dataset", "metadata": {"name": "other", "uid": "u2"}})
    recorder.flush(PATIENCE)
    assert len(server.seen) == 26, "another object has its own allowance"
    clock.advance(301)
    note(recorder, "later")
    note(recorder, "later still")
    recorder.flush(PATIENCE)
    assert [seen.body["note"] for seen in server.seen[26:]] == ["later"]
    assert recorder.dropped == 0


def test_while_the_server_hangs_nobody_waits_repeats_are_counted_and_a_full_queue_drops(
    recorder: EventRecorder, server: ScriptedServer
) -> None:
    server.answer = lambda seen: script.hang
    note(recorder)
    server.wait_for_requests(1)
    for number in range(1100):
        note(recorder, obj={"kind": "Dataset", "metadata": {"name": f"d{number}"}})
    for _ in range(5):
        note(recorder)
    assert recorder.dropped >= 100
    assert not recorder.flush(0.01)


@pytest.mark.parametrize("answer", [failure(403, "Forbidden"), failure(422, "Invalid")])
def test_what_is_refused_is_dropped_and_counted_and_the_next_one_goes_on(
    recorder: EventRecorder, server: ScriptedServer, answer: script.Answer
) -> None:
    server.answer = lambda seen: answer if seen.body["note"] == "bad" else OK
    note(recorder, "bad")
    note(recorder, "good")
    assert recorder.flush(PATIENCE)
    assert [seen.body["note"] for seen in server.seen] == ["bad", "good"]
    assert recorder.dropped == 1


def test_an_idle_object_does_not_save_up_more_than_its_burst(
    recorder: EventRecorder, server: ScriptedServer, clock: FakeClock
) -> None:
    note(recorder)
    clock.advance(86400)
    for number in range(40):
        note(recorder, f"message {number}")
    recorder.flush(PATIENCE)
    assert len(server.seen) == 26


def test_memory_is_bounded(recorder: EventRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controllers.kube.events._REMEMBERED", 3)
    for number in range(20):
        note(recorder, obj={"kind": "Dataset", "metadata": {"name": f"d{number}"}})
    assert len(recorder._buckets) == len(recorder._series) == 3


def test_a_failure_that_lasts_is_tried_three_times_with_pauses(recorder: EventRecorder, server: ScriptedServer) -> None:
    server.answer = lambda seen: failure(503, "Unavailable")
    begin = time.monotonic()
    note(recorder)
    assert recorder.flush(PATIENCE)
    assert time.monotonic() - begin > 0.9
    assert len(server.seen) == 3
    assert recorder.dropped == 1


def test_a_lost_answer_does_not_make_two_events(recorder: EventRecorder, server: ScriptedServer) -> None:
    answers = [script.reset, failure(409, "AlreadyExists")]
    server.answer = lambda seen: answers.pop(0)
    note(recorder)
    assert recorder.flush(PATIENCE)
    assert server.seen[0].body["metadata"]["name"] == server.seen[1].body["metadata"]["name"]
    assert recorder.dropped == 0


def test_stop_sends_what_is_queued(recorder: EventRecorder, server: ScriptedServer) -> None:
    for number in range(10):
        note(recorder, f"message {number}")
    recorder.stop(PATIENCE)
    assert len(server.seen) == 10


def test_after_stop_events_are_dropped_and_counted(recorder: EventRecorder, server: ScriptedServer) -> None:
    recorder.stop()
    note(recorder)
    assert recorder.dropped == 1
    assert server.seen == []
    recorder._thread.join(PATIENCE)
    assert not recorder._thread.is_alive()
