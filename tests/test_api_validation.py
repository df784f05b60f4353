"""What a person reads whose Dataset cannot be served."""

import pytest

from controllers.api.dataset import SpecError, parse_spec
from controllers.api.validation import Limits, master_allowed, parse_address, validate
from tests.dataset_cases import ALLUXIO, GOOD, MOUNT, REFUSED, Refused, alluxio, mounts, secret

NO_LIMITS = Limits()


def check(spec: object, limits: Limits = NO_LIMITS, *, runtime_exists: bool = False) -> None:
    validate(parse_spec({"spec": spec}), limits, runtime_exists=runtime_exists)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_bad_spec_is_refused_for_good_in_words_for_its_author(case: Refused) -> None:
    with pytest.raises(SpecError) as caught:
        check(case.spec)
    assert case.sentence in caught.value.message
    assert (caught.value.reason, caught.value.permanent) == ("InvalidSpec", True)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(GOOD, id="one mount"),
        pytest.param({"alluxio": ALLUXIO}, id="an existing Alluxio needs no mounts"),
        pytest.param(mounts({"mountPoint": "s3://bucket"}), id="a mount without name and path is the root"),
        pytest.param(mounts({"mountPoint": "hdfs://user@namenode:8020/warehouse", "path": "/w"}), id="user in the URI"),
        pytest.param(mounts({"mountPoint": "s3://bucket/with space/ü", "path": "/with space"}), id="odd names"),
        pytest.param(alluxio(masters=["10.0.0.1:19998", "[fd00::1]:19998", "m.alluxio.svc.:19998"]), id="addresses"),
        pytest.param({"mounts": [MOUNT], "dataRestoreLocation": {"backupName": "monday"}}, id="restore by name"),
        pytest.param({"mounts": [MOUNT], "dataRestoreLocation": {"path": "pvc://c/a/b/"}}, id="restore by path"),
        pytest.param({"mounts": [{**MOUNT, "encryptOptions": [secret("aws", "key.id")]}]}, id="a Secret"),
    ],
)
def test_a_good_spec_passes(spec: object) -> None:
    check(spec, runtime_exists=True)


def test_without_alluxio_and_runtime_the_dataset_waits_and_is_told_what_to_name() -> None:
    with pytest.raises(SpecError, match=r"create an AlluxioRuntime .* spec\.alluxio\.masters") as caught:
        check({"mounts": [MOUNT]})
    assert (caught.value.reason, caught.value.permanent) == ("RuntimeMissing", False)
    check({"mounts": [MOUNT]}, runtime_exists=True)


@pytest.mark.parametrize("uri", ["local:///data", "file:///data", "/data/images"])
def test_directories_of_the_masters_machine_pass_only_where_the_administrator_allows_them(uri: str) -> None:
    check(mounts({"mountPoint": uri, "path": "/"}), Limits(allow_local_ufs=True))


def test_a_password_in_a_uri_is_not_repeated() -> None:
    with pytest.raises(SpecError) as caught:
        check(mounts({"mountPoint": "ftp://me:secret@host/d", "path": "/"}))
    assert "secret" not in caught.value.message


def test_at_most_three_problems_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        check(alluxio(masters=["a", "b", "c", "d"]))
    assert caught.value.message.count("is not host:port") == 3


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        pytest.param("m.alluxio.svc", True, id="below a suffix"),
        pytest.param("M.Alluxio.SVC.", True, id="case and the last dot do not matter"),
        pytest.param("alluxio.svc", True, id="the suffix itself"),
        pytest.param("evilalluxio.svc", False, id="a name that only ends in the same letters"),
        pytest.param("alluxio.svc.evil.example", False, id="a name that only begins so"),
        pytest.param("10.1.2.3", True, id="in the CIDR"),
        pytest.param("10.2.2.3", False, id="outside of the CIDR"),
        pytest.param("fd00::1", False, id="another family"),
    ],
)
def test_only_masters_that_the_administrator_allows_are_connected_to(host: str, allowed: bool) -> None:
    limits = (".alluxio.svc", "10.1.0.0/16")
    assert master_allowed(host, limits) is allowed
    assert master_allowed(host, ())


def test_a_master_that_is_not_allowed_is_named_with_the_flag_that_would_allow_it() -> None:
    with pytest.raises(SpecError, match=r"masters\[0\] 'm:1' is not among the hosts of --allowed-masters"):
        check(alluxio(masters=["m:1"]), Limits(allowed_masters=("alluxio.svc",)))


@pytest.mark.parametrize("address", ["127.1:19998", "0x7f.1:1", "2130706433:1", "[::1:1", "a b:1", ":1", "m:١", "m:"])
def test_an_address_in_a_spelling_that_could_slip_past_a_cidr_is_none(address: str) -> None:
    with pytest.raises(ValueError):
        parse_address(address)


def test_an_address_is_split_into_host_and_port() -> None:
    assert parse_address("alluxio-master-0.alluxio:19998") == ("alluxio-master-0.alluxio", 19998)
    assert parse_address("[fd00:0::1]:1") == ("fd00::1", 1)
