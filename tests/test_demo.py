"""The demo: what it makes, and the whole flow as a person starts it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fluidctl.demo import Stage, embedded, make_tree, run
from fluidctl.exits import Code, Failure


def test_the_tree_has_exactly_so_many_files_and_no_directory_is_large(tmp_path: Path) -> None:
    """Sizes differ and take no space, so that bytes are worth counting and nothing is slow."""
    root = make_tree(tmp_path / "data", 1234)

    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) == 1234
    assert max(len(names) for _, _, names in os.walk(root)) == 100
    assert len({path.stat().st_size for path in files}) == 100
    assert sum(path.stat().st_blocks for path in files) == 0


def test_a_tree_of_no_files_is_an_empty_directory(tmp_path: Path) -> None:
    """An empty dataset is a valid one."""
    assert list(make_tree(tmp_path / "data", 0).iterdir()) == []


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a person who has a cluster already, and settings for another controller."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("precious", encoding="utf-8")
    return os.environ | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"), "FLUIDCTL_NAMESPACES": "elsewhere"}


def _demo(*flags: str) -> list[str]:
    return [sys.executable, "-m", "fluidctl", "demo", *flags]


def _nothing_is_left(tmp_path: Path) -> bool:
    mine = [command for command in _command_lines() if str(tmp_path).encode() in command]
    kubeconfig = (tmp_path / ".kube" / "config").read_text(encoding="utf-8")
    return not mine and not list((tmp_path / "tmp").iterdir()) and kubeconfig == "precious"


def _command_lines() -> Iterator[bytes]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            yield file.read_bytes()


def test_once_ends_with_the_ready_dataset_as_json_and_leaves_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Counts and bytes are those of the directory, whatever its names; no kubeconfig of a person is touched."""
    data = tmp_path / "my data"
    make_tree(data, 250)
    for name in ("spaces in it", "größe", "new\nline", "100%+#'\"", "x" * 250):
        (data / name).mkdir()
        (data / name / name).write_text(name, encoding="utf-8")

    done = subprocess.run(
        _demo("--once", "--data", str(data)), capture_output=True, text=True, timeout=55, check=False, env=environment
    )

    assert done.returncode == 0, done.stderr
    dataset = json.loads(done.stdout.splitlines()[-1])
    assert dataset["status"]["phase"] == "Ready"
    found = [path for path in data.rglob("*") if path.is_file()]
    assert dataset["status"]["fileCount"] == len(found) == 255
    assert dataset["status"]["ufsTotalBytes"] == sum(path.stat().st_size for path in found)
    assert {"metadata", "spec", "status"} == set(dataset)
    assert "Traceback" not in done.stderr
    assert _nothing_is_left(tmp_path)


def test_the_demo_stays_until_ctrl_c_and_what_it_suggests_works(tmp_path: Path, environment: dict[str, str]) -> None:
    """A person tries the printed commands in another terminal; then everything ends."""
    with subprocess.Popen(
        _demo("--files", "20"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            said = ""
            while "Ctrl-C" not in said:
                line = process.stdout.readline()
                assert line, process.stderr and process.stderr.read()
                said += line
            kubeconfig = re.search(r"KUBECONFIG=(\S+)", said)
            assert kubeconfig
            listed = subprocess.run(
                [sys.executable, "-m", "fluidctl", "get"],
                capture_output=True,
                text=True,
                check=True,
                env=environment | {"KUBECONFIG": kubeconfig[1]},
            ).stdout
        finally:
            _interrupt(process)
        assert process.returncode == 0

    assert listed.splitlines()[1].split()[:3] == ["demo", "Ready", "20"]
    assert _nothing_is_left(tmp_path)


def _interrupt(process: "subprocess.Popen[str]") -> None:
    """Press Ctrl-C until it ends, as impatient people do: a terminal tells the whole process group."""
    for _ in range(300):
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            return
    process.kill()


def test_a_controller_that_ends_ends_the_demo_with_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody waits for a Dataset that nobody serves."""

    @contextlib.contextmanager
    def broken(source: Path, work: Path) -> Iterator[Stage]:
        with embedded(source, work) as place:
            yield replace(place, controller_flags=["--no-such-flag"])

    before = [(name, signal.getsignal(name)) for name in (signal.SIGINT, signal.SIGTERM)]
    try:
        with pytest.raises(Failure, match="code 2.*--no-such-flag") as ended:
            run("", 1, True, broken)
    finally:
        for name, handler in before:
            signal.signal(name, handler)

    assert ended.value.code is Code.FAILED
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["metadata"]["name"] == "demo"


def test_a_demo_that_is_told_to_end_early_leaves_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    """A supervisor sends SIGTERM; a code other than 0 says that it did not get to Ready."""
    with subprocess.Popen(_demo("--once"), stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # the first state of the Dataset is shown
        process.terminate()
        process.stdout.read()
        assert process.wait(30) == 130

    assert _nothing_is_left(tmp_path)
