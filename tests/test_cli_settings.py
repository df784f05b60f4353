"""The flags of the controller: every field of ControllerConfig has one, and a wrong value is named by its flag."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from controllers.config import ControllerConfig, VolumeProfile
from fluidctl.exits import Code, Failure
from fluidctl.settings import settings, to_config


def test_every_field_has_a_flag_an_environment_variable_and_help() -> None:
    """A field that nobody can set would be a constant in the wrong place."""
    assert [setting.field for setting in settings()] == [field.name for field in fields(ControllerConfig)]
    assert all(setting.flag.startswith("--") and setting.env.startswith("FLUIDCTL_") for setting in settings())
    assert all(setting.help.endswith(".") for setting in settings())
    assert len({setting.env for setting in settings()}) == len(settings())


def test_the_defaults_of_the_flags_make_the_default_configuration() -> None:
    """What --help shows as default is what happens without the flag."""
    assert to_config({setting.field: setting.default for setting in settings()}) == ControllerConfig()


def test_lists_are_separated_by_commas_and_spaces_do_not_matter() -> None:
    """A trailing comma, as templates write it, names no empty namespace."""
    config = to_config({"namespaces": "team-a, team-b,", "allowed_masters": "10.0.0.0/8"})

    assert config.namespaces == ("team-a", "team-b")
    assert config.allowed_masters == ("10.0.0.0/8",)


@pytest.mark.parametrize("bind", ["", "127.0.0.1:0", "0.0.0.0:8080", "[::]:8080", "localhost:8080"])
def test_an_address_to_listen_on_may_be_of_either_family_or_empty(bind: str) -> None:
    """Empty turns the endpoint off."""
    assert to_config({"metrics_bind": bind}).metrics_bind == bind


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", 0),
        ("loads_per_master", 0),
        ("global_loads", -1),
        ("resync_seconds", 0.0),
        ("cache_poll_seconds", 0.5),
        ("progress_seconds", 0.0),
        ("grace_seconds", -1.0),
        ("grace_seconds", math.inf),
        ("resync_seconds", math.nan),
        ("allowed_masters", "alluxio.svc,10.0.0.0/99"),
        ("metrics_bind", "8080"),
        ("metrics_bind", "127.0.0.1:http"),
        ("health_bind", "127.0.0.1:65536"),
        ("health_bind", "nohost.example:80"),
        ("only", "dataset"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("volume", "/no/such/file.yaml"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_the_name_of_its_flag(field: str, value: Any) -> None:
    """At the start, not in the middle of a night."""
    flag = next(setting.flag for setting in settings() if setting.field == field)

    with pytest.raises(Failure, match=flag) as refused:
        to_config({field: value})

    assert refused.value.code is Code.USAGE


def test_a_volume_profile_is_read_from_a_file_and_what_it_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    """So that a ConfigMap can be mounted as it is."""
    file = tmp_path / "volume.yaml"
    file.write_text("driver: csi.example.com\nmountOptions: [ro]\n", encoding="utf-8")

    profile = to_config({"volume": str(file)}).volume

    assert profile == VolumeProfile("csi.example.com", VolumeProfile().attributes, ("ro",))


@pytest.mark.parametrize("text", ["mountoptions: [ro]", "[1, 2]", "driver: [", ""])
def test_a_volume_profile_with_a_typing_error_is_refused(text: str, tmp_path: Path) -> None:
    """A misspelt field would otherwise silently keep its default."""
    file = tmp_path / "volume.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(Failure, match="--volume-profile"):
        to_config({"volume": str(file)})
