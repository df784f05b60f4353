"""Load and count over a real Alluxio 2.9.6: what os.walk says is what it proves, or it says what is missing."""

import os
from pathlib import Path

import pytest

from controllers.api.result import Exit, Totals
from fluidctl.load.channel import Client
from tests.cli_loader import load_by_cli
from tests.load_kit import Steps, make, odd_tree, truth
from tests.real.alluxio import Alluxio, mere_users_java


@pytest.fixture
def steps(alluxio: Alluxio, tmp_path: Path) -> Steps:
    return Steps(tmp_path / "spill", [alluxio.rpc_address])


@pytest.fixture
def place(alluxio_storage: Path, request: pytest.FixtureRequest) -> Path:
    """Return a directory of this test's own; its path in Alluxio is its name."""
    made = alluxio_storage / f"load-{abs(hash(request.node.name)) % 10**8}"
    made.mkdir()
    return made


@pytest.mark.parametrize("asynchronous", [True, False])
def test_totals_are_those_of_the_storage_whatever_the_names(
    steps: Steps, place: Path, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd names, deep, wide and empty directories; by tasks, and as an older master is loaded."""
    odd_tree(place)
    if not asynchronous:
        monkeypatch.setattr(Client, "has_sync", lambda _: False)
        for name in ("odd/100%", "in/100%/file"):
            (place / name).unlink()
        (place / "in" / "100%").rmdir()
    result, code = steps.both(f"/{place.name}")

    assert (code, result.proved, result.message) == (Exit.COMPLETE, True, "Counted, and proved to be complete.")
    assert (result.totals, result.loaded_by_size) == (truth(place), 0)
    assert result.method == ("SyncMetadata" if asynchronous else "ListStatus")


def test_a_name_that_an_older_master_stumbles_over_leaves_a_doubt_and_an_exact_count(
    steps: Steps, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recursive request leaves out a directory whose name ends in "%", and counts a failure; our count finds it."""
    monkeypatch.setattr(Client, "has_sync", lambda _: False)
    make(place, ["100%/file", "other/file"])
    result, code = steps.both(f"/{place.name}")

    assert (code, result.totals, result.loaded_by_size) == (Exit.COMPLETE, truth(place), 1)
    assert (result.reason, result.proved) == ("CountedUnproved", False)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_directories_that_it_answers_as_empty_are_named_and_never_proved(
    steps: Steps, place: Path, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dangling link, one name that is not UTF-8: status OK, no entries, no failure counted."""
    if not asynchronous:
        monkeypatch.setattr(Client, "has_sync", lambda _: False)
    odd_tree(place)
    make(place, ["bad/link/1", "bad/link/2", "bad/bytes/1", "top"])
    os.symlink("/nonexistent/target", place / "bad" / "link" / "dangling")
    Path(os.fsdecode(os.fsencode(place / "bad" / "bytes") + b"/\xff\xfe")).touch()
    result, code = steps.both(f"/{place.name}")

    assert (code, result.proved, result.failed_count) == (Exit.INCOMPLETE, False, 2)
    assert result.failed_directories == (f"/{place.name}/bad/bytes", f"/{place.name}/bad/link")
    seen = truth(place)
    assert result.totals is not None
    assert result.totals.files == seen.files - 5
    if asynchronous:  # its task knows what the listing hides
        again, _ = steps.both(f"/{place.name}/bad/link")
        assert again.message.endswith(f"{place}/bad/link/dangling")


def test_mended_it_is_loaded_by_a_new_attempt_for_these_directories_alone(steps: Steps, place: Path) -> None:
    """What the controller does with an incomplete count."""
    make(place, ["a/1", "bad/1", "bad/2"])
    link = place / "bad" / "dangling"
    link.symlink_to("/nonexistent/target")
    first, _ = steps.both(f"/{place.name}")
    link.unlink()
    again, code = steps.both(f"/{place.name}", directories=first.failed_directories)

    assert first.failed_directories == (f"/{place.name}/bad",)
    assert (code, again.proved, again.totals) == (Exit.COMPLETE, True, truth(place))


def test_a_count_alone_loads_proves_and_says_how_much_it_loaded(steps: Steps, place: Path) -> None:
    """As after the loader AlluxioCLI."""
    make(place, [f"{n}/f" for n in range(20)])
    result, code = steps.run("size", f"/{place.name}")

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(place))
    assert result.loaded_by_size == 20


@pytest.mark.parametrize(
    ("path", "code"),
    [("/nope", Exit.PATH_NOT_FOUND), ("/{}/file", Exit.NOT_A_DIRECTORY), ("/{}/x/../y", Exit.INVALID_PATH)],
)  # fmt: skip
def test_a_path_that_is_no_directory_is_a_permanent_error(steps: Steps, place: Path, path: str, code: Exit) -> None:
    """Told by the master, or before it is asked."""
    make(place, ["file"])
    for step in ("load", "size"):
        assert steps.run(step, path.format(place.name))[1] is code


def test_its_web_port_is_told_from_a_dead_one(alluxio: Alluxio, tmp_path: Path) -> None:
    """Permanent, and the message names the port."""
    result, code = Steps(tmp_path, [f"{alluxio.host}:{alluxio.web_port}"]).run("load")

    assert code is Exit.NOT_GRPC
    assert f":{alluxio.web_port} does not speak gRPC" in result.message


def test_its_command_line_loads_and_our_count_proves(alluxio: Alluxio, steps: Steps, place: Path) -> None:
    """The loader AlluxioCLI, and its words for a path that is not there."""
    make(place, ["a b/1", "c/2"])
    env = {**os.environ, "PATH": f"{alluxio.executable.parent}:{os.environ['PATH']}"}
    loaded, code = load_by_cli(f"/{place.name}", env)
    counted, _ = steps.run("size", f"/{place.name}")

    assert (code, loaded.proved) == (Exit.COMPLETE, False)
    assert f"{truth(place).bytes} bytes" in loaded.message
    assert (counted.proved, counted.totals, counted.loaded_by_size) == (True, truth(place), 0)
    assert load_by_cli("/nope", env)[1] == Exit.PATH_NOT_FOUND


def test_a_directory_that_the_master_may_not_read_is_named_then_doubted(
    real_programs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered as empty, at once and for good, also by a task that succeeds: only a doubt is left later."""
    root = tmp_path / "root"
    make(root, ["a/1", "empty/", "locked/1", "locked/2"])
    (root / "locked").chmod(0)
    mere_users_java(tmp_path, monkeypatch)
    with Alluxio(root) as master:
        steps = Steps(tmp_path / "spill", [master.rpc_address])
        first, code = steps.both()
        second, _ = steps.both()

    assert (code, first.failed_directories) == (Exit.INCOMPLETE, ("/locked",))
    assert (second.reason, second.proved, second.totals) == ("CountedUnproved", False, Totals(1, 3, 0))
    assert "/locked" in second.message
