"""Exit codes of the commands of people and of the Deployment; those of a Job are ``controllers.api.result.Exit``."""

import enum


class Code(enum.IntEnum):
    """What a command says by its exit code; a code keeps its meaning for ever. 124 and 130 are habits of the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    CRDS_MISSING = 4
    NOT_FOUND = 5
    PORT_TAKEN = 6
    TIMED_OUT = 124
    INTERRUPTED = 130


#: One sentence each, for docs/cli.md.
MEANING = {
    Code.OK: "Done. After a wait: the condition is True, the backup Complete or verified, the restored Dataset Ready.",
    Code.FAILED: "The Dataset or backup is Failed, the backup not verified; the controller had to stop.",
    Code.USAGE: "A flag, argument, environment variable or settings file is wrong; nothing was started.",
    Code.UNREACHABLE: "No kubeconfig, no connection to the cluster, or the cluster refuses this user.",
    Code.CRDS_MISSING: "The cluster does not know our kinds: see `fluidctl crds --help`.",
    Code.NOT_FOUND: "No such Dataset or DataBackup, or it was deleted while it was waited for.",
    Code.PORT_TAKEN: "The address of --metrics-bind or --health-bind cannot be listened on.",
    Code.TIMED_OUT: "`--timeout` passed first.",
    Code.INTERRUPTED: "Ended by Ctrl-C.",
}


class Failure(Exception):
    """An expected end of a command: one line for a person, and the exit code."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
