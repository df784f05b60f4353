"""A process as a container has it, by bubblewrap: own files, own process ids, no rights; the network is the host's."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent
#: The parts of the host that every image shares; what is not here does not exist in a container.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32")
_ETC = ("alternatives", "host.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf", "ssl")
#: Users of the official image; any other number has no name, as there.
_FILES = ("hosts", "passwd")
_NAMES = "/etc/rig"
_PASSWD = "root:x:0:0:root:/root:/bin/bash\nalluxio:x:1000:1000::/home/alluxio:/bin/bash\n"


@dataclass(frozen=True)
class Bind:
    """A file or directory of the host at a place in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Box:
    """What a process sees. ``names``: a directory with ``hosts``, which ``write_hosts`` may replace while it runs."""

    binds: Sequence[Bind]
    names: Path
    hostname: str
    user: int = 65532
    group: int = 65532
    directory: str = "/"
    temporary: bool = True  # a /tmp that anybody may write to

    def command(self, argv: Sequence[str], environment: Mapping[str, str], *options: str) -> list[str]:
        """Return what runs ``argv`` in the box, as its process 1. The files are root's who runs the tests."""
        words = ["--unshare-user", "--uid", str(self.user), "--gid", str(self.group), "--unshare-pid", "--as-pid-1"]
        words += ["--die-with-parent", "--unshare-uts", "--hostname", self.hostname, "--unshare-ipc", "--clearenv"]
        words += [part for name, value in environment.items() for part in ("--setenv", name, value)]
        words += ["--proc", "/proc", "--dev", "/dev", *(("--tmpfs", "/tmp") if self.temporary else ())]
        words += [part for bind in self._all() for part in _words(bind)]
        words += [part for file in _FILES for part in ("--symlink", f"{_NAMES}/{file}", f"/etc/{file}")]
        return [_bwrap(), *words, *options, "--remount-ro", "/", "--chdir", self.directory, "--", *argv]

    def _all(self) -> list[Bind]:
        etc = [*_ETC, *(found.name for found in Path("/etc").glob("java*"))]
        shared = [*_SYSTEM, *(f"/etc/{name}" for name in etc)]
        system = [Bind(Path(path), path, True) for path in shared if Path(path).exists()]
        volumes = sorted(self.binds, key=lambda bind: bind.target)  # a parent before what is mounted in it
        return [
            *system,
            Bind(self.names, _NAMES, True),
            *volumes,
            *(Bind(path, str(path), True) for path in _programs()),
        ]


class Contained:
    """A running process in a box. Whoever starts it must live as long: the kernel ends it with that thread."""

    def __init__(self, box: Box, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        told, tell = os.pipe()
        command = box.command(argv, environment, "--info-fd", str(tell))
        with log.open("ab") as output, os.fdopen(told) as info:
            null = subprocess.DEVNULL
            self._outer = subprocess.Popen(
                command, stdin=null, stdout=output, stderr=output, pass_fds=[tell], process_group=0
            )
            os.close(tell)
            said = info.read()  # nothing where bubblewrap could not make the box; its words are in the log
        self._pid: int | None = json.loads(said)["child-pid"] if said else None

    def signal(self, number: int) -> None:
        """Send a signal to its first process; SIGKILL ends all of them."""
        if self._pid is not None and self._outer.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def wait(self, seconds: float | None = None) -> int:
        """Return the exit code as a container has it (128 and the signal), or raise subprocess.TimeoutExpired."""
        code = self._outer.wait(seconds)
        return code if code >= 0 else 128 - code


def write_hosts(names: Path, lines: Sequence[str]) -> None:
    """Give the boxes of that directory these lines of /etc/hosts, all at once: a reader sees the old or the new."""
    names.mkdir(exist_ok=True)
    (names / "passwd").write_text(_PASSWD) if not (names / "passwd").exists() else None
    (names / "new").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    (names / "new").replace(names / "hosts")


def python(*arguments: str) -> list[str]:
    """Return the argv of this Python in a box."""
    return [sys.executable, *arguments]


def _words(bind: Bind) -> tuple[str, str, str]:
    return "--ro-bind" if bind.read_only else "--bind", str(bind.source.resolve()), bind.target


def _programs() -> list[Path]:
    """Where this Python, our package and Java are, as far as /usr has them not."""
    java = Path(shutil.which("java") or "/usr/bin/java").resolve().parent.parent
    places = dict.fromkeys([Path(sys.base_prefix), Path(sys.prefix), _ROOT, java])
    return [place for place in places if not place.is_relative_to("/usr")]


def _bwrap() -> str:
    if found := shutil.which("bwrap"):
        return found
    raise FileNotFoundError("bwrap (bubblewrap) is not on the PATH")
