"""The workers' loop, and that the process shows what its parts count."""

import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from controllers.decision import Key
from controllers.metrics import Metrics
from controllers.reconciler import Outcome
from controllers.worker import Workers
from tests.world import World, tree
from workqueue import WorkQueue

KEY = Key("Dataset", "default", "one")


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (Outcome("success"), {"result": "success"}),
        (Outcome("error", error="no answer"), {"result": "error"}),
        (Outcome("error", error="a bug", bug=True), {"result": "error", "panics": "1"}),
    ],
    ids=["success", "error", "bug"],
)
def test_a_bug_is_counted_as_a_panic_and_any_other_error_is_not(outcome: Outcome, counted: dict[str, str]) -> None:
    """An alert looks at that counter: manifests/components/monitoring."""
    registry, queue, done = CollectorRegistry(), WorkQueue[Key](slow_limit=1), threading.Event()

    def process(key: Key) -> Outcome:
        done.set()
        return outcome

    workers = Workers(queue, process, Metrics(registry).controller("dataset", 1), 1)
    workers.start()
    queue.add(KEY)
    assert done.wait(40)
    assert workers.stop(40)

    name, panics = "controller_runtime_reconcile_total", "controller_runtime_reconcile_panics_total"
    assert registry.get_sample_value(name, {"controller": "dataset", "result": counted["result"]}) == 1
    assert registry.get_sample_value(panics, {"controller": "dataset"}) == int(counted.get("panics", 0))


def test_lists_and_watches_of_the_running_controller_are_shown(tmp_path: Path) -> None:
    """One list of each resource, and the version that the last event brought."""
    with World(tree(tmp_path / "data"), tmp_path / "work") as world:
        registry = world._controllers[0]._metrics.registry
        for resource in ("datasets", "jobs", "pods", "persistentvolumeclaims", "persistentvolumes"):
            assert registry.get_sample_value("reflector_lists_total", {"name": resource}) == 1
        before = registry.get_sample_value("reflector_last_resource_version", {"name": "datasets"})
        world.apply()
        world.ready()

        after = registry.get_sample_value("reflector_last_resource_version", {"name": "datasets"})
        assert before is not None
        assert after is not None
        assert after > before
