"""Several masters of one real Alluxio cluster: the leader is found, and found again where it dies in mid-step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controllers.api.result import Exit, Totals
from fluidctl.load.channel import Client, Settings
from tests.load_kit import Steps
from tests.real.alluxio_ha import Masters
from tests.real.gate import Gate

FOLDERS, FILES = 60, 30
PARALLELISM = 4


@pytest.fixture(scope="module")
def store() -> Iterator[Gate]:
    with Gate() as made:
        made.fill("bucket", {f"counted/d{d:02}/f{f:02}": f for d in range(FOLDERS) for f in range(FILES)})
        yield made


@pytest.fixture(scope="module")
def masters(real_programs: None, store: Gate) -> Iterator[Masters]:
    with Masters(store.uri("s3", "bucket"), store.properties("s3")) as running:
        yield running


def test_the_leader_is_found_whatever_the_order_of_the_addresses(masters: Masters, tmp_path: Path) -> None:
    """And standing by is not taken for an old version: what the leader has is used."""
    leader = masters.leader()
    first, second = (member.rpc_address for member in masters.members if member is not leader)
    orders = [[leader.rpc_address, first, second], [first, leader.rpc_address], [second, first, leader.rpc_address]]
    for addresses in orders:
        client = Client(Settings(addresses), Steps(tmp_path, addresses).watch)
        assert (client.master.address, client.has_sync()) == (leader.rpc_address, True)
        client.close()


def test_masters_that_stand_by_are_named_where_none_leads(masters: Masters, tmp_path: Path) -> None:
    """Retryable: a leader may be found the next time."""
    leader = masters.leader()
    others = [member.rpc_address for member in masters.members if member is not leader]
    result, code = Steps(tmp_path / "spill", others, connect_seconds=1.0).run("load", "/counted")

    assert code is Exit.UNREACHABLE
    for address in others:
        assert f"{address} is a standby master" in result.message


def test_a_leader_killed_in_mid_walk_is_replaced_and_the_totals_are_exact(
    masters: Masters, store: Gate, tmp_path: Path
) -> None:
    """SIGKILL while it loads and counts; the step looks for the next leader, and goes on there."""
    dead = masters.leader()
    steps = Steps(tmp_path / "spill", masters.addresses, connect_seconds=150.0)
    store.shut(after=20)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(steps.run, "size", "/counted", parallelism=PARALLELISM)
        store.reached(PARALLELISM)
        dead.kill()
        store.open()
        result, code = running.result()

    assert (code, result.proved, result.totals) == (
        Exit.COMPLETE,
        True,
        Totals(FOLDERS * FILES, FOLDERS, FOLDERS * sum(range(FILES))),
    )
    assert result.master is not None
    assert result.master.address == masters.leader().rpc_address != dead.rpc_address
