"""Fixtures of the tests against real servers. Marker and time limit come from this directory, not from each test."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import binaries, jars
from tests.real.alluxio import Alluxio
from tests.real.controlplane import ControlPlane
from tests.real.stack import missing_tools

_HERE = Path(__file__).parent
_SECONDS = 300  # a busy machine may be ten times slower than the test expects
_SKIPPED = pytest.StashKey[str]()
_ROOT = _HERE.parent.parent


@pytest.hookimpl(tryfirst=True)  # before "-m" selects by the marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.timeout(_SECONDS))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build and download before the first test, where no time limit applies and a person sees the progress.

    Where that cannot be, the tests that need it go, with one line at the end; FLUIDCTL_REQUIRE_REAL=1: a failure.
    """
    needy = [item for item in session.items if "real_programs" in getattr(item, "fixturenames", ())]
    missing = missing_tools("bwrap") if needy and not session.config.option.collectonly else []
    if missing and os.environ.get("FLUIDCTL_REQUIRE_REAL") == "1":
        pytest.exit(f"the real stack needs {', '.join(missing)} on the PATH", returncode=1)
    elif missing:
        session.items[:] = [item for item in session.items if item not in needy]
        session.config.hook.pytest_deselected(items=needy)
        session.config.stash[_SKIPPED] = f"{len(needy)} real tests skipped: they need {', '.join(missing)} on the PATH"
    elif needy and not session.config.option.collectonly:
        with session.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            for name in binaries.PACKAGES:
                binaries.program(name)
            wanted = {name for item in needy for name in item.fixturenames}  # type: ignore[attr-defined]
            for version in (jars.NEWEST, *(jars.OLDER if "older_programs" in wanted else ())):
                jars.directory(version)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was skipped."""
    if line := config.stash.get(_SKIPPED, ""):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session", autouse=True)
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the session as Ctrl-C does: fixtures are torn down and servers stopped in their order."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def real_programs() -> None:
    """Say that a test needs programs of Go, jars of Maven and Java; pytest_collection_finish has seen to it."""


@pytest.fixture(scope="session")
def older_programs(real_programs: None) -> None:
    """Say that a test needs the jars of older versions of Alluxio, too."""


@pytest.fixture(scope="session")
def control_plane(real_programs: None) -> Iterator[ControlPlane]:
    """Return a running control plane with our CRDs, one for all tests. Give each test a namespace of its own."""
    with ControlPlane([_ROOT / "manifests" / "crds"]) as running:
        yield running


@pytest.fixture(scope="session")
def alluxio_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory under the shared master. Give each test a sub-directory of its own."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="session")
def alluxio(real_programs: None, alluxio_storage: Path) -> Iterator[Alluxio]:
    """Return a running master with one worker over ``alluxio_storage``, for all tests that leave it running."""
    with Alluxio(alluxio_storage, workers=1) as running:
        yield running
