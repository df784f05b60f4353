"""The loader AlluxioCLI: its container's shell runs for real, with a stand-in for the ``alluxio`` command."""

import os
from pathlib import Path

import pytest

from controllers.api.cli_result import cli_container_command
from controllers.api.result import Exit
from tests.cli_loader import load_by_cli

# Says what it was called with, then what 2.9.6 prints (alluxio.cli.fs.command), by the name of the command.
ALLUXIO = """#!/bin/sh
printf '%s\\n' "$@" >>"$CALLS"
case $2 in loadMetadata) printf "$LOAD"; exit "$LOAD_CODE" ;; du) printf "$DU" ;; esac
"""
DU = "File Size     In Alluxio       Path\n309           0 (0%%)           /d\n"
HOSTILE = '/a b\'"; touch "$HOME"/pwned; $(touch pwned) `touch pwned` \\ & #\t%41 \n ünï'


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    command = tmp_path / "bin" / "alluxio"
    command.parent.mkdir()
    command.write_text(ALLUXIO)
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    calls = str(tmp_path / "calls")
    return {
        "PATH": path,
        "HOME": str(tmp_path),
        "CALLS": calls,
        "LOAD": "Time elapsed 959\n",
        "LOAD_CODE": "0",
        "DU": DU,
    }


def test_the_two_commands_run_in_their_literal_form_and_prove_nothing(env: dict[str, str], tmp_path: Path) -> None:
    """``alluxio fs loadMetadata -R <path>``, then ``alluxio fs du -s <path>``."""
    result, code = load_by_cli("/d", env)

    assert (tmp_path / "calls").read_text().split() == ["fs", "loadMetadata", "-R", "/d", "fs", "du", "-s", "/d"]
    assert (code, result.method, result.proved, result.totals) == (Exit.COMPLETE, "AlluxioCLI", False, None)
    assert "309 bytes" in result.message


def test_a_hostile_path_is_an_argument_and_nothing_else(env: dict[str, str], tmp_path: Path) -> None:
    """Byte for byte, and no word of it is run."""
    spelled = HOSTILE.replace("%", "%25").replace("\n", "%0A")
    load_by_cli(spelled, env)

    assert (tmp_path / "calls").read_text().count(HOSTILE) == 2
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("printed", "exit_", "reason"),
    [
        ('Path "/d" does not exist.\n', Exit.PATH_NOT_FOUND, "PathNotFound"),
        ("loadMetadata is an unknown command.\n", Exit.UNSUPPORTED_MASTER, "UnsupportedMaster"),
        ("Failed to connect to master (GrpcServerAddress{m}) after 8 attempts.\n", Exit.UNREACHABLE, "Unreachable"),
        ("Permission denied: user=x\n", Exit.PERMISSION_DENIED, "PermissionDenied"),
        ('Path "/other" does not exist.\n', 255, "ExitCode255"),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_its_words_for_the_shell_has_one_code(
    env: dict[str, str], printed: str, exit_: int, reason: str
) -> None:
    """Alluxio's shell exits 255 for all; du is not asked any more."""
    result, code = load_by_cli("/d", {**env, "LOAD": printed, "LOAD_CODE": "255"})

    assert (code, result.reason) == (exit_, reason)
    assert result.message == printed.strip()


def test_log_lines_and_stacks_are_not_the_message(env: dict[str, str]) -> None:
    """Alluxio's loggers write around the answer."""
    noise = "2026-11-24 11:02:10,025 ERROR X\\njava.io.IOException: x\\n\\tat a.b.C\\nNo space.\\n2026-11-24 WARN y\\n"
    result, _ = load_by_cli("/d", {**env, "LOAD": noise, "LOAD_CODE": "255"})

    assert result.message == "No space."


def test_the_message_fits_where_kubernetes_reads_it(env: dict[str, str], tmp_path: Path) -> None:
    """However much is printed, the end of it counts."""
    flood = "x" * 100_000 + "\n"
    result, _ = load_by_cli("/d", {**env, "LOAD": flood})

    assert "309 bytes" in result.message


@pytest.mark.parametrize("path", ["/a*", "/%00", "/%FF", "/100%"])
def test_a_path_that_its_command_line_cannot_name_is_refused(path: str) -> None:
    """A * would name others too."""
    with pytest.raises(ValueError):
        cli_container_command(path, "/dev/termination-log")
