"""One connection to one master address: authenticated, and with the calls that a step makes.

SASL SIMPLE as in Alluxio's PlainSaslServer and AuthenticatedChannelServerDriver: the stream that authenticates stays
open for the life of the connection (the server forgets the channel when it ends), and every other call carries the
channel's id.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load.errors import Halted
from fluidctl.load.methods import AUTHENTICATE, Method, Request, Response
from fluidctl.load.parts import parts

CALL_SECONDS = 30.0  # for calls that the master answers from memory
HANDSHAKE_SECONDS = 5.0
_LOOK_SECONDS = 0.5  # how often a call that is not answered looks whether it is still wanted
READERS = 2  # of streams at once, however many are under way: one message may be 30 MB, and it is in memory twice
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # 10,000 entries with long names pass Python's 4 MiB
    ("grpc.http2.bdp_probe", 0),  # else it reads megabytes ahead on every stream that nobody reads yet
    ("grpc.keepalive_time_ms", 60_000),  # the master permits one ping in 30 s
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.enable_retries", 0),  # one place of retries: retry.py
    ("grpc.use_local_subchannel_pool", 1),  # a new session is a new connection, with no back-off of the old one
    ("grpc.enable_http_proxy", 0),
)


class Session:
    """A connection. ``auth`` is "simple", "nosasl", or "auto": SIMPLE, or none where the master has no such service.

    Once ``halted`` is true, calls with one answer end by Halted: a master that hangs would keep them to their deadline.
    """

    def __init__(self, address: str, user: str, auth: str, halted: Callable[[], bool] = lambda: False) -> None:
        self.address = address
        self._halted = halted
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._metadata: tuple[tuple[str, str], ...] = ()
        self._closing = threading.Event()
        self._streams: set[Any] = set()
        self._readers = threading.BoundedSemaphore(READERS)
        self._broken = False
        self._authentication: Any = None  # a reference: the stream ends when it is collected
        self._lock = threading.Lock()
        try:
            if auth != "nosasl":
                self._authenticate(user, required=auth == "simple")
        except BaseException:
            self.close()
            raise

    def call(self, method: Method[Request, Response], request: Request, timeout: float | None = None) -> Response:
        """Make a call with one answer; raise grpc.RpcError, or Halted where the step ends meanwhile."""
        stub: Any = self._channel.unary_unary(
            method.path, request_serializer=_serialize, response_deserializer=method.response.FromString
        )
        answer = stub.future(request, timeout=CALL_SECONDS if timeout is None else timeout, metadata=self._metadata)
        while True:
            try:
                response: Response = answer.result(_LOOK_SECONDS)
                return response
            except grpc.FutureTimeoutError as error:
                if self._halted():
                    answer.cancel()
                    raise Halted from error

    def stream(self, method: Method[Request, Response], request: Request) -> Iterator[Response]:
        """Make a call with a stream of answers and no deadline: a listing takes as long as its storage needs.

        Answers come in parts (see parts.py). Take them without delay, and begin no other stream meanwhile: while a
        part is being used, one of the READERS is taken.
        """
        stub: Callable[..., Any] = self._channel.unary_stream(
            method.path, request_serializer=_serialize, response_deserializer=None
        )
        answers = stub(request, metadata=self._metadata)
        with self._lock:
            self._streams.add(answers)
            if self._broken:
                answers.cancel()
        try:
            answers.initial_metadata()  # the master begins to answer; a message is received only when it is asked for
            while True:
                with self._readers:
                    message = next(answers, None)
                    if message is None:
                        return
                    yield from map(method.response.FromString, parts(message))
                    del message  # before the next one is there
        finally:
            answers.cancel()
            with self._lock:
                self._streams.discard(answers)

    def cancel_streams(self) -> None:
        """End all listings, those under way and those that begin later; their callers see CANCELLED."""
        with self._lock:
            self._broken, streams = True, list(self._streams)
        for answers in streams:
            answers.cancel()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called: a call that begins later raises ValueError."""
        return self._closing.is_set()

    def close(self) -> None:
        """Close the connection and the stream that authenticated it."""
        self._closing.set()
        self._channel.close()

    def _authenticate(self, user: str, *, required: bool) -> None:
        channel_id = str(uuid.uuid4())
        first = pb.SaslMessage(
            messageType=pb.CHALLENGE,
            authenticationScheme=pb.SIMPLE,
            clientId=channel_id,
            channelRef="fluidctl",
            message=f"\0{user}\0noPassword".encode(),
        )
        stub: Callable[..., Any] = self._channel.stream_stream(
            AUTHENTICATE.path, request_serializer=_serialize, response_deserializer=AUTHENTICATE.response.FromString
        )
        answers = self._authentication = stub(self._hold(first))
        timer = threading.Timer(HANDSHAKE_SECONDS, answers.cancel)  # a deadline would end the stream itself later
        timer.daemon = True
        timer.start()
        try:
            answer = next(answers)
            if answer.messageType == pb.SUCCESS:
                self._metadata = (("channel-id", channel_id),)
        except grpc.RpcError as error:
            if required or error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
        finally:
            timer.cancel()

    def _hold(self, first: pb.SaslMessage) -> Iterator[pb.SaslMessage]:
        yield first
        self._closing.wait()


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
