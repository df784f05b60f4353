"""The loader AlluxioCLI: a container of the Alluxio image that runs Alluxio's own commands, and how its words are read.

There is no Python in that image, so the container is a few lines of POSIX sh. It writes the last 3,000 bytes of what the
commands printed as termination message, and turns the two failures that it can tell apart into our exit codes.
Alluxio's shell exits with 0 after a partial load too (it only logs such errors): this loader never proves anything.
"""

import re
from collections.abc import Sequence

from controllers.api.result import Exit, Result, describe

METHOD = "AlluxioCLI"

#: $1: path in Alluxio; $2: where the message goes. The path is only ever an argument, so no name in it is code.
_SCRIPT = """\
PATH="$PATH:/opt/alluxio/bin"
out=$( { alluxio fs loadMetadata -R "$1" && alluxio fs du -s "$1"; } 2>&1 ); code=$?
case "$out" in
  *"does not exist."*) [ "$code" = 0 ] || code=10 ;;
  *"Failed to connect to master"*) [ "$code" = 0 ] || code=20 ;;
esac
printf '%s\\n' "$out"
printf '%s\\n' "$out" | tail -c 3000 > "$2"
exit "$code"
"""

_DU = re.compile(r"^(?P<bytes>\d+)\s+\d+ \(\d+%\)\s+/", re.MULTILINE)


def cli_container_command(path: str, result_path: str) -> list[str]:
    """Return the container's command. Raise ValueError for a path with ``*``, which Alluxio's shell would expand."""
    if "*" in path:
        raise ValueError("Alluxio's shell expands * in a path: use loader Grpc")
    return ["/bin/sh", "-c", _SCRIPT, "fluidctl-cli", path, result_path]


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
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    if exit_code != Exit.COMPLETE:
        return Result("load", reason, message=(lines[-1] if lines else f"exit code {exit_code}")[:500], method=METHOD)
    found = _DU.search(text)
    message = f"alluxio fs du -s: {int(found['bytes']):,} bytes" if found else "alluxio fs du -s printed no total"
    return Result("load", reason, message=message, method=METHOD)
