"""The loader AlluxioCLI as a plain process: exactly what its container runs.

The product only ever runs it in a pod.
"""

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from controllers.api.cli_result import cli_container_command, parse_cli_message
from controllers.api.result import Result


def load_by_cli(
    path: str, env: Mapping[str, str], execute: Callable[..., "subprocess.CompletedProcess[Any]"] = subprocess.run
) -> tuple[Result, int]:
    """Load ``path``, spelled as in controllers.api.command; return the result, never ``proved``, and the exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        message = Path(scratch, "message")
        code = execute(cli_container_command(path, str(message)), env=dict(env), check=False).returncode
        text = message.read_text(encoding="utf-8", errors="replace") if message.exists() else ""
    return parse_cli_message(text, code), code
