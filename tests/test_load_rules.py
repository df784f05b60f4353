"""The pure parts of loading: spelling, paths, retries, mounts, evidence, and the rules of proof."""

import random
from collections.abc import Sequence

import pytest

from controllers.api.command import Mount
from controllers.api.spelling import decode, encode
from fluidctl.load import mounts
from fluidctl.load.evidence import MAX_BYTES, Evidence
from fluidctl.load.names import alluxio_path, covers, parent
from fluidctl.load.retry import Do, Rule, rule_for
from fluidctl.load.verify import RULES, UNKNOWN, Metrics, Storage, failures, restless, task_stats


def test_every_name_has_one_spelling_which_gives_it_back() -> None:
    """For thousands of random names: bytes to text and back; the text has no control character and is UTF-8."""
    rng = random.Random(7)
    for _ in range(3000):
        name = bytes(rng.choice(b"ab%/\n\t\x00\xc3\xa9\xff\x9b 4G") for _ in range(rng.randrange(12)))
        text = encode(name)
        assert decode(text) == name
        assert text.encode().decode().isprintable()


@pytest.mark.parametrize("text", ["/a%", "/a%4", "/a%zz", "/100%/b", "/%\n1"])
def test_a_percent_that_spells_nothing_is_refused(text: str) -> None:
    """Guessing would load another directory than the one that was meant."""
    with pytest.raises(ValueError, match="%25"):
        decode(text)


@pytest.mark.parametrize(
    ("text", "path"), [("/", b"/"), ("/a/", b"/a"), ("/a b/%25%FF", b"/a b/%\xff"), ("/..a/b..", b"/..a/b..")]
)
def test_paths_are_made_normal(text: str, path: bytes) -> None:
    """The root stays the root, others lose their trailing slash."""
    assert alluxio_path(text) == path


@pytest.mark.parametrize("text", ["", "a", "//", "/a//b", "/a/./b", "/a/..", "/%00"])
def test_paths_that_are_not_normal_are_refused(text: str) -> None:
    """Alluxio would take some for other paths; // alone is the root, as a shell has it."""
    if text == "//":
        assert alluxio_path(text) == b"/"
        return
    with pytest.raises(ValueError):
        alluxio_path(text)


def test_a_path_lies_below_its_parents_only() -> None:
    """/ab is not below /a."""
    assert covers(b"/", b"/a")
    assert covers(b"/a", b"/a/b")
    assert not covers(b"/a", b"/ab")
    assert (parent(b"/a/b"), parent(b"/a")) == (b"/a", b"/")


@pytest.mark.parametrize(
    ("code", "details", "do", "tries"),
    [
        ("UNAVAILABLE", "Alluxio master is in safe mode. Please try again later.", Do.WAIT, 0),
        ("UNAVAILABLE", "Stream removed (Socket closed)", Do.RECONNECT, 0),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: ...", Do.RECONNECT, 0),
        ("UNAVAILABLE", "errors resolving nohost:1", Do.RECONNECT, 0),
        ("UNAVAILABLE", "SlowDown:/d", Do.WAIT, 7),
        ("CANCELLED", "", Do.RECONNECT, 0),
        ("UNAUTHENTICATED", "Channel: x is not authenticated for call", Do.RECONNECT, 0),
        ("UNIMPLEMENTED", "Method not found: alluxio.grpc.file…", Do.RECONNECT, 0),
        ("INTERNAL", "InternalError:/d", Do.WAIT, 5),
        ("UNKNOWN", "", Do.WAIT, 5),
        ("ABORTED", "", Do.WAIT, 5),
        ("RESOURCE_EXHAUSTED", "", Do.WAIT, 5),
        ("PERMISSION_DENIED", "AccessDenied:/d", Do.WAIT, 3),
        ("NOT_FOUND", 'Path "/d" does not exist.', Do.GONE, 1),
        ("INVALID_ARGUMENT", 'Path "rel" is invalid.', Do.GIVE_UP, 1),
    ],
)
def test_each_failure_of_a_call_has_its_answer(code: str, details: str, do: Do, tries: int) -> None:
    """As real masters of 2.9.6 answered."""
    rule = rule_for(code, details)

    assert (rule.do, rule.tries) == (do, tries)


def test_delays_double_up_to_their_limit_and_are_spread() -> None:
    """Between a half and the whole of 1, 2, 4 ... 30 seconds, for any number of failures."""
    rule = Rule(Do.WAIT)
    for failed, full in [(1, 1), (2, 2), (5, 16), (6, 30), (1000, 30)]:
        assert rule.delay(failed, lambda: 0.0) == full / 2
        assert rule.delay(failed, lambda: 1.0) == full


@pytest.mark.parametrize(
    ("uri", "driver"),
    [("s3a://b/x", "s3"), ("s3://b", "s3"), ("/data", "local"), ("file:///data", "local"), ("local:///d", "local"),
     ("oss://b", "oss"), ("hdfs://n:8020/", "hdfs"), ("abfss://c@a.dfs/x", "abfs")],
)  # fmt: skip
def test_the_scheme_tells_the_driver(uri: str, driver: str) -> None:
    """Several schemes are one driver."""
    assert mounts.driver_of(uri) == driver


@pytest.mark.parametrize(
    ("wanted", "has"),
    [("s3a://b/x/", "s3://b/x"), ("/data", "file:///data/"), ("local:///data", "/data"), ("s3://b", "s3://b/")],
)
def test_two_spellings_of_one_mount_are_equal(wanted: str, has: str) -> None:
    """Trailing slashes and names of one driver do not count."""
    assert mounts.missing([Mount("/m/", wanted)], {b"/m": has}) == ""


def test_a_missing_mount_is_named_with_what_is_there_but_no_credentials() -> None:
    """A status is read by many."""
    text = mounts.missing([Mount("/m", "s3://KEY:SECRET@b/x")], {b"/": "/data", b"/m": "s3a://AK:SK@other/"})

    assert text == "The master has no mount of s3://b/x at /m. It has: / on local:///data, /m on s3://other."


def test_the_rule_of_a_tree_is_of_the_mount_it_lies_on_and_of_those_in_it() -> None:
    """The deepest mount above counts, and all below."""
    storage = Storage({b"/": "local", b"/a": "s3", b"/a/b": "oss", b"/c": "ceph"})

    assert storage.rule_for(b"/a/x") is storage.rule_at(b"/a/x") is RULES["s3"]
    assert storage.rule_for(b"/ab") is RULES["local"]
    assert storage.rule_for(b"/c") is UNKNOWN
    assert storage.rule_for(b"/a/b") is RULES["oss"]
    assert storage.rule_for(b"/").proof == ""
    assert Storage({}).rule_for(b"/") is UNKNOWN


def test_a_tree_on_several_drivers_claims_what_all_of_them_allow() -> None:
    """Tasks only if all take them; what one needs to be proved is done for the whole."""
    both = Storage({b"/": "local", b"/a": "s3"}).rule_for(b"/")
    hiding = Storage({b"/": "local", b"/a": "oss"}).rule_for(b"/")

    assert (both.load, both.proof, both.streams, both.unreadable_is_empty) == ("shards", "relist", False, True)
    assert (hiding.load, hiding.proof) == ("listing", "relist")


class _Noisy:
    """Counts the listings of bad directories, and every third time one of somebody else."""

    def __init__(self, bad: set[bytes]) -> None:
        self.bad = bad
        self.calls = 0

    def __call__(self, names: Sequence[bytes]) -> int:
        self.calls += 1
        return len(self.bad & set(names)) + (self.calls % 3 == 0)


def test_a_directory_that_hides_entries_is_found_among_quiet_ones_in_spite_of_noise() -> None:
    """For random groups: exactly the bad ones, though other clients move the same counter now and then."""
    rng = random.Random(3)
    for _ in range(200):
        names = [b"/%d" % n for n in range(rng.randrange(1, 40))]
        bad = set(rng.sample(names, min(len(names), rng.randrange(4))))
        assert set(restless(names, _Noisy(bad))) == bad


def test_a_quiet_group_is_cleared_by_one_listing() -> None:
    """The common case costs no more."""
    asked: list[int] = []

    def listings(group: Sequence[bytes]) -> int:
        asked.append(len(group))
        return 0

    assert restless([b"/a", b"/b"], listings) == []
    assert asked == [2]
    assert restless([], listings) == []


def test_failures_are_those_counted_since() -> None:
    """Paths and listings; a gauge that fell is none."""
    base = Metrics.of({"Master.TotalPaths": 5, "Master.MetadataSyncPathsFail": 2, "Master.Other": 1})
    now = Metrics.of({"Master.TotalPaths": 3, "Master.MetadataSyncPathsFail": 4, "Master.MetadataSyncPrefetchFail": 1})

    assert failures(now.since(base)) == "2 failed paths and 1 failed listings"
    assert failures(now.since(now)) == ""
    assert now.since(base).plus(base) == now


def test_the_numbers_of_a_task_are_read_as_2_9_6_prints_them() -> None:
    """And zero where there are none."""
    text = (
        b"TaskStats{Success op count={[NOOP:1][CREATE:50]}, # of batches=3, # of objects loaded from UFS=51, # of x=0}"
    )

    assert task_stats(text) == {"batches": 3, "objects": 51}
    assert task_stats(b"") == {"batches": 0, "objects": 0}


def test_evidence_survives_the_way_to_the_count_and_is_small() -> None:
    """With the largest numbers that a master can have."""
    big = Metrics(*[2**63] * 6)
    evidence = Evidence("c" * 36, 2**63, big, big, "SyncMetadata", 2**63, True)

    assert Evidence.from_json(evidence.to_json()) == evidence
    assert len(evidence.to_json()) <= MAX_BYTES


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"c":1}', '{"c":"x","s":1,"b":[1,2,3,4,5,6,7],"e":[],"m":"","o":0,"w":1}']
)
def test_what_is_not_evidence_is_refused(text: str) -> None:
    """Not guessed at."""
    with pytest.raises(ValueError):
        Evidence.from_json(text)
