"""The client of an Alluxio cluster: finds the leader among its masters, stays with it, repeats what may be repeated."""

import logging
import random
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import grpc

from controllers.api.result import Exit, Master
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from fluidctl.load.errors import StepError
from fluidctl.load.methods import (
    GET_MASTER_INFO,
    GET_METRICS,
    GET_SERVICE_VERSION,
    GET_STATUS,
    GET_SYNC_PROGRESS,
    LIST_STATUS,
    Method,
    Request,
    Response,
)
from fluidctl.load.retry import RECONNECT, SAFE_MODE, Do, Rule, rule_for
from fluidctl.load.session import HANDSHAKE_SECONDS, Session
from fluidctl.load.verify import Metrics
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
T = TypeVar("T")
# What gRPC says of a peer that answers the first bytes with something else, and of a proxy that knows no such path.
_NOT_GRPC = re.compile(r"failed parsing http/2|http1\.x server|http2 header with status: 4", re.I)


class Gone(Exception):
    """The path of a call does not exist in the master."""


@dataclass(frozen=True)
class Settings:
    """How to reach a cluster. ``connect_seconds`` bounds one search for a leader that is out of safe mode."""

    addresses: Sequence[str]
    user: str = "root"
    auth: str = "auto"
    connect_seconds: float = 60.0


class Client:
    """Calls to the leader, from any thread. ``master`` says who it was when this client was made.

    A new leader or a restarted master is found and used by itself; ``changed`` then says so. A cluster whose journal
    was formatted meanwhile is another cluster: StepError MASTER_CHANGED.
    """

    def __init__(self, settings: Settings, watch: Watch, rng: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._watch = watch
        self._rng = rng
        self._lock = threading.Lock()
        with watch.excused():
            self._session, self.master = self._find()
        self._now = self.master

    @property
    def changed(self) -> bool:
        """Whether another process answers now than when ``master`` was noted: restarted or failed over."""
        return self._now.start_time_ms != self.master.start_time_ms

    @property
    def life(self) -> int:
        """Return which process answers now: numbers of tasks are of one life, and are given out again in the next."""
        return self._now.start_time_ms

    def accept_change(self) -> None:
        """Take the process that answers now as the one to compare with."""
        self.master = self._now

    def call(self, method: Method[Request, Response], request: Request, timeout: float | None = None) -> Response:
        """Make a call with one answer, repeated as retry.py says; raise Gone, grpc.RpcError, StepError or Halted."""
        return self.persist(lambda session: session.call(method, request, timeout))

    def metrics(self) -> Metrics:
        """Return the master's counters that prove or disprove a load."""
        answer = self.call(GET_METRICS, pb.GetMetricsRequest())
        return Metrics.of({name: value.doubleValue for name, value in answer.metrics.items()})

    def status(self, path: bytes) -> pb.FileInfo:
        """Return one entry."""
        return self.call(GET_STATUS, requests.get_status(path), timeout=300.0).fileInfo

    def list(self, session: Session, request: pb.ListStatusRequest) -> Iterator[pb.FileInfo]:
        """Yield the entries of one listing on one session, without any repetition."""
        for answer in session.stream(LIST_STATUS, request):
            yield from answer.fileInfos

    def has_sync(self) -> bool:
        """Whether the master has asynchronous metadata sync (2.9.4 and later)."""

        def ask(session: Session) -> bool:
            try:
                session.call(GET_SYNC_PROGRESS, pb.GetSyncProgressRequest(taskGroupId=0))
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return True
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise
                session.call(GET_MASTER_INFO, pb.GetMasterInfoRequest())  # it leads: it has all that it will have
                return False
            return True

        return self.persist(ask)

    def persist(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` until it succeeds, its error is final (Gone, grpc.RpcError), or the step ends (Halted)."""
        failures: dict[Rule, int] = {}
        while True:
            session = self._session
            try:
                return work(session)
            except ValueError:
                if not session.closed:
                    raise
                # Another thread met the broken connection first and closed it: gRPC calls that a wrong value.
                self._reconnect(session)
            except grpc.RpcError as error:
                self._watch.pause(0)
                rule = rule_for(error.code().name, error.details() or "")
                failures[rule] = failures.get(rule, 0) + 1
                if rule.do is Do.GONE:
                    raise Gone(error.details()) from error
                if rule.do is Do.GIVE_UP or failures[rule] == rule.tries:
                    raise
                log.info("trial %d failed: %s", failures[rule], why(error))
                if rule.do is Do.RECONNECT:
                    self._reconnect(session)
                if rule.do is Do.WAIT or failures[rule] > 1:
                    self._watch.pause(rule.delay(failures[rule], self._rng))

    def apart(self, work: Callable[[Session], T]) -> T:
        """As ``persist``, for listings of the step's own thread: they have no deadline, so it looks on meanwhile."""
        with ThreadPoolExecutor(1, "listing") as pool:
            future = pool.submit(self.persist, work)
            try:
                while not wait([future], timeout=0.5).done:
                    self._watch.tick()
            except BaseException:
                self._watch.halt.set()
                self.cancel_streams()
                raise
            return future.result()

    def once(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` once, also while the step ends; raise grpc.RpcError."""
        return work(self._session)

    def cancel_streams(self) -> None:
        """End all listings under way."""
        self._session.cancel_streams()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _reconnect(self, broken: Session) -> None:
        """Replace a broken session, once for all threads that met it."""
        with self._lock:
            self._watch.pause(0)
            if self._session is not broken:
                return
            broken.close()
            with self._watch.excused():
                self._session, self._now = self._find()
            if self._now.cluster_id != self.master.cluster_id:
                raise StepError(Exit.MASTER_CHANGED, "The master was formatted during the step: its metadata is lost.")

    def _find(self) -> tuple[Session, Master]:
        """Return a session with the leader once it is out of safe mode."""
        deadline = self._watch.clock() + self._settings.connect_seconds
        rounds = 0
        while True:
            why: dict[str, StepError] = {}
            for address in self._settings.addresses:
                try:
                    return self._open(address)
                except StepError as error:
                    why[address] = error
            rounds += 1
            rule = SAFE_MODE if any("safe mode" in error.message for error in why.values()) else RECONNECT
            if self._watch.clock() > deadline or (rounds > 1 and all(error.code.permanent for error in why.values())):
                raise _combined(why)
            self._watch.pause(rule.delay(rounds, self._rng))

    def _open(self, address: str) -> tuple[Session, Master]:
        session = None
        try:
            session = Session(address, self._settings.user, self._settings.auth, self._watch.over)
            info = session.call(GET_MASTER_INFO, pb.GetMasterInfoRequest(), HANDSHAKE_SECONDS).masterInfo
            if info.version and info.version.partition(".")[0] != "2":
                raise StepError(
                    Exit.UNSUPPORTED_MASTER,
                    f"{address} runs Alluxio {info.version}. Only 2.x is supported: later lines keep no metadata tree.",
                )
            if info.safeMode:
                raise StepError(Exit.UNREACHABLE, f"{address} is in safe mode")
            return session, Master(address, info.version, self._identity(session, info), info.startTimeMs)
        except (grpc.RpcError, StepError) as error:
            reason = error if isinstance(error, StepError) else self._diagnose(address, session, error)
            if session is not None:
                session.close()
            raise reason from error

    def _identity(self, session: Session, info: pb.MasterInfo) -> str:
        """Return what survives a restart and changes with a format; old masters have no cluster id, but a root."""
        if info.clusterId:
            return info.clusterId
        root = session.call(GET_STATUS, requests.get_status(b"/", requests.NEVER)).fileInfo
        return f"root-{root.creationTimeMs}"

    def _diagnose(self, address: str, session: Session | None, error: grpc.RpcError) -> StepError:
        code, details = error.code(), error.details() or ""
        if _NOT_GRPC.search(details):
            return StepError(
                Exit.NOT_GRPC,
                f"{address} does not speak gRPC; Alluxio's web port, which speaks HTTP, answers like this. "
                "Use the port of the master's RPC service (by default 19998).",
            )
        if code is grpc.StatusCode.UNIMPLEMENTED and session is not None:
            return StepError(Exit.UNREACHABLE, f"{address} {_role(session)}")
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return StepError(
                Exit.PERMISSION_DENIED, f"{address} does not let user {self._settings.user!r} in: {why(error)}"
            )
        if code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED):  # by us, after HANDSHAKE_SECONDS
            return StepError(Exit.UNREACHABLE, f"{address} accepts connections and answers nothing")
        return StepError(Exit.UNREACHABLE, f"{address}: {why(error)}")


def _role(session: Session) -> str:
    try:
        session.call(GET_SERVICE_VERSION, pb.GetServiceVersionRequest(serviceType=1), HANDSHAKE_SECONDS)
    except grpc.RpcError as error:
        if "standby" in (error.details() or ""):
            return "is a standby master"
    return "is starting or standing by"


def _combined(why: dict[str, StepError]) -> StepError:
    codes = {error.code for error in why.values()}
    code = codes.pop() if len(codes) == 1 else Exit.UNREACHABLE
    reasons = "; ".join(error.message for error in why.values())
    if code is Exit.UNREACHABLE:
        return StepError(code, f"No Alluxio master answers as the leader: {reasons}.")
    return StepError(code, reasons)


def why(error: grpc.RpcError) -> str:
    """Return the code and the first line of the details, short enough for a status."""
    details = (error.details() or "").strip().partition("\n")[0]
    return f"{error.code().name} {details[:200]}".strip()
