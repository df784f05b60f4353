"""The entry point. Commands that run in a Job are handed over before anything else is imported.

A Job pays for each import with the user's time and the pod's memory, so they see neither typer, rich nor kubernetes.
What can be foreseen to go wrong ends in one line on stderr and a code of ``fluidctl.exits``.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

_BACKUP = "fluidctl.backup.main"
#: The module whose ``main`` runs each.
JOB_COMMANDS = {
    "load": "fluidctl.load.main",
    "size": "fluidctl.load.main",
    "mount": "fluidctl.load.mount",
    "take-backup": _BACKUP,
    "verify-backup": _BACKUP,
    "delete-backup": _BACKUP,
    "stage-restore": _BACKUP,
    "agent": "fluidctl.backup.agent",
}


def entry() -> NoReturn:
    """Run the command of this process and end with its exit code.

    A Job's at once: its result is written, and no thread that gRPC left behind may hold up what everybody waits for.
    """
    code = main()
    if sys.argv[1:2] and sys.argv[1] in JOB_COMMANDS:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with the arguments after "fluidctl" and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args and args[0] in JOB_COMMANDS:
        return int(import_module(JOB_COMMANDS[args[0]]).main(args))
    from fluidctl.commands import run

    return run(args)
