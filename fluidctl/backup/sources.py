"""How the file that a master wrote comes into the claim: from the agent beside it, or from the claim itself."""

import http.client
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit

from controllers.api.job_commands import METADATA
from controllers.api.result import Exit
from fluidctl.backup.errors import BackupError, refused
from fluidctl.backup.master import write_backup
from fluidctl.backup.take import Written
from fluidctl.backup.verify import teller
from fluidctl.backup.volume import Directory, Strange, seal
from fluidctl.load.channel import Client
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
T = TypeVar("T")
_CHUNK = 1 << 18
_ANSWER_SECONDS = 10.0  # in which the agent sends something; SIGTERM is heard as late as this
_LOST_SECONDS = 60.0  # for which an agent may be away: its container starts again
_TOTAL = re.compile(r"bytes [0-9]+-[0-9]+/([0-9]+)")


class _Away(Exception):
    """The agent did not answer as it should; it may do so later."""


class Agent:
    """Calls to the agent at ``url``, an http://host:port; repeated for _LOST_SECONDS where it is away."""

    def __init__(self, url: str, token: str, watch: Watch) -> None:
        self._place = urlsplit(url).netloc
        self._token = token
        self._watch = watch

    def clear(self) -> None:
        """Remove all backups beside the master."""
        self._insist(lambda: self.delete(""))

    def delete(self, name: str) -> None:
        """Remove one backup, in one trial; "" for all. Raise BackupError, _Away."""
        with self._ask("DELETE", name):
            pass

    def fetch(self, name: str, file: BinaryIO) -> None:
        """Write a whole backup to ``file``, going on from where a connection broke. Raise BackupError, OSError."""
        total = None
        while total is None or file.tell() < total:
            total = self._insist(lambda: self._fetch(name, file))

    def _fetch(self, name: str, file: BinaryIO) -> int:
        """Write what comes, at least something, and return the size of the whole file."""
        first = file.tell()
        with self._ask("GET", name, {"Range": f"bytes={first}-"} if first else {}) as answer:
            found = _TOTAL.fullmatch(answer.headers.get("Content-Range", ""))
            if first and not found:
                raise _Away("it does not go on from where it was")
            total = int(found[1] if found else answer.headers.get("Content-Length", "0"))
            tell = teller(self._watch, "copying", total)
            try:
                while data := _read(answer):
                    file.write(data)
                    tell(file.tell())
            except _Away:
                if file.tell() == first:
                    raise
            if file.tell() == first < total:
                raise _Away("it sends nothing")
        return total

    def _insist(self, work: Callable[[], T]) -> T:
        """Repeat ``work`` while the agent is away, for _LOST_SECONDS; then BackupError AgentUnreachable."""
        begin = self._watch.clock()
        while True:
            try:
                return work()
            except _Away as error:
                log.info("the agent: %s", error)
                if self._watch.clock() - begin > _LOST_SECONDS:
                    message = f"The agent beside the master at {self._place} does not answer: {error}. Look at its pod."
                    raise BackupError(Exit.UNREACHABLE, "AgentUnreachable", message) from error
                self._watch.pause(1.0)

    @contextmanager
    def _ask(self, method: str, name: str, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self._place, timeout=_ANSWER_SECONDS)
        path = f"/backups/{name}" if name else "/backups"
        try:
            with _away():
                connection.request(method, path, headers={"Authorization": f"Bearer {self._token}", **(headers or {})})
                answer = connection.getresponse()
            _check(answer, name)
            yield answer
        finally:
            connection.close()


class FromAgent:
    """take.Source of a managed Alluxio: the master writes into ``staging``, the agent beside it hands the file out."""

    def __init__(self, client: Client, agent: Agent, staging: str, watch: Watch) -> None:
        self._client, self._agent, self._staging, self._watch = client, agent, staging, watch

    def bring(self, partial: Directory) -> Written:
        """Have the file written, copy it, remove it beside the master, also where something fails."""
        self._agent.clear()  # what an attempt left that was killed
        name, entries = write_backup(self._client, self._staging, self._watch)
        try:
            with partial.create(METADATA) as file:
                self._agent.fetch(name, file)
                seal(file)
        finally:
            self._tidy(name)
        return Written(entries, self._client.master.version)

    def _tidy(self, name: str) -> None:
        """Remove the file in one trial: the next backup removes it, and the agent itself after an hour.

        No other: by now another backup may have the turn. What a master left unfinished goes in these two ways.
        """
        try:
            self._agent.delete(name)
        except (_Away, BackupError) as error:
            log.warning("the file beside the master stays for up to an hour: %s", error)


class FromSharedDirectory:
    """take.Source of an existing Alluxio: its masters have the root of the claim mounted and write into ``partial``."""

    def __init__(self, client: Client, directory: str, watch: Watch) -> None:
        """``directory``: where the masters have ``partial``."""
        self._client, self._directory, self._watch = client, directory, watch

    def bring(self, partial: Directory) -> Written:
        """Have the file written, and make it ours: one that the masters' user owns is copied."""
        partial.change_mode(0o770)  # the masters may be another user of our group
        name, entries = write_backup(self._client, self._directory, self._watch)
        try:
            with partial.read(name) as theirs:
                self._take_over(theirs, name, partial)
        except (FileNotFoundError, Strange) as error:
            # For good: each attempt would leave a whole backup where nobody removes it.
            text = f"the masters wrote {self._directory}/{name}, which is not in the claim: remove it there, and set"
            raise refused(
                "BackupDirectoryWrong",
                f"{text} backupDirectory to where the masters have the root of the claim mounted.",
            ) from error
        for other in partial.names():  # "<name>.complete", and what is not ours
            if other != METADATA:
                partial.remove(other)
        return Written(entries, self._client.master.version)

    def _take_over(self, theirs: BinaryIO, name: str, partial: Directory) -> None:
        facts = os.fstat(theirs.fileno())
        if facts.st_uid == os.geteuid():
            os.fchmod(theirs.fileno(), 0o600)
            os.fsync(theirs.fileno())
            partial.rename(name, METADATA)
            return
        tell = teller(self._watch, "copying", facts.st_size)
        with partial.create(METADATA) as file:
            while data := theirs.read(_CHUNK):
                file.write(data)
                tell(file.tell())
            seal(file)


def _read(answer: http.client.HTTPResponse) -> bytes:
    with _away():
        return answer.read(_CHUNK)


def _check(answer: http.client.HTTPResponse, name: str) -> None:
    """Raise what an answer other than 2xx means."""
    if answer.status == 401:
        message = "The agent beside the master refuses the token: its pod has an older Secret. Delete that pod."
        raise BackupError(Exit.BACKUP_FAILED, "AgentRefused", message)
    if answer.status == 404:
        message = f"The agent beside the master has no {name}: do both mount the same staging volume?"
        raise BackupError(Exit.BACKUP_FAILED, "BackupFileGone", message)
    if answer.status >= 300:
        raise _Away(f"it answers {answer.status} {answer.reason}")


@contextmanager
def _away() -> Iterator[None]:
    """Make one exception of all that can befall a connection."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise _Away(str(error) or type(error).__name__) from error
