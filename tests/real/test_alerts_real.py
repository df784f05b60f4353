"""Alerts of backups and restores, as Prometheus evaluates them: ``promtool`` reads the rules and plays series to them.

Debian has it in the package prometheus; where it is not on the PATH these tests are skipped. Time begins at 0.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = Path(__file__).parent.parent.parent / "manifests" / "components" / "monitoring" / "prometheusrule.yaml"
PROMTOOL = shutil.which("promtool") or ""
OF = 'namespace="team-a",dataset="imagenet"'
SUCCESS, FAILURE = (f"fluidctl_backup_last_{what}_timestamp_seconds{{{OF}}}" for what in ("success", "failure"))
BY = 'namespace="team-a",schedule="nightly"'
SLOT, DONE, NEXT = (
    f"fluidctl_backup_schedule_{what}_timestamp_seconds{{{BY}}}" for what in ("last_slot", "last_success", "next_slot")
)
RESTORES = 'fluidctl_dataset_restores_total{result="%s"}'
FAILED, TOO_OLD, MISSED, NOT_RESTORED = (
    f"Fluidctl{name}" for name in ("BackupFailed", "BackupTooOld", "BackupSlotMissed", "RestoreFailed")
)

pytestmark = pytest.mark.skipif(not PROMTOOL, reason="promtool (Debian: prometheus) is not on the PATH")


def _promtool(*words: str | Path) -> None:
    ended = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="session")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the rules as the Prometheus operator hands them to Prometheus."""
    path = tmp_path_factory.mktemp("alerts") / "rules.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]))
    return path


def test_prometheus_reads_the_rules(rules: Path) -> None:
    _promtool("check", "rules", rules)


def _constant(number: float, minutes: int = 600) -> str:
    return f"{number}x{minutes}"


@pytest.mark.parametrize(
    ("alert", "series", "fires"),
    [
        pytest.param(FAILED, {}, {60: 0}, id="a dataset that never had a backup"),
        pytest.param(FAILED, {SUCCESS: _constant(60)}, {60: 0}, id="one whose backups are all good"),
        pytest.param(FAILED, {FAILURE: _constant(60)}, {4: 0, 6: 1}, id="one whose first backup failed"),
        pytest.param(
            FAILED, {SUCCESS: _constant(60), FAILURE: _constant(90)}, {4: 0, 6: 1}, id="one whose last backup failed"
        ),
        pytest.param(
            FAILED, {SUCCESS: _constant(90), FAILURE: _constant(60)}, {60: 0}, id="one that has a good one since"
        ),
        pytest.param(
            FAILED,
            {SUCCESS: "60x20 1260x40", FAILURE: _constant(120)},
            {20: 1, 22: 0},
            id="it ends with the next good backup",
        ),
        pytest.param(
            FAILED,
            {FAILURE: _constant(90), SUCCESS.replace("imagenet", "other"): _constant(120)},
            {6: 1},
            id="a good backup of another dataset changes nothing",
        ),
        pytest.param(
            FAILED,
            {FAILURE.replace("}", f',pod="{pod}"}}'): _constant(90) for pod in "ab"},
            {6: 1},
            id="two controllers that say the same are one alert",
        ),
        pytest.param(TOO_OLD, {NEXT: _constant(36000)}, {300: 0}, id="a schedule whose first slot has not come"),
        pytest.param(
            TOO_OLD,
            {NEXT: _constant(86400), SLOT: _constant(60), DONE: _constant(300)},
            {300: 0},
            id="one whose backup of the last slot is complete",
        ),
        pytest.param(
            TOO_OLD,
            {NEXT: _constant(86400), SLOT: _constant(60)},
            {119: 0, 121: 1},
            id="one that never had a complete backup",
        ),
        pytest.param(
            TOO_OLD,
            {NEXT: _constant(86400), SLOT: "0x59 3600x500", DONE: _constant(300)},
            {60: 0, 179: 0, 181: 1},
            id="one whose last slot gave no complete backup",
        ),
        pytest.param(
            TOO_OLD,
            {NEXT: _constant(86400), SLOT: "0x59 3600x500", DONE: "300x89 5400x500"},
            {300: 0},
            id="one whose backup took half an hour",
        ),
        pytest.param(
            TOO_OLD,
            {NEXT: "3600+60x600", SLOT: "0+60x600", DONE: _constant(1)},
            {119: 0, 121: 1},
            id="one that has a slot each minute, none of which gives anything",
        ),
        pytest.param(
            TOO_OLD, {SLOT: _constant(60), DONE: _constant(30)}, {300: 0}, id="one that is suspended after a failure"
        ),
        pytest.param(TOO_OLD, {SLOT: _constant(60)}, {300: 0}, id="one that is suspended and never succeeded"),
        pytest.param(MISSED, {NEXT: _constant(3600)}, {74: 0, 76: 1}, id="a slot for which nothing was done"),
        pytest.param(MISSED, {NEXT: "3600x61 7200x500"}, {90: 0}, id="a slot that was served a little late"),
        pytest.param(MISSED, {SLOT: _constant(60)}, {300: 0}, id="a schedule that is suspended"),
        pytest.param(
            NOT_RESTORED,
            {RESTORES % "Failed": "0x120", RESTORES % "Restored": "0+1x120"},
            {90: 0},
            id="restores that went well",
        ),
        pytest.param(NOT_RESTORED, {RESTORES % "Failed": "0x29 1x120"}, {29: 0, 31: 1, 120: 0}, id="a failed restore"),
        pytest.param(NOT_RESTORED, {RESTORES % "Abandoned": "0x29 1x120"}, {31: 1}, id="a restore that was given up"),
        pytest.param(
            NOT_RESTORED, {RESTORES % "Failed": "3x29 0x120"}, {31: 0, 60: 0}, id="a controller that was restarted"
        ),
        pytest.param(
            NOT_RESTORED,
            {RESTORES % "Failed": "3x29 0x9 1x60"},
            {39: 0, 41: 1},
            id="a failure after a restart of the controller",
        ),
    ],
)
def test_an_alert_fires_when_it_must_and_is_silent_else(
    alert: str, series: dict[str, str], fires: dict[int, int], rules: Path, tmp_path: Path
) -> None:
    """``fires``: how many alerts there are at these minutes."""
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    asked: list[dict[str, Any]] = [
        {"expr": f"count({firing}) or vector(0)", "eval_time": f"{minute}m", "exp_samples": [{"value": count}]}
        for minute, count in fires.items()
    ]
    played = [{"series": name, "values": values} for name, values in series.items()]
    scene = {"interval": "1m", "input_series": played, "promql_expr_test": asked}
    told = tmp_path / "test.yaml"
    told.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [scene]}))
    _promtool("test", "rules", told)
