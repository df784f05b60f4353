"""``fluidctl agent``: beside a master, serves the backups which that writes into a directory that the two share.

    GET    /backups         [{"name", "size" (bytes), "modified" (seconds since 1970)}] of the finished ones
    GET    /backups/<name>  one of them; "Range: bytes=<first>-" is understood
    DELETE /backups/<name>  remove it
    DELETE /backups         remove all, also what a master that died left unfinished

Everything asks for "Authorization: Bearer <token>": a backup holds the credentials of its mounts. A backup is finished
once the master has put "<name>.complete" beside it. What is an hour old and not being read is removed.
"""

import argparse
import hmac
import http.server
import json
import re
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from controllers.api.job_commands import BACKUP_FILE, STAGING_PATH, TOKEN_PATH
from fluidctl.backup.volume import Directory, Strange
from fluidctl.load.process import on_signals

COMPLETE = ".complete"
_RANGE = re.compile(r"bytes=([0-9]{1,18})-")
KEEP_SECONDS, _SWEEP_SECONDS = 3600.0, 60.0
_IDLE_SECONDS = 60.0  # of a connection


class Staging:
    """The directory that the master writes into, used by many threads."""

    def __init__(self, path: str) -> None:
        self._directory = Directory(path)
        self._lock = threading.Lock()
        self._read: Counter[str] = Counter()

    def list(self) -> list[dict[str, str | int]]:
        """Return the finished backups."""
        found: list[dict[str, str | int]] = []
        for name in self._directory.names():
            if (
                BACKUP_FILE.fullmatch(name)
                and self._directory.has(name + COMPLETE)
                and (facts := self._directory.facts(name))
            ):
                found.append({"name": name, "size": facts.st_size, "modified": int(facts.st_mtime)})
        return found

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a finished backup; it is not swept meanwhile. Raise FileNotFoundError, Strange."""
        if not BACKUP_FILE.fullmatch(name) or not self._directory.has(name + COMPLETE):
            raise FileNotFoundError(name)
        with self._lock:
            self._read[name] += 1
        try:
            with self._directory.read(name) as file:
                yield file
        finally:
            with self._lock:
                self._read[name] -= 1

    def remove(self, name: str) -> None:
        """Remove a backup; without its marker it is none any more, so that goes first. Gone is as good."""
        self._directory.remove(name + COMPLETE)
        self._directory.remove(name)

    def clear(self, older_than: float | None = None) -> None:
        """Remove all that backups left, or what was last written before that time and is not being read."""
        for name in self._directory.names():
            backup = name.removesuffix(COMPLETE)
            facts = self._directory.facts(name)
            if not BACKUP_FILE.fullmatch(backup) or facts is None:
                continue
            with self._lock:
                if older_than is None or (facts.st_mtime < older_than and not self._read[backup]):
                    self.remove(backup)


class Server(http.server.ThreadingHTTPServer):
    """Serves ``staging`` at ``address``, each request in a thread and with the token of that moment: Secrets change."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], staging: Staging, token: Callable[[], bytes]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)
        self.staging, self.token = staging, token

    def server_bind(self) -> None:
        """Bind without asking the DNS for our own name, which may take long and is told to nobody."""
        socketserver.TCPServer.server_bind(self)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    timeout = _IDLE_SECONDS
    server_version, sys_version = "fluidctl", ""

    def do_GET(self) -> None:
        """Answer with the list, or with a file from where the client wants it."""
        try:
            name = self._asked_for()
            if name:
                self._send(name)
            else:
                self._answer(HTTPStatus.OK, json.dumps(self.server.staging.list()).encode())
        except _Refused as error:
            self._answer(error.status)

    def do_DELETE(self) -> None:
        """Remove one, or all."""
        try:
            name = self._asked_for()
            if name:
                self.server.staging.remove(name)
            else:
                self.server.staging.clear()
            self._answer(HTTPStatus.NO_CONTENT)
        except _Refused as error:
            self._answer(error.status)

    def _asked_for(self) -> str:
        """Return the name of a backup, "" for all of them; raise _Refused where it is none, or this client may not."""
        token, given = self.server.token(), self.headers.get("Authorization", "").encode("utf-8", "replace")
        if not token or not hmac.compare_digest(given, b"Bearer " + token):
            raise _Refused(HTTPStatus.UNAUTHORIZED)
        place, _, name = self.path.removeprefix("/").partition("/")
        if place != "backups" or not (self.path == "/backups" or BACKUP_FILE.fullmatch(name)):
            raise _Refused(HTTPStatus.NOT_FOUND)
        return name

    def _send(self, name: str) -> None:
        try:
            with self.server.staging.open(name) as file:
                size = file.seek(0, 2)
                first = self._first(size)
                self.send_response(HTTPStatus.PARTIAL_CONTENT if first else HTTPStatus.OK)
                if first:
                    self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
                self.send_header("Content-Length", str(size - first))
                self.end_headers()
                self.connection.sendfile(file, first)
        except (FileNotFoundError, Strange) as error:
            raise _Refused(HTTPStatus.NOT_FOUND) from error

    def _first(self, size: int) -> int:
        """Return at which byte the client wants to begin; no or another kind of Range means all, as HTTP has it."""
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        if first and first >= size:
            raise _Refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        return first

    def _answer(self, status: HTTPStatus, body: bytes = b"") -> None:
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; return 0 then, 2 for arguments that are wrong. ``argv`` begins with the command."""
    parser = argparse.ArgumentParser(prog="fluidctl agent", allow_abbrev=False)
    parser.add_argument("--bind", required=True, type=_bind, metavar="HOST:PORT")
    parser.add_argument("--directory", default=STAGING_PATH)
    parser.add_argument("--token-file", default=TOKEN_PATH, type=Path)
    try:
        options = parser.parse_args(argv[1:])
    except SystemExit as error:
        return int(error.code or 0)
    stop = threading.Event()
    on_signals(stop.set)
    staging = Staging(options.directory)
    with Server(options.bind, staging, lambda: options.token_file.read_bytes().strip()) as server:
        host, port, *_ = server.server_address
        print(f"fluidctl agent: serves {options.directory} at {host!s}:{port}", file=sys.stderr, flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while not stop.wait(_SWEEP_SECONDS):
            staging.clear(time.time() - KEEP_SECONDS)
        server.shutdown()
    return 0


def _bind(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
