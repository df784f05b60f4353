"""A real Alluxio on the loopback address: one master, up to one worker, its command line. No cluster needed."""

import json
import os
import shlex
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from tests.real import cache, jars
from tests.real.process import Process, free_ports, run

_MASTER = "alluxio.master.AlluxioMaster"
_WORKER = "alluxio.worker.AlluxioWorker"
_SHELLS = {"fs": "alluxio.cli.fs.FileSystemShell", "fsadmin": "alluxio.cli.fsadmin.FileSystemAdminShell"}
#: What Alluxio 2.9 needs on Java 17, for which it was not made.
JAVA = [
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in ("java.lang", "java.util", "java.util.concurrent", "java.nio", "sun.nio.ch")
    ),
    "--add-exports=java.management/sun.management=ALL-UNNAMED",  # 2.9.0
    "-Dio.netty.tryReflectionSetAccessible=true",
    f"-Dlog4j.configuration=file:{jars.MAVEN / 'log4j.properties'}",
]
_START_SECONDS = 90.0  # 5 on an idle machine


def mere_users_java(directory: Path, patch: pytest.MonkeyPatch) -> None:
    """Let masters that start under this patch read what their user may read; root, who may read all, loses that power.

    ``directory`` is for a wrapper of java. Skip the test where root has no setpriv.
    """
    java, setpriv = shutil.which("java"), shutil.which("setpriv")
    if os.geteuid() != 0:
        return
    if setpriv is None:
        pytest.skip("root without setpriv (util-linux): everything is readable")
    drop = "-dac_override,-dac_read_search"
    wrapper = directory / "java"
    wrapper.write_text(f'#!/bin/sh\nexec {setpriv} --bounding-set={drop} --inh-caps={drop} {java} "$@"\n')
    wrapper.chmod(0o755)
    patch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


class Alluxio:
    """Context manager: a formatted master over a storage, with its own temporary directory and ports.

    Attributes:
        host, rpc_port, web_port: of the master. directory: logs, journal, cache, and ``alluxio``, the command line.
    """

    def __init__(
        self,
        storage: Path | str,
        workers: int = 0,
        properties: Mapping[str, str] | None = None,
        heap: str = "1g",
        version: str = jars.NEWEST,
    ) -> None:
        """``storage`` is the root mount (a directory, or a URI with what it needs in ``properties``).

        ``workers`` is 0 or 1: metadata needs none. ``properties`` win over ours; ``heap`` is the master's -Xmx.
        ``version`` is one of those in jars.
        """
        self.storage = str(storage)
        self.host = "127.0.0.1"
        self._workers = workers
        self._heap = heap
        self._version = version
        self._extra = dict(properties or {})
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = Path(tempfile.mkdtemp(prefix="fluidctl-alluxio-"))
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.rpc_port, self.web_port, self._worker_rpc, self._worker_web = self._ports()
            self._properties = self._defaults() | self._extra
            self._jars = jars.directory(self._version)
            self._classpath = f"{self._jars}/*"
            self._write_command_line()
            shutil.copytree(self._formatted_journal(), self.directory / "journal")
            self._master = self._run(_MASTER, "master", self._heap)
            stack.callback(lambda: self._master.kill())  # nothing is kept: no reason to wait for a clean end
            if self._workers:
                self._worker = self._run(_WORKER, "worker", "512m")
                stack.callback(self._worker.kill)
            self._master.wait_ready(self.serving, _START_SECONDS)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def rpc_address(self) -> str:
        """Return host:port of the master's gRPC service."""
        return f"{self.host}:{self.rpc_port}"

    @property
    def executable(self) -> Path:
        """Return the ``alluxio`` command of this cluster (``fs``, ``fsadmin``), as an Alluxio image has it."""
        return self.directory / "alluxio"

    @property
    def master_pid(self) -> int:
        """Return the process id of the master."""
        return self._master.pid

    def cli(self, *arguments: str, seconds: float = 120) -> str:
        """Run ``alluxio`` and return its stdout; errors as of ``process.run``."""
        return run([self.executable, *arguments], self._environment(), seconds)

    def info(self, page: str = "info") -> Any:
        """Return a page of the master's REST interface: ``info``, ``webui_overview``, ... Raise OSError."""
        url = f"http://{self.host}:{self.web_port}/api/v1/master/{page}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def serving(self) -> bool:
        """Return whether the master serves and knows as many workers as it should.

        A leading master opens its web port last, about 2 s after its RPC service (AlluxioMasterProcess.start).
        """
        try:
            return len(self.info("info")["workers"]) >= self._workers
        except OSError:
            return False

    def log_tail(self) -> str:
        """Return the end of the master's log."""
        return self._master.tail()

    def kill(self) -> None:
        """Kill the master as a crash would: SIGKILL, nothing flushed."""
        self._master.kill()

    def restart(self) -> None:
        """Start the master again on its journal and ports, after ``kill`` or instead of it. Return when it serves."""
        self._master.stop()
        self._master = self._run(_MASTER, "master", self._heap)
        self._master.wait_ready(self.serving, _START_SECONDS)

    def pause(self) -> None:
        """Freeze the master: it holds its connections and answers nothing."""
        self._master.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the master go on."""
        self._master.signal(signal.SIGCONT)

    def _ports(self) -> Sequence[int]:
        """Return the ports of RPC and web of the master, then of the worker."""
        return free_ports(4)

    def _defaults(self) -> dict[str, str]:
        return {
            "alluxio.home": str(self.directory),
            "alluxio.conf.dir": str(self.directory),  # none of ~/.alluxio, /etc/alluxio
            "alluxio.site.conf.dir": str(self.directory),
            "alluxio.logs.dir": str(self.directory / "logs"),
            "alluxio.work.dir": str(self.directory / "work"),
            "alluxio.tmp.dirs": str(self.directory / "tmp"),
            "alluxio.logger.type": "Console",
            "alluxio.web.ui.enabled": "false",  # its pages are not in the jars; REST and metrics stay
            "alluxio.master.hostname": self.host,
            "alluxio.master.bind.host": self.host,
            "alluxio.master.web.bind.host": self.host,
            "alluxio.master.rpc.port": str(self.rpc_port),
            "alluxio.master.web.port": str(self.web_port),
            "alluxio.master.mount.table.root.ufs": self.storage,
            "alluxio.master.mount.table.root.readonly": "true",
            "alluxio.master.journal.type": "UFS",
            "alluxio.master.journal.folder": str(self.directory / "journal"),
            "alluxio.master.journal.tailer.shutdown.quiet.wait.time": "50ms",  # 5 s of the default start
            "alluxio.master.metastore": "HEAP",
            "alluxio.master.update.check.enabled": "false",
            "alluxio.worker.hostname": self.host,
            "alluxio.worker.bind.host": self.host,
            "alluxio.worker.web.bind.host": self.host,
            "alluxio.worker.rpc.port": str(self._worker_rpc),
            "alluxio.worker.web.port": str(self._worker_web),
            "alluxio.worker.ramdisk.size": "256MB",
            "alluxio.worker.tieredstore.levels": "1",
            "alluxio.worker.tieredstore.level0.alias": "SSD",
            "alluxio.worker.tieredstore.level0.dirs.path": str(self.directory / "cache"),
            "alluxio.worker.tieredstore.level0.dirs.quota": "256MB",
            "alluxio.underfs.object.store.breadcrumbs.enabled": "false",
        }

    def _java(self, main: str, heap: str, level: str) -> list[str]:
        java = shutil.which("java")
        if java is None:
            raise FileNotFoundError("java is not on the PATH")
        settings = [f"-D{name}={value}" for name, value in self._properties.items()]
        return [java, f"-Xmx{heap}", *JAVA, f"-Dfluidctl.log.level={level}", *settings, "-cp", self._classpath, main]

    def _run(self, main: str, name: str, heap: str) -> Process:
        command = self._java(main, heap, "INFO")
        # How long safe mode lasts, workers or not. Not for the command line, which would warn of it at every call.
        command.insert(1, "-Dalluxio.master.worker.connect.wait.time=50ms")
        return Process(command, self.directory / f"{name}.log", self._environment())

    def _environment(self) -> dict[str, str]:
        """UTF-8, else Java neither takes nor lists names outside ASCII; no look for a cloud's metadata service."""
        return os.environ | {"LC_ALL": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true"}

    def _write_command_line(self) -> None:
        cases = "\n".join(
            f'{name}) shift; exec {shlex.join(self._java(main, "256m", "WARN"))} "$@" ;;'
            for name, main in _SHELLS.items()
        )
        script = f'#!/bin/sh\nexport LC_ALL=C.UTF-8 AWS_EC2_METADATA_DISABLED=true\ncase "$1" in\n{cases}\nesac\n'
        self.executable.write_text(f"{script}echo 'usage: alluxio fs|fsadmin ...' >&2\nexit 2\n")
        self.executable.chmod(0o755)

    def _formatted_journal(self) -> Path:
        """Return an empty, formatted journal: the same for every master, and it costs a Java start to make."""
        return cache.obtain(self._jars.with_name(self._jars.name + "-journal"), self._format)

    def _format(self, target: Path) -> None:
        command = self._java("alluxio.cli.Format", "256m", "WARN")
        command.insert(-1, f"-Dalluxio.master.journal.folder={target}")  # of two, Java takes the last
        run([*command, "MASTER"], self._environment(), _START_SECONDS)
