"""What begins a new run, and what does not."""

from typing import Any

import pytest

from controllers.api.dataset import parse_spec
from controllers.api.runs import inputs_hash, mounts_hash
from tests.dataset_cases import secret

SPEC: dict[str, Any] = {
    "mounts": [
        {"mountPoint": "s3://bucket/a", "name": "a", "options": {"x": "1", "y": "2"}},
        {"mountPoint": "oss://bucket/b", "path": "/b"},
    ],
    "alluxio": {"masters": ["m-0:19998", "m-1:19998"], "datasetPath": "/images"},
}


def hashed(**changes: Any) -> str:
    return inputs_hash(parse_spec({"spec": {**SPEC, **changes}}))


def managed(**changes: Any) -> str:
    return inputs_hash(parse_spec({"spec": {"mounts": [{"mountPoint": "s3://bucket", **changes}]}}))


def with_mount(**changes: Any) -> dict[str, Any]:
    return {"mounts": [{**SPEC["mounts"][0], **changes}, SPEC["mounts"][1]]}


def with_alluxio(**changes: Any) -> dict[str, Any]:
    return {"alluxio": {**SPEC["alluxio"], **changes}}


def test_the_hash_is_frozen_so_that_an_upgrade_never_loads_every_dataset_again() -> None:
    assert hashed() == "bea00f82715aa32d"
    assert managed() == "c445bbfbe6784e71"
    assert managed(readOnly=True) == "bef9054e9051dba2"
    assert managed(encryptOptions=[secret("aws", "id"), secret("aws", "key")]) == "354831468d151c88"


def test_the_hash_that_a_backup_carries_is_frozen_so_that_no_upgrade_makes_it_useless() -> None:
    mounts = [{"mountPoint": "s3://b/a", "path": "/a", "options": {"x": "1"}}, {"mountPoint": "s3://b/b", "name": "b"}]
    assert mounts_hash(parse_spec({"spec": {"mounts": mounts}})) == "f6f93cd851d6b189"
    assert mounts_hash(parse_spec({"spec": {"mounts": mounts[::-1]}})) == "f6f93cd851d6b189"


def test_in_an_alluxio_of_its_own_all_that_a_mount_needs_is_an_input() -> None:
    ids = [managed(encryptOptions=[secret("aws", name)]) for name in ("id", "key")]
    assert len({managed(), managed(readOnly=True), *ids}) == 4


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_mount(mountPoint="s3://bucket/c"), id="another directory"),
        pytest.param(with_mount(path="/c"), id="another path"),
        pytest.param(with_mount(options={"x": "1"}), id="other options"),
        pytest.param({"mounts": SPEC["mounts"][:1]}, id="a mount less"),
        pytest.param(with_alluxio(masters=["m-2:19998"]), id="another Alluxio"),
        pytest.param(with_alluxio(datasetPath="/other"), id="another root"),
    ],
)
def test_another_content_is_another_run(change: dict[str, Any]) -> None:
    assert hashed(**change) != hashed()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"load": {"loader": "AlluxioCLI", "parallelism": 99}}, id="how it is loaded"),
        pytest.param({"volume": {"enabled": False}, "suspend": True}, id="how it is published"),
        pytest.param({"mounts": SPEC["mounts"][::-1]}, id="order of the mounts"),
        pytest.param(with_alluxio(masters=["m-1:19998", "m-0:19998"]), id="order of the masters"),
        pytest.param(with_alluxio(datasetPath="/images/", webPort=1), id="spelling of the root"),
        pytest.param(with_mount(path="/a", readOnly=True), id="the default path written out"),
        pytest.param(with_mount(options={"y": "2", "x": "1"}), id="order of the options"),
        pytest.param({"owner": {"uid": 1, "gid": 1, "user": "u", "group": "g"}}, id="fields that are not served"),
    ],
)
def test_the_same_content_is_the_same_run(change: dict[str, Any]) -> None:
    assert hashed(**change) == hashed()
