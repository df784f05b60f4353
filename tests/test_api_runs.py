"""What begins a new run, and what does not."""

from typing import Any

import pytest

from controllers.api.dataset import parse_spec
from controllers.api.runs import inputs_hash

SPEC: dict[str, Any] = {
    "mounts": [
        {"mountPoint": "s3://bucket/a", "name": "a", "options": {"x": "1", "y": "2"}},
        {"mountPoint": "oss://bucket/b", "path": "/b"},
    ],
    "alluxio": {"masters": ["m-0:19998", "m-1:19998"], "datasetPath": "/images"},
}


def hashed(**changes: Any) -> str:
    return inputs_hash(parse_spec({"spec": {**SPEC, **changes}}))


def with_mount(**changes: Any) -> dict[str, Any]:
    return {"mounts": [{**SPEC["mounts"][0], **changes}, SPEC["mounts"][1]]}


def with_alluxio(**changes: Any) -> dict[str, Any]:
    return {"alluxio": {**SPEC["alluxio"], **changes}}


def test_the_hash_is_frozen_so_that_an_upgrade_never_loads_every_dataset_again() -> None:
    assert hashed() == "bea00f82715aa32d"
    assert inputs_hash(parse_spec({"spec": {"mounts": [{"mountPoint": "s3://bucket"}]}})) == "a59665d8e27c4a1b"


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
