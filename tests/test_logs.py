"""A log record says when, in UTC, what it belongs to, and never a secret."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from controllers.logs import bound, configure, redact

logger = logging.getLogger("some.room")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def record(out: io.StringIO) -> dict[str, Any]:
    found = json.loads(out.getvalue())
    assert isinstance(found, dict)
    return found


def test_json_has_one_object_a_record_with_time_level_logger_and_fields(out: io.StringIO) -> None:
    configure("json", "info", out)
    logger.info("moved on after %d s", 3, extra={"from": "Pending", "to": "Ready"})
    found = record(out)
    assert found.pop("ts").endswith("Z")
    expected = {"level": "INFO", "logger": "some.room", "msg": "moved on after 3 s", "thread": "MainThread"}
    assert found == {**expected, "from": "Pending", "to": "Ready"}


def test_the_time_is_utc_in_rfc_3339_with_milliseconds(out: io.StringIO) -> None:
    for form in ("json", "text"):
        configure(form, "info", out)
        made = logging.makeLogRecord({"created": 1_000_000_000.5, "msg": "x", "levelname": "INFO", "levelno": 20})
        logging.getLogger().handle(made)
    assert out.getvalue().count("2001-09-09T01:46:40.500Z") == 2


def test_text_has_one_line_with_the_fields_at_its_end(out: io.StringIO) -> None:
    configure("text", "info", out)
    with bound(dataset="ns/d"):
        logger.warning("slow", extra={"seconds": 3})
    assert out.getvalue().split("Z ", 1)[1] == "WARNING some.room: slow  seconds=3 dataset=ns/d\n"


def test_what_is_bound_is_on_every_record_of_the_block_of_this_thread_alone(out: io.StringIO) -> None:
    configure("json", "info", out)
    with bound(dataset="ns/d", reconcileID="1"):
        with bound(reconcileID="2"):
            logger.info("inner")
        logger.info("outer")
        thread = threading.Thread(target=logger.info, args=("other",))
        thread.start()
        thread.join()
    logger.info("after")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["msg"], line.get("dataset"), line.get("reconcileID")) for line in lines] == [
        ("inner", "ns/d", "2"),
        ("outer", "ns/d", "1"),
        ("other", None, None),
        ("after", None, None),
    ]


def test_what_a_record_says_itself_counts_more_than_what_is_bound(out: io.StringIO) -> None:
    configure("json", "info", out)
    with bound(dataset="ns/d"):
        logger.info("x", extra={"dataset": "ns/other"})
    assert record(out)["dataset"] == "ns/other"


def test_an_exception_is_part_of_its_record(out: io.StringIO) -> None:
    configure("json", "info", out)
    try:
        raise ValueError("as planned")
    except ValueError:
        logger.exception("it broke")
    assert "ValueError: as planned" in record(out)["exc_info"]


SECRETS = [
    "Authorization: Bearer {}",
    "authorization=bearer {}",
    "cannot open s3://user:{}@bucket/path",
    "option aws.secretKey={}",
    "fs.oss.accessKeyId={}",
    "password: {}",
    '{{"token": "{}"}}',
    "aws_secret_access_key = '{}'",
]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_like_a_secret_is_blanked_out_wherever_it_stands(out: io.StringIO, form: str, text: str) -> None:
    configure(form, "info", out)
    said = text.format("Zm9vYmFy.q-1")
    try:
        raise ValueError(said)
    except ValueError:
        logger.exception("failed: %s", said, extra={"why": said})
    assert "Zm9v" not in out.getvalue()
    assert out.getvalue().count("[redacted]") >= 3
    if form == "json":
        record(out)


@pytest.mark.parametrize(
    "text",
    [
        "the Job of ns/d has ended",
        "https://host:6443/api",
        "2026-01-01T00:00:00Z",
        "s3://bucket/a:b@c",
        "tokens are few",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_libraries_that_print_bodies_are_quiet_even_at_debug(out: io.StringIO) -> None:
    configure("json", "debug", out)
    logging.getLogger("kubernetes.client.rest").debug("response body: s3cret")
    logging.getLogger("urllib3.connectionpool").debug("PUT /")
    assert out.getvalue() == ""
    logger.debug("ours")
    assert record(out)["msg"] == "ours"


def test_configuring_again_replaces_and_does_not_add(out: io.StringIO) -> None:
    configure("json", "info", io.StringIO())
    configure("json", "WARNING", out)
    logger.info("quiet")
    logger.warning("loud")
    assert record(out)["msg"] == "loud"


@pytest.mark.parametrize(("form", "level"), [("xml", "info"), ("json", "loud")])
def test_an_unknown_form_or_level_is_refused(form: str, level: str) -> None:
    with pytest.raises(ValueError, match="log format is one of json, text"):
        configure(form, level)


def test_sigusr1_writes_the_stack_of_every_thread_and_ends_nothing() -> None:
    code = (
        "import sys, threading; from controllers.logs import dump_threads_on_signal; dump_threads_on_signal();"
        "e = threading.Event(); threading.Thread(target=e.wait, daemon=True).start();"
        "print('ready', flush=True); sys.stdin.read(); print('alive')"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGUSR1)
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        assert "Thread" in next(lines)
        assert any("Current thread" in line for line in lines)
        assert process.communicate("", timeout=40)[0] == "alive\n"
