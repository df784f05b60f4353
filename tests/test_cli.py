"""The command line: who handles a command, what is imported for it, and how a wrong one ends."""

import subprocess
import sys

import pytest

from fluidctl.cli import JOB_COMMANDS, main
from fluidctl.version import __version__

#: Refuse every look-up and connection of a process, and say which modules it has loaded at its end.
_NO_NETWORK = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"):
        raise PermissionError(event)
sys.addaudithook(refuse)
"""


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_path_of_a_job_imports_neither_typer_nor_rich_nor_kubernetes() -> None:
    """A Job pays for every import, so load and size are handed over before the commands of people are loaded."""
    code = "import sys, fluidctl.cli, fluidctl.load.main\nprint(*sys.modules)"

    loaded = {name.partition(".")[0] for name in _python(code).split()}

    assert {"fluidctl", "grpc"} <= loaded
    assert not loaded & {"typer", "rich", "click", "kubernetes", "prometheus_client", "yaml", "pydantic"}


@pytest.mark.parametrize("module", ["fluidctl.commands", "fluidctl.load.main", "fluidctl.demo", "fluidctl.follow"])
def test_importing_takes_no_network(module: str) -> None:
    """Starting a command opens no socket before it is told which cluster to speak to."""
    _python(f"{_NO_NETWORK}\nimport {module}")


@pytest.mark.parametrize("command", JOB_COMMANDS)
def test_a_job_command_is_handed_over_with_all_its_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the step refuses is refused in its own words and with the Job's own usage code."""
    assert main([command, "--no-such-flag"]) == 2
    assert "usage: fluidctl" in capsys.readouterr().err


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read it."""
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        pytest.param(["no-such-command"], "no-such-command", id="command"),
        pytest.param(["--no-such-flag"], "--no-such-flag", id="flag of the program"),
        pytest.param(["controller", "--no-such-flag"], "--no-such-flag", id="flag of a command"),
        pytest.param(["controller", "--workers", "many"], "--workers", id="not a number"),
        pytest.param(["controller", "--workers", "0"], "--workers", id="number out of range"),
        pytest.param(["controller", "--log-format", "xml"], "--log-format", id="not one of the words"),
        pytest.param(["wait"], "name", id="missing argument"),
        pytest.param(["wait", "a", "--for", "Raedy"], "--for", id="no such condition"),
        pytest.param(["wait", "a", "--timeout", "-1"], "--timeout", id="negative time"),
        pytest.param(["get", "-o", "yml"], "-o", id="no such format"),
        pytest.param(["get", "a", "-A"], "-A", id="a name in all namespaces"),
        pytest.param(["demo", "--files", "-1"], "--files", id="negative number of files"),
        pytest.param(["demo", "--data", "/no/such/directory"], "/no/such/directory", id="no such directory"),
    ],
)
def test_a_wrong_command_line_ends_in_one_line_that_names_it(
    argv: list[str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr, nothing on stdout, code 2, and nothing was started."""
    assert main(argv) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert names in said.err


def test_no_arguments_show_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody who types the bare name learns what there is."""
    assert main([]) == 0
    assert {"controller", "crds", "demo", "get", "version", "wait"} <= set(capsys.readouterr().out.split())
