"""devcluster's server over HTTP: faults as ordered, bookmarks, and a quick end."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers.kube import errors
from controllers.kube.client import Cluster
from controllers.kube.resources import LEASES, Resource
from devcluster import ApiServer, Fault

CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as running:
        yield running


@pytest.fixture
def api(server: ApiServer, tmp_path: Path) -> Iterator[Cluster]:
    server.write_kubeconfig(tmp_path / "kubeconfig")
    cluster = Cluster.connect(str(tmp_path / "kubeconfig"), pool_size=4, user_agent="test")
    yield cluster
    cluster.close()


def make(api: Cluster, name: str) -> None:
    api.create(CONFIGMAPS, "default", {"metadata": {"name": name}})


def test_a_status_is_answered_as_often_as_ordered(server: ApiServer, api: Cluster) -> None:
    server.faults.add("POST .*/configmaps", Fault(status=429, retry_after=7), times=2)
    for _ in range(2):
        with pytest.raises(errors.TooManyRequests) as error:
            make(api, "a")
        assert error.value.retry_after == 7
    make(api, "a")

    assert [code for method, _, code in server.requests if method == "POST"] == [429, 429, 201]


def test_a_lost_answer_is_that_of_a_write_that_was_done(server: ApiServer, api: Cluster) -> None:
    server.faults.add("POST", Fault(lost=True))
    with pytest.raises(errors.NoAnswer):
        make(api, "a")

    assert api.get(CONFIGMAPS, "default", "a")


def test_a_cut_request_was_not_done(server: ApiServer, api: Cluster) -> None:
    server.faults.add("POST", Fault(cut=True))
    with pytest.raises(errors.NoAnswer):
        make(api, "a")

    with pytest.raises(errors.NotFound):
        api.get(CONFIGMAPS, "default", "a")


def test_a_request_that_hangs_is_ended_by_its_client(server: ApiServer, api: Cluster) -> None:
    server.faults.add("PUT", Fault(hang=True))
    with pytest.raises(errors.NoAnswer, match="did not answer in time"):
        api.replace(CONFIGMAPS, {"metadata": {"name": "a", "namespace": "default"}}, timeout=0.2)


def test_latency_comes_before_the_answer(server: ApiServer, api: Cluster) -> None:
    server.faults.add("GET /version", Fault(latency=0.2))
    begin = time.monotonic()
    api.server_version()

    assert time.monotonic() - begin >= 0.2


def test_a_watch_can_be_cut_in_the_middle_of_a_line(server: ApiServer, api: Cluster) -> None:
    server.faults.add("ADDED .*/configmaps", Fault(cut=True))
    _, version, _ = api.list_page(CONFIGMAPS)
    make(api, "a")
    with pytest.raises(errors.NoAnswer):
        list(api.watch(CONFIGMAPS, resource_version=version))


def test_a_watch_can_fall_silent(server: ApiServer, api: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controllers.kube.client.READ_SECONDS", 0.5)  # what counts where the server closes afterwards
    server.faults.add("ADDED .*/configmaps", Fault(hang=True))
    _, version, _ = api.list_page(CONFIGMAPS)
    make(api, "a")
    with pytest.raises(errors.NoAnswer) as caught:
        list(api.watch(CONFIGMAPS, resource_version=version, silence=0.5))
    assert caught.value.reason == "Timeout"


def test_a_watch_of_something_quiet_gets_bookmarks_with_the_version_of_the_moment(
    server: ApiServer, api: Cluster
) -> None:
    server.bookmark_seconds = 0.1
    _, version, _ = api.list_page(CONFIGMAPS)
    api.create(LEASES, "default", {"metadata": {"name": "other"}})
    for event in api.watch(CONFIGMAPS, resource_version=version):
        assert event["type"] == "BOOKMARK"
        assert int(event["object"]["metadata"]["resourceVersion"]) > int(version)
        break


def test_stopping_ends_watches_and_hanging_requests_at_once(tmp_path: Path) -> None:
    server = ApiServer()
    server.write_kubeconfig(tmp_path / "kubeconfig")
    api = Cluster.connect(str(tmp_path / "kubeconfig"), pool_size=8, user_agent="test")
    server.faults.add("GET .*/leases", Fault(hang=True))

    def ignore_the_end(call: object) -> None:
        try:
            list(call())  # type: ignore[operator]
        except errors.KubeError:
            return

    _, version, _ = api.list_page(CONFIGMAPS)
    calls = [lambda: api.watch(CONFIGMAPS, resource_version=version)] * 2 + [lambda: api.watch(LEASES)]
    threads = [threading.Thread(target=ignore_the_end, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    while len(server.requests) < 3 or any(left for _, left in server.faults.orders):
        time.sleep(0.01)
    server.stop()
    for thread in threads:
        thread.join(8)  # a busy machine; a request that is not ended is given up after ten seconds or more

    assert not any(thread.is_alive() for thread in threads)
    api.close()
