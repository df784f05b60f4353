"""Reading and writing Datasets: exact where we write, forgiving where another hand wrote."""

import contextlib
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from controllers.api.alluxioruntime import AlluxioRuntimeStatus
from controllers.api.conditions import Condition
from controllers.api.databackup import DataBackupStatus
from controllers.api.dataset import (
    DatasetSpec,
    DatasetStatus,
    Loader,
    LoadStatus,
    Phase,
    RunStatus,
    SpecError,
    parse_spec,
    parse_status,
    printable_bytes,
    status_dict,
    unserved_fields,
)
from controllers.api.model import Model
from controllers.api.runs import inputs_hash
from controllers.api.schedule import ScheduledDataBackupStatus
from controllers.api.structural import structural
from controllers.api.validation import Limits, validate

STATUS_SCHEMA = structural(DatasetStatus, defaults=False)
VALID = jsonschema.Draft202012Validator(STATUS_SCHEMA)
Path = tuple[str | int, ...]
JUNK = ("junk", "x" * 100_000, -1, 10**40, 1.5, True, [], ["junk"], [[]], {}, {"junk": {"junk": []}}, None)


def example(schema: dict[str, Any], name: str = "") -> Any:
    """Return a value that the schema allows."""
    if "enum" in schema or "default" in schema:
        return schema.get("default", schema.get("enum", [""])[-1])
    if "pattern" in schema or "x-kubernetes-int-or-string" in schema:
        return ""
    if schema["type"] == "array":
        return [example(schema["items"], name)]
    if schema["type"] == "object":
        fields = schema.get("properties") or {"key": schema.get("additionalProperties", {"type": "string"})}
        return {name: example(item, name) for name, item in fields.items()}
    values = {"string": f"a {name}", "integer": 7, "boolean": True}
    return "2026-01-31T12:00:00Z" if schema.get("format") == "date-time" else values[schema["type"]]


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Yield where every part of a JSON value is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*above, key)
        yield from paths(item, (*above, key))


def replaced(value: Any, path: Path, new: Any) -> Any:
    """Return a copy of a JSON value with another part at the path."""
    copy = deepcopy(value)
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return copy


FULL = example(STATUS_SCHEMA)


def test_a_status_is_written_as_the_crd_wants_it_and_reads_back_to_the_same() -> None:
    status = parse_status({"status": FULL})
    written = status_dict(status)
    VALID.validate(written)
    assert parse_status({"status": written}) == status
    foreign = {"lastUpdateTime", "lastProbeTime"}
    read = {path for path in paths(FULL) if path[-1] not in foreign}
    assert read <= set(paths(written)), "every field of the schema is read and written"


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: str(junk)[:20])
def test_whatever_another_hand_wrote_a_status_is_readable_and_what_we_write_from_it_is_valid(junk: Any) -> None:
    assert parse_status({"status": junk}) == DatasetStatus()
    for path in paths(FULL):
        written = status_dict(parse_status({"status": replaced(FULL, path, junk)}))
        VALID.validate(written)


@pytest.mark.parametrize("junk", ["junk", -1, 10**40, [], {}])
def test_an_unreadable_number_costs_only_itself(junk: Any) -> None:
    status = parse_status({"status": replaced(FULL, ("load", "attempt"), junk)})
    assert (status.load.attempt, status.load.files, status.run.number) == (0, 7, 7)


def test_an_unreadable_condition_costs_only_itself() -> None:
    good = {"type": "Ready", "status": "True", "reason": "Counted", "lastTransitionTime": "2026-01-31T12:00:00Z"}
    given = [3, {"type": "Sized", "observedGeneration": "many"}, good, {"type": ["Odd"]}]
    (sized, ready) = parse_status({"status": {"conditions": given}}).conditions
    assert sized == Condition("Sized", "Unknown", "")
    assert ready == Condition("Ready", "True", "Counted", "", 0, "2026-01-31T12:00:00Z")


def test_a_phase_and_a_time_that_we_do_not_know_read_as_none() -> None:
    status = parse_status({"status": {"phase": "Bound", "run": {"startTime": "yesterday", "number": 2}}})
    assert (status.phase, status.run.start_time, status.run.number) == (None, "", 2)


def test_an_empty_status_writes_nothing_and_an_empty_dataset_its_zeros() -> None:
    assert status_dict(DatasetStatus()) == {}
    counted = DatasetStatus(phase=Phase.READY, file_count=0, ufs_total_bytes=0, ufs_total="0.00B", file_num="0")
    assert status_dict(counted) == {
        "phase": "Ready",
        "fileCount": 0,
        "ufsTotalBytes": 0,
        "ufsTotal": "0.00B",
        "fileNum": "0",
    }


def test_a_status_stays_small_whatever_a_container_says() -> None:
    load = LoadStatus(last_error="x" * 10**6, failed_directories=tuple("abcdefgh"), evidence="e" * 1001)
    assert (len(load.last_error), load.failed_directories, load.evidence) == (1024, tuple("abcde"), "")


def texts(model: Model, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where in a status of nothing but defaults there is a text that the API server bounds."""
    for name, info in type(model).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("maxLength"):
            yield (*where, name)
        if isinstance(value := getattr(model, name), Model):
            yield from texts(value, (*where, name))


def with_text(model: Model, where: tuple[str, ...], text: str) -> Model:
    """Return the status with this text, set as decisions set it: by a copy, which looks at no value."""
    name, *below = where
    return model.model_copy(update={name: with_text(getattr(model, name), tuple(below), text) if below else text})


@pytest.mark.parametrize(
    "status", [DatasetStatus(), DataBackupStatus(), AlluxioRuntimeStatus(), ScheduledDataBackupStatus()]
)
def test_no_text_is_written_that_is_too_long_for_the_api_server(status: Model) -> None:
    """It would refuse the whole status, for ever: nothing would be told, and nothing go on."""
    valid, places = jsonschema.Draft202012Validator(structural(type(status), defaults=False)), list(texts(status))
    assert places or isinstance(status, ScheduledDataBackupStatus)
    for where in places:
        valid.validate(status_dict(with_text(status, where, "x" * 1779)))


def test_our_own_mistakes_are_not_forgiven() -> None:
    with pytest.raises(ValidationError):
        RunStatus(number=-1)
    with pytest.raises(ValidationError):
        RunStatus().number = 3  # type: ignore[misc]


def test_a_spec_has_its_defaults_where_nothing_or_null_is_written() -> None:
    spec = parse_spec({"spec": {"mounts": [{"mountPoint": "s3://bucket", "name": None}], "load": None}})
    assert (spec.load.loader, spec.load.parallelism, spec.load.max_attempts) == (Loader.GRPC, 16, 4)
    assert (spec.volume.storage_class_name, spec.access_modes, spec.alluxio) == ("fluid", ("ReadOnlyMany",), None)


def test_a_mount_is_below_the_root_of_its_dataset() -> None:
    mounts = [{"mountPoint": "s3://a", "path": "/"}, {"mountPoint": "s3://b", "name": "b"}]
    alluxio = {"masters": ["m:1"], "datasetPath": "/images/"}
    spec = parse_spec({"spec": {"mounts": mounts, "alluxio": alluxio}})
    assert [spec.alluxio_path(mount) for mount in spec.mounts] == ["/images", "/images/b"]
    spec = parse_spec({"spec": {"mounts": mounts}})
    assert [spec.alluxio_path(mount) for mount in spec.mounts] == ["/dataset", "/dataset/b"]


def test_a_spec_that_does_not_fit_names_the_field_the_rule_and_what_was_given() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({"spec": {"mounts": [{"name": "x"}], "load": {"parallelism": 9999}}})
    assert caught.value.message == (
        "spec.mounts[0].mountPoint: field required; "
        "spec.load.parallelism: input should be less than or equal to 256 (it is '9999')"
    )
    with pytest.raises(SpecError):
        parse_spec({"spec": ["not", "an", "object"]})


def test_a_long_value_is_not_repeated_in_the_message() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({"spec": {"mounts": [{"mountPoint": "s3://" + "x" * 3000}]}})
    assert "at most 2048 characters" in caught.value.message
    assert len(caught.value.message) < 200


FULL_SPEC = example(structural(DatasetSpec, defaults=True))


def test_the_example_of_a_whole_spec_can_be_read() -> None:
    assert parse_spec({"spec": FULL_SPEC}).mounts


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: str(junk)[:20])
def test_no_spec_can_do_more_than_be_refused(junk: Any) -> None:
    for path in paths(FULL_SPEC):
        obj = {"spec": replaced(FULL_SPEC, path, junk)}
        unserved_fields(obj)
        with contextlib.suppress(SpecError):
            spec = parse_spec(obj)
            inputs_hash(spec)
            validate(spec, Limits(allowed_masters=("10.0.0.0/8", ".svc")), runtime_exists=True)


FLUID = {
    "mounts": [{"mountPoint": "https://mirror.example.org/apache/", "name": "apache", "shared": True}],
    "owner": {"uid": 1000, "gid": 1000, "user": "u", "group": "g"},
    "placement": "Shared",
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "accessModes": ["ReadWriteMany"],
    "dataRestoreLocation": {"path": "local:///backup", "nodeName": "node-1"},
    "nodeAffinity": {"required": {"nodeSelectorTerms": []}},
}


def test_fields_of_fluid_that_are_not_served_are_named_and_do_no_harm() -> None:
    assert parse_spec({"spec": FLUID}).mounts[0].dataset_path == "/apache"
    assert unserved_fields({"spec": FLUID}) == (
        "spec.owner",
        "spec.nodeAffinity",
        "spec.tolerations",
        "spec.placement",
        "spec.mounts[0].shared",
        "spec.dataRestoreLocation.nodeName",
    )


def test_how_something_is_mounted_is_not_served_where_the_alluxio_exists_already() -> None:
    mount = {"mountPoint": "s3://bucket", "readOnly": True, "options": {"a": "b"}}
    load = {"refreshSchedule": "0 3 * * *", "timeZone": "Asia/Tokyo", "maxRemovedFraction": "0.2", "parallelism": 3}
    spec = {"mounts": [mount, mount], "load": load, "suspend": True}
    assert unserved_fields({"spec": spec}) == ()
    assert unserved_fields({"spec": {**spec, "alluxio": {"masters": ["m:19998"]}}}) == (
        "spec.mounts[0].options",
        "spec.mounts[0].readOnly",
        "spec.mounts[1].options",
        "spec.mounts[1].readOnly",
    )


@pytest.mark.parametrize("obj", [{}, {"spec": None}, {"spec": 3}, {"spec": {"mounts": "x"}}, {"spec": {"owner": 3}}])
def test_nothing_is_unserved_where_nothing_readable_is_set(obj: dict[str, Any]) -> None:
    assert unserved_fields(obj) == ()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0.00B"),
        (1023, "1023.00B"),
        (1024, "1.00KiB"),
        (465_451_909, "443.89MiB"),
        (2**40, "1.00TiB"),
        (2**63 - 1, "8.00EiB"),
        (2**70, "1024.00EiB"),
    ],
)
def test_bytes_print_as_users_of_fluid_know_them(count: int, text: str) -> None:
    assert printable_bytes(count) == text
