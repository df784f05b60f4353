"""Fixtures that many files share; a file that needs another one has its own of that name."""

import gc
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcluster.master import AlluxioMaster
from tests.load_kit import Steps, make
from tests.master_kit import Serve, Server
from workqueue import FakeClock, WorkQueue

#: By default Python looks for cycles so often that it took a tenth of the time of the pure tests.
gc.set_threshold(50_000, 10, 10)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that only the test moves."""
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> Iterator[WorkQueue[str]]:
    """A queue in which no key is slow."""
    made: WorkQueue[str] = WorkQueue(slow_limit=8, slow_after=1e9, clock=clock)
    yield made
    made.shut_down()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six folders with four folders of five files each."""
    root = tmp_path / "tree"
    make(root, [f"d{d}/e{e}/f{f}" for d in range(6) for e in range(4) for f in range(5)])
    return root


@pytest.fixture
def master(tree: Path) -> Iterator[AlluxioMaster]:
    """The double of a master over the tree."""
    with AlluxioMaster(tree) as made:
        yield made


@pytest.fixture
def steps(master: AlluxioMaster, tmp_path: Path) -> Steps:
    """The steps of a Job against that master."""
    return Steps.at(master, tmp_path)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer as the test says."""
    servers: list[Server] = []

    def start(answer: Callable[[socket.socket, str], None]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
