"""What the images hold that our pods name: this Python with our package, and an Alluxio from its jars."""

from collections.abc import Sequence
from pathlib import Path

from tests.real import jars
from tests.real.alluxio import JAVA
from tests.real.sandbox import Bind, python

#: Read before what the pod says, which wins, but for the address: every pod has its own on the host's loopback.
_DEFAULTS = {
    "alluxio.home": "/opt/alluxio",
    "alluxio.conf.dir": "/opt/alluxio/conf",
    "alluxio.site.conf.dir": "/opt/alluxio/conf",
    "alluxio.logger.type": "Console",
    "alluxio.web.ui.enabled": "false",  # its pages are not in the jars
    "alluxio.master.update.check.enabled": "false",
    "alluxio.master.worker.connect.wait.time": "50ms",
    "fluidctl.log.level": "INFO",
}
_BOUND = ("alluxio.master", "alluxio.master.web", "alluxio.worker", "alluxio.worker.web", "alluxio.worker.data")
# As the official image has it (2.9, integration/docker/entrypoint.sh): one service, in place of the shell.
_ENTRYPOINT = """#!/bin/sh
set -e
cd /opt/alluxio
touch conf/alluxio-env.sh
[ "$2" = --no-format ] || { echo "the rig knows no other way than --no-format" >&2; exit 1; }
case "$1" in
master-only) exec bin/alluxio master ;;
worker-only) exec bin/alluxio worker ;;
*) echo "unknown service: $1" >&2; exit 1 ;;
esac
"""
_COMMAND = """#!/bin/sh
export LC_ALL=C.UTF-8 AWS_EC2_METADATA_DISABLED=true
run() { exec java -Xmx512m %(flags)s $ALLUXIO_JAVA_OPTS "$@"; }
case "$1" in
master) run $ALLUXIO_MASTER_JAVA_OPTS %(bound)s -cp "$CP" alluxio.master.AlluxioMaster ;;
worker) run $ALLUXIO_WORKER_JAVA_OPTS %(bound)s -cp "$CP" alluxio.worker.AlluxioWorker ;;
formatJournal | formatMaster) run $ALLUXIO_USER_JAVA_OPTS -cp "$CP" alluxio.cli.Format MASTER ;;
fs) shift; run -cp "$CP" alluxio.cli.fs.FileSystemShell "$@" ;;
fsadmin) shift; run -cp "$CP" alluxio.cli.fsadmin.FileSystemAdminShell "$@" ;;
*) echo "unknown command: $1" >&2; exit 1 ;;
esac
"""


def is_alluxio(image: str) -> bool:
    """Return whether an image is one of Alluxio: all others are ours."""
    return "alluxio" in image.rpartition("/")[2]


def files(image: str, directory: Path) -> list[Bind]:
    """Return what an image brings to a container; what the container may change of it is in ``directory``."""
    if not is_alluxio(image):
        return []
    home = directory / "alluxio"
    for name in ("conf", "bin", "logs"):
        (home / name).mkdir(parents=True, exist_ok=True)
    flags = " ".join([*JAVA, *(f"-D{name}={value}" for name, value in _DEFAULTS.items())])
    bound = " ".join(f"-D{name}.bind.host=$RIG_ADDRESS" for name in _BOUND)
    script = _COMMAND.replace("$CP", "/opt/alluxio/lib/*") % {"flags": flags, "bound": bound}
    _script(home / "bin" / "alluxio", script)
    _script(directory / "entrypoint.sh", _ENTRYPOINT)
    return [
        Bind(home, "/opt/alluxio"),
        Bind(jars.directory(), "/opt/alluxio/lib", True),
        Bind(directory / "entrypoint.sh", "/entrypoint.sh", True),
        Bind(jars.MAVEN, str(jars.MAVEN), True),  # the settings of the log
    ]


def argv(image: str, command: Sequence[str], args: Sequence[str]) -> list[str]:
    """Return the words of a container's process: its command, or the image's entrypoint."""
    words = [*(command or [("/entrypoint.sh" if is_alluxio(image) else "fluidctl")]), *args]
    return python("-m", *words) if words[0] == "fluidctl" else words


def _script(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)
