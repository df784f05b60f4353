"""The object store of the tests keeps the rules of S3 and OSS, and fails as it is told to."""

import contextlib
import http.client
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import pytest

from tests.objectstore import ObjectStore
from tests.objectstore.trees import tree

V1, V2, OSS = "v1", "v2", "oss"


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as running:
        yield running


class Client:
    """One connection that stays open, and a listing to its last page."""

    def __init__(self, store: ObjectStore, dialect: str = V2) -> None:
        self._dialect = dialect
        self._connection = http.client.HTTPConnection(store.url.removeprefix("http://"), timeout=20)
        self._headers = {"Authorization": "OSS id:signature" if dialect == OSS else "AWS4-HMAC-SHA256 x"}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, target: str) -> tuple[int, bytes]:
        """Return status and body."""
        self._connection.request(method, target, headers=self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def error(self, target: str) -> tuple[int, str | None]:
        """Return status and code of an answer that is an error."""
        status, body = self.ask("GET", target)
        return status, ElementTree.fromstring(body).findtext("Code")

    def pages(self, bucket: str, prefix: str = "", delimiter: str = "", limit: int = 1000) -> Iterator[list[str]]:
        """Yield the pages of a listing: keys and prefixes, by name."""
        more = {"list-type": "2"} if self._dialect == V2 else {}
        while True:
            query = {"prefix": prefix, "delimiter": delimiter, "max-keys": str(limit), "encoding-type": "url", **more}
            status, body = self.ask("GET", f"/{bucket}?" + "&".join(f"{n}={quote(v)}" for n, v in query.items()))
            assert status == 200, body
            root = ElementTree.fromstring(body)
            found = [unquote(key.text or "") for key in root.iterfind("Contents/Key")]
            found += [unquote(name.text or "") for name in root.iterfind("CommonPrefixes/Prefix")]
            yield sorted(found)
            if root.findtext("IsTruncated") == "false":
                return
            if self._dialect == V2:
                more["continuation-token"] = root.findtext("NextContinuationToken") or ""
            else:
                more["marker"] = unquote(root.findtext("NextMarker") or "") or max(found)


def model(keys: list[str], prefix: str, delimiter: str, limit: int) -> list[list[str]]:
    """Return the pages as the rules say them, in the plainest way."""
    shown: list[str] = []
    for key in sorted(keys):
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            name = prefix + head + found if found else key
            shown += [name] if name not in shown else []
    return [shown[at : at + limit] for at in range(0, max(len(shown), 1), limit)]


@pytest.mark.parametrize("dialect", [V1, V2, OSS])
def test_pages_of_random_trees_are_those_of_a_plain_model(store: ObjectStore, dialect: str) -> None:
    """Whatever the prefix, the delimiter and the length of a page; names that XML and URLs cannot hold included."""
    rng = random.Random(dialect)
    parts = ["a", "b", "a b", "ü", "%41", "x+y", "<&>", "new\nline", "-", "0"]
    with Client(store, dialect) as client:
        for number in range(30):
            depth, bucket = rng.randrange(1, 5), f"bucket{number}"
            keys = ["/".join(rng.choices(parts, k=rng.randrange(1, depth + 1))) for _ in range(rng.randrange(1, 60))]
            keys += [f"{key}/" for key in keys if rng.random() < 0.2]
            store.fill(bucket, dict.fromkeys(keys, 1))
            for _ in range(6):
                prefix = rng.choice(
                    ["", rng.choice(keys).rpartition("/")[0], rng.choice(keys).rpartition("/")[0] + "/"]
                )
                delimiter, limit = rng.choice(["", "/", "/"]), rng.choice([1, 2, 3, 7, 1000])
                assert list(client.pages(bucket, prefix, delimiter, limit)) == model(keys, prefix, delimiter, limit)


def test_keys_are_added_replaced_and_removed(store: ObjectStore) -> None:
    """And a HEAD knows their sizes; a marker is a key as any other; nobody knows what is not there."""
    store.fill("b", {"z": 1, "a/1": 2, "a/": 0})
    store.fill("b", {"z": 3, "m": 4})
    store.remove("b", ["m", "never"])
    with Client(store) as client:
        assert list(client.pages("b")) == [["a/", "a/1", "z"]]
        assert client.ask("GET", "/b/z") == (200, b"\0\0\0")
        assert [client.ask("HEAD", f"/b/{key}")[0] for key in ("", "z", "a/", "a", "m")] == [200, 200, 200, 404, 404]
        assert client.error("/b/m") == (404, "NoSuchKey")
        assert client.error("/nowhere?list-type=2") == (404, "NoSuchBucket")
        assert [client.ask("GET", f"/b?{question}")[0] for question in ("acl", "location", "bucketInfo")] == [200] * 3


@pytest.mark.parametrize(
    ("dialect", "how", "code"),
    [
        (V2, 403, "AccessDenied"),
        (V2, 404, "NoSuchBucket"),
        (V2, 500, "InternalError"),
        (V2, 503, "SlowDown"),
        (OSS, 403, "AccessDenied"),
        (OSS, 404, "NoSuchBucket"),
        (OSS, 500, "InternalError"),
        (OSS, 503, "ServiceUnavailable"),
    ],
)
def test_a_prefix_fails_as_the_service_would_say_it_until_it_is_healed(
    store: ObjectStore, dialect: str, how: int, code: str
) -> None:
    """What is below it fails too; what is above it, and its neighbours, do not."""
    store.fill("b", {"d/e/1": 1, "d2/1": 1})
    store.fail("b", "d/", how)  # type: ignore[arg-type]  # the table above has the right ones
    with Client(store, dialect) as client:
        for prefix in ("d/", "d/e/"):
            assert client.error(f"/b?prefix={prefix}") == (how, code)
        assert client.ask("HEAD", "/b/d")[0] == client.ask("HEAD", "/b/d/e/1")[0] == how
        assert list(client.pages("b", "", "/")) == [["d/", "d2/"]]
        assert list(client.pages("b", "d2/")) == [["d2/1"]]
        store.heal("b", "d2/")
        assert client.ask("GET", "/b?prefix=d/")[0] == how
        store.heal("b", "d")
        assert list(client.pages("b", "d/")) == [["d/e/1"]]


def test_a_listing_from_above_fails_too_where_asked_for_on_the_pages_with_such_keys(store: ObjectStore) -> None:
    """Pages of two: the second and the third have keys of d/."""
    store.fill("b", dict.fromkeys(["a", "b", "c", "d/1", "d/2", "e", "f"], 1))
    store.fail("b", "d/", 500, shown=True, times=2)
    with Client(store, V1) as client:
        asked = [client.ask("GET", f"/b?max-keys=2&marker={marker}")[0] for marker in ("", "b", "d/1", "d/1")]
        assert asked == [200, 500, 500, 200]
        assert list(client.pages("b", "", "/")) == [["a", "b", "c", "d/", "e", "f"]]


@pytest.mark.parametrize("dialect", [V1, V2, OSS])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_a_page_fails_the_first_times_and_the_others_never(store: ObjectStore, dialect: str, delimiter: str) -> None:
    """Counted from 1, along any way to page."""
    store.fill("b", {f"d/{n:02}": 1 for n in range(10)})
    store.fail("b", "d/", 500, page=3, times=2)
    with Client(store, dialect) as client:
        for _ in range(2):
            pages = client.pages("b", "d/", delimiter, 3)
            assert [next(pages)[0], next(pages)[0]] == ["d/00", "d/03"]
            with pytest.raises(AssertionError, match="InternalError"):
                next(pages)
        assert len(list(client.pages("b", "d/", delimiter, 3))) == 4


def test_only_heads_or_only_lists_fail_where_asked_for(store: ObjectStore) -> None:
    """A storage may let a key be read and forbid to list it."""
    store.fill("b", {"d/1": 1, "e/1": 1})
    store.fail("b", "d", 403, kinds=["HEAD"])
    store.fail("b", "e", 403, kinds=["LIST"])
    with Client(store) as client:
        assert [client.ask("HEAD", f"/b/{key}")[0] for key in ("d/1", "e/1")] == [403, 200]
        assert [client.ask("GET", f"/b?prefix={key}")[0] for key in ("d/", "e/")] == [200, 403]


def test_a_reset_is_a_reset_and_not_an_end_in_order(store: ObjectStore) -> None:
    """The kernel of the client says so."""
    store.fill("b", {"d/1": 1})
    store.fail("b", "d", "reset", times=1)
    with Client(store) as client, pytest.raises(ConnectionResetError):
        client.ask("GET", "/b?prefix=d")
    with Client(store) as client:
        assert client.ask("GET", "/b?prefix=d")[0] == 200


def test_a_slow_answer_comes_late_and_an_end_of_the_store_waits_for_none(store: ObjectStore) -> None:
    """A client with a shorter time-out gives up."""
    store.fill("b", {"d/1": 1})
    store.fail("b", "d", "slow")
    store.slow = 3600.0
    with ThreadPoolExecutor(1) as pool, Client(store) as client:
        waiting = pool.submit(client.ask, "GET", "/b?prefix=d")
        _until(store, 1)
        store.__exit__()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            waiting.result()


def test_requests_are_counted_and_the_most_at_once_too(store: ObjectStore) -> None:
    """Until the counters are reset."""
    store.fill("b", {"d/1": 1})
    with Client(store) as client:
        client.ask("HEAD", "/b/d/1")
    assert (store.counts.lists, store.counts.heads, store.counts.most_in_flight) == (0, 1, 1)
    store.reset_counts()
    store.latency = 3600.0
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(stack.enter_context(Client(store)).ask, "GET", "/b?prefix=d") for _ in range(8)]
        _until(store, 8)
        assert (store.counts.heads, store.counts.most_in_flight) == (0, 8)
        store.__exit__()  # lets them go
        assert all(answer.exception() for answer in waiting)


def _until(store: ObjectStore, lists: int) -> None:
    while store.counts.lists < lists:
        time.sleep(0.01)  # nobody tells of a request that is not answered


@pytest.mark.parametrize(
    ("text", "keys", "folders"), [("flat=5", 5, 0), ("wide=3x4", 12, 3), ("tiny=2x3x4", 24, 8), ("chain=4x2", 8, 4)]
)
def test_trees_have_the_shape_of_their_name_and_come_sorted(text: str, keys: int, folders: int) -> None:
    """So that a bucket of two million keys is filled in constant memory beside its own."""
    bucket, pairs = tree(text)
    names = [name for name, _ in pairs]
    above = {name[: at + 1] for name in names for at, letter in enumerate(name) if letter == "/"}
    assert (bucket, len(names), len(above)) == (text.partition("=")[0], keys, folders)
    assert names == sorted(set(names))


def test_as_a_process_it_tells_its_address_and_takes_orders_over_http() -> None:
    """What the benchmarks do."""
    command = [sys.executable, "-m", "tests.objectstore", "--latency=0.001", "--tree", "wide=10x300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]

        def get(path: str) -> bytes:
            with urllib.request.urlopen(f"{url}/{path}", timeout=20) as answer:
                return bytes(answer.read())

        assert get("wide?list-type=2").count(b"<Key>") == 1000
        assert json.loads(get("-/latency?seconds=0"))["lists"] == 1
        assert json.loads(get("-/reset")) == json.loads(get("-/counts"))
        process.terminate()
    assert process.returncode == 0
