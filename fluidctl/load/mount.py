"""``fluidctl mount``: makes a master have exactly the mounts of a dataset, with their credentials.

What a real 2.9.6 does is in docs/design/20261124-managed-alluxio.md. Above all: an error of Mount repeats the whole
request, credentials included, so that nothing but the last lines of it may be shown or logged.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import grpc

from controllers.api.command import RESULT_PATH
from controllers.api.job_commands import MOUNT as STEP
from controllers.api.job_commands import SECRETS_PATH, MountStorages, WantedMount
from controllers.api.result import Exit, Result, describe
from controllers.api.spelling import encode
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import dataset, methods, process, requests
from fluidctl.load.channel import Client, Gone, Settings
from fluidctl.load.errors import Halted, StepError, unexpected
from fluidctl.load.methods import Method, Request, Response
from fluidctl.load.mounts import driver_of, normal
from fluidctl.load.session import Session
from fluidctl.load.verify import Storage
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
_SECONDS = 180.0  # for one answer: a storage that does not answer is given up by its driver before
#: A name that no storage has: asking for it asks the storage with the credentials of the mount, for one key.
_PROBE = b".fluidctl-mount-check"
_FINAL = (
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


class Mounter:
    """One pass over the mounts of a dataset. ``secrets``: where the files of the Secrets are."""

    def __init__(self, command: MountStorages, client: Client, watch: Watch, secrets: Path) -> None:
        self._root, self._client, self._watch, self._secrets = dataset.parse_path(command.path), client, watch, secrets
        self._wanted = {dataset.parse_path(mount.path): mount for mount in command.mounts}
        self._hidden: set[str] = set()
        self._remount = command.remount

    def run(self) -> Result:
        """Mount what is wanted and not there, parents first, and unmount what is there and not wanted."""
        properties = {path: self._properties(mount) for path, mount in self._wanted.items()}
        has = self._tidied()
        if self._root not in self._wanted:
            self._ask(methods.CREATE_DIRECTORY, requests.create_directory(self._root))
        made = 0
        for path in sorted(self._wanted):
            self._watch.tick()
            if path not in has:
                self._mount(path, properties)
                made += 1
        for path in has.keys() & self._wanted.keys():  # options and credentials may be others; nothing is listed anew
            self._update(path, properties, read_only=self._wanted[path].read_only)
        return Result(
            step=STEP,
            reason="Mounted",
            message=f"{made} of {len(self._wanted)} storages were mounted anew; the others have their options.",
            master=self._client.master,
            seconds=round(self._watch.seconds, 1),
        )

    def _table(self) -> dict[bytes, str]:
        """Return the mounts at and below the root of the dataset."""
        answer = self._ask(methods.GET_MOUNT_TABLE, pb.GetMountTableRequest(checkUfs=False))
        found = {(entry.key.rstrip(b"/") or b"/"): encode(entry.value.ufsUri) for entry in answer.mountPoints}
        return {path: uri for path, uri in found.items() if path != b"/" and _within(path, self._root)}

    def _tidied(self) -> dict[bytes, str]:
        """Unmount what is not wanted, and first what lies in it, for Alluxio refuses the other way; return the rest."""
        has = self._table()
        anew = self._remount and not self._is_compared()
        strange = [path for path, uri in has.items() if anew or not self._is_wanted(path, uri)]
        for path in sorted(has, reverse=True):
            if any(_within(path, other) for other in strange):
                self._ask(methods.UNMOUNT, requests.unmount(path))
                del has[path]
        return has

    def _is_compared(self) -> bool:
        """Whether the load that follows looks into the storages again; else it is answered from memory."""
        drivers = {path: driver_of(mount.uri) for path, mount in self._wanted.items()}
        rule = Storage({b"/": "local"} | drivers).rule_for(self._root)
        return rule.load != "listing" and self._client.has_sync()

    def _is_wanted(self, path: bytes, uri: str) -> bool:
        return path in self._wanted and normal(self._wanted[path].uri) == normal(uri)

    def _mount(self, path: bytes, properties: dict[bytes, dict[str, str]]) -> None:
        """Mount one. In a storage that is mounted read-only, the mount around it is opened for that moment."""
        around = max((other for other in self._table() if _within(path, other)), default=b"")
        parent = path.rpartition(b"/")[0] or b"/"
        if not around:
            if parent != b"/":
                self._ask(methods.CREATE_DIRECTORY, requests.create_directory(parent))
            self._clear(path)
            self._mount_here(path, properties[path])
            return
        self._must_be(parent, around, path)
        read_only = self._wanted[around].read_only
        if read_only:
            self._update(around, properties, read_only=False)
        try:
            self._mount_here(path, properties[path])
        finally:
            if read_only:
                self._update(around, properties, read_only=True)

    def _mount_here(self, path: bytes, properties: dict[str, str]) -> None:
        mount = self._wanted[path]
        request = requests.mount(path, mount.uri, properties, read_only=mount.read_only)
        try:
            self._ask(methods.MOUNT, request)
        except StepError:
            if not self._is_wanted(path, self._table().get(path, "")):  # the answer of an earlier trial may be lost
                raise
        try:
            self._ask(methods.GET_STATUS, requests.get_status(path + b"/" + _PROBE, requests.ALWAYS))
        except Gone:  # so the storage answered
            return
        except StepError:
            self._ask(methods.UNMOUNT, requests.unmount(path))  # else the next attempt would find it mounted
            raise

    def _update(self, path: bytes, properties: dict[bytes, dict[str, str]], *, read_only: bool) -> None:
        self._ask(methods.UPDATE_MOUNT, requests.mount(path, "", properties[path], read_only=read_only))

    def _clear(self, path: bytes) -> None:
        """Remove a directory of Alluxio's own root that was above other mounts once: none is left below it.

        It may be on the disk alone, where a journal was lost: Mount would say that it shadows it.
        """
        try:
            self._ask(methods.GET_STATUS, requests.get_status(path))
        except Gone:
            return
        self._ask(methods.REMOVE, requests.remove_directory(path))

    def _must_be(self, parent: bytes, around: bytes, path: bytes) -> None:
        """Let the master know the directory of a storage that a mount is to be in; nothing is made in a storage."""
        try:
            self._ask(methods.GET_STATUS, requests.get_status(parent, requests.ALWAYS))
        except Gone:
            raise StepError(
                Exit.MOUNT_REFUSED,
                f"{encode(path)} lies in the mount at {encode(around)}, whose storage has no directory for it: "
                f"make {encode(parent[len(around) :])} there, or give the mount another path.",
            ) from None

    def _properties(self, mount: WantedMount) -> dict[str, str]:
        """Return the options of a mount with those that are in Secrets."""
        found = dict(mount.options)
        for option, place in mount.secrets.items():
            try:
                value = (self._secrets / place).read_text(encoding="utf-8").strip("\n")
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or "it is not text"
                text = f"Option {option} of the mount at {mount.path}: Secret {place} cannot be read: {why}."
                raise StepError(Exit.MOUNT_REFUSED, text) from None
            found[option] = value
            self._hidden.add(value)
        return found

    def _ask(self, method: Method[Request, Response], request: Request) -> Response:
        """Make a call, repeated only where the master cannot be reached; raise Gone, StepError or Halted."""

        def once(session: Session) -> Response:
            try:
                return session.call(method, request, _SECONDS)
            except grpc.RpcError as error:
                if error.code() in _FINAL:
                    raise StepError(Exit.MOUNT_REFUSED, self._sentence(method, request, error)) from None
                raise

        try:
            return self._client.persist(once)
        except grpc.RpcError as error:
            raise StepError(Exit.MOUNT_REFUSED, self._sentence(method, request, error)) from None

    def _sentence(self, method: Method[Request, Response], request: Request, error: grpc.RpcError) -> str:
        path = encode(bytes(getattr(request, "alluxioPath", b"") or getattr(request, "path", b"")))
        path = path.removesuffix(f"/{_PROBE.decode()}")
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            said = f"no answer within {_SECONDS:.0f} s; does the storage answer?"
        else:
            said = said_at_last(error.details() or error.code().name)
        for value in self._hidden:
            said = said.replace(value, "***") if len(value) > 5 else said
        return f"{method.path.rpartition('/')[2]} of {path} was refused: {said}"


def said_at_last(details: str) -> str:
    """Return what an error of Alluxio says beyond the request that it repeats, in at most 400 characters."""
    lines = [line for line in details.rpartition("\n}\n")[2].splitlines() if not line.startswith("Acquired mount ID")]
    return " ".join(" ".join(lines).split())[:400]


def _within(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def main(argv: Sequence[str]) -> int:
    """Run the Job; see ``process.main``."""
    return process.main(argv, _parser(), _run)


def _run(options: argparse.Namespace, watch: Watch) -> tuple[Result, Exit]:
    command = MountStorages(tuple(options.master), options.path, tuple(options.mount), options.remount)
    return run(command, Settings(command.masters), watch, options.secrets_path)


def run(command: MountStorages, settings: Settings, watch: Watch, secrets: Path) -> tuple[Result, Exit]:
    """Mount; every known end is a result, every unknown one is logged and INTERNAL."""
    client = None
    try:
        watch.tick()
        client = Client(settings, watch)
        return Mounter(command, client, watch, secrets).run(), Exit.COMPLETE
    except (StepError, Halted) as error:
        end = watch.end() if isinstance(error, Halted) else error
    except Exception:
        log.exception("unexpected error")
        end = unexpected()
    finally:
        if client is not None:
            client.close()
    master = client.master if client is not None else None
    result = Result(STEP, describe(end.code)[0], end.message, master=master, seconds=round(watch.seconds, 1))
    return result, end.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fluidctl", allow_abbrev=False)
    parser.add_argument("step", choices=(STEP,))
    parser.add_argument("--master", action="append", required=True, metavar="HOST:PORT", type=process.address)
    parser.add_argument("--path", required=True, help="of the dataset, in Alluxio")
    parser.add_argument("--mount", action="append", default=[], type=_mount, metavar="JSON")
    parser.add_argument("--remount", action="store_true", help="mount anew what the load would not compare")
    parser.add_argument("--secrets-path", default=Path(SECRETS_PATH), type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--result-path", default=RESULT_PATH)
    return parser


def _mount(text: str) -> WantedMount:
    try:
        value = json.loads(text)
        options, secrets = dict(value["options"]), dict(value["secrets"])
        return WantedMount(str(value["path"]), str(value["uri"]), bool(value["readOnly"]), options, secrets)
    except (ValueError, TypeError, KeyError) as error:
        raise argparse.ArgumentTypeError("not a mount as controllers.api.job_commands writes it") from error
