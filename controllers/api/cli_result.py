"""The loader AlluxioCLI: a container of the Alluxio image that runs Alluxio's own commands, and how its words are read.

There is no Python in that image, so the container is a few lines of POSIX sh. It writes the last 3,000 bytes of what
the commands printed as termination message. Alluxio's shell exits with 255 for every failure; the words that tell
failures apart become our exit codes. It exits with 0 after a partial load too: this loader never proves anything.
"""

import re
from collections.abc import Sequence

from controllers.api.result import Exit, Result, describe
from controllers.api.spelling import decode

METHOD = "AlluxioCLI"

#: $1: path in Alluxio; $2: where the message goes. The path is only ever an argument, so no name in it is code.
_SCRIPT = """\
PATH="$PATH:/opt/alluxio/bin"
out=$( { alluxio fs loadMetadata -R "$1" && alluxio fs du -s "$1"; } 2>&1 ); code=$?
if [ "$code" != 0 ]; then
  case "$out" in
    *"Path \\"$1\\" does not exist"*) code=10 ;;
    *"is an unknown command"*) code=13 ;;
    *"Failed to connect to master ("*) code=20 ;;
    *"Permission denied"*) code=12 ;;
  esac
fi
printf '%s\\n' "$out"
printf '%s\\n' "$out" | tail -c 3000 > "$2"
exit "$code"
"""

#: What Alluxio's loggers write between the answers of its shell: log lines, stack traces.
_NOISE = re.compile(r"\d{4}-\d\d-\d\d |\tat |Caused by: |[a-z]+(\.\w+)+(Exception|Error)\b")
_DU = re.compile(r"^(?P<bytes>\d+)\s+\d+ \(\d+%\)\s+/", re.MULTILINE)


def cli_container_command(path: str, result_path: str) -> list[str]:
    """Return the container's command for a path spelled as in ``command``.

    Raise ValueError where no argument of Alluxio's shell can name it: a ``*`` is expanded there, a NUL ends it, and an
    argv in Kubernetes holds no bytes that are not UTF-8.
    """
    name = decode(path).decode()
    if "*" in name or "\0" in name:
        raise ValueError("Alluxio's shell cannot name this path (it expands *): use loader Grpc")
    return ["/bin/sh", "-c", _SCRIPT, "fluidctl-cli", name, result_path]


def cli_environment(masters: Sequence[str]) -> dict[str, str]:
    """Return the environment that points Alluxio's shell at these masters (host:port). Its logs go to /tmp."""
    if len(masters) == 1:
        host, _, port = masters[0].rpartition(":")
        where = f"-Dalluxio.master.hostname={host.strip('[]')} -Dalluxio.master.rpc.port={port}"
    else:
        where = f"-Dalluxio.master.rpc.addresses={','.join(masters)}"
    return {"ALLUXIO_USER_JAVA_OPTS": f"{where} -Dalluxio.logs.dir=/tmp", "ALLUXIO_LOGS_DIR": "/tmp"}


def parse_cli_message(text: str, exit_code: int) -> Result:
    """Return what the container's last words mean. Bytes come from ``du -s``; files are not counted by it."""
    reason, _ = describe(exit_code)
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip() and not _NOISE.match(line)]
    if exit_code != Exit.COMPLETE:
        return Result("load", reason, message=(lines[-1] if lines else f"exit code {exit_code}")[:500], method=METHOD)
    found = _DU.search(text)
    message = f"alluxio fs du -s: {int(found['bytes']):,} bytes" if found else "alluxio fs du -s printed no total"
    return Result("load", reason, message=message, method=METHOD)
