"""docs/cli.md names every command, flag, environment variable and exit code that exists, and no other.

``python -m tests.test_cli_docs`` writes the tables anew.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from controllers.api.dataset import parse_spec
from controllers.api.result import Exit, describe
from controllers.api.validation import Limits, validate
from controllers.master_snapshot import Reason
from fluidctl.cli import JOB_COMMANDS, main
from fluidctl.commands import app
from fluidctl.exits import MEANING, Code

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_REASON = r"[A-Z][a-z]+([A-Z][a-z]+)*|[A-Za-z]*OOMKilled"
#: Words of the same form: kinds, types of events and conditions, phases, values of fields, reasons of runs, what
#: Kubernetes says of a container.
_NO_REASONS = set(
    re.findall(
        r"\w+",
        """
        AlluxioRuntime ConfigMap Dataset DataBackup PersistentVolumeClaim Secret Service StatefulSet Normal
        InputsChanged
        Warning Conflict Reconcile Refresh Restore Verify Delete Executing Failed Bound Released Pending
        NotReady PartialReady PodScheduled Requested Schedule Waiting True False DatasetView Seen Made Observed
        RuntimeView CreateContainerConfigError CreateContainerError RunContainerError RegistryUnavailable
        ErrImageNeverPull ErrImagePull ImagePullBackOff InvalidImageName
        """,
    )
)
_BLOCK = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def _row(option: Any) -> str:
    if option.param_type_name == "argument":
        flag, default = f"`{option.metavar or option.name.upper()}`", "" if option.required else "optional"
    else:
        flag = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        default = "" if option.default in (None, "") else f"`{_text(option.default)}`"
    env = f"`{option.envvar}`" if option.envvar else ""
    return f"| {flag} | {env} | {default} | {option.help} |"


def _text(default: Any) -> str:
    return (
        str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else default
    )


def _options(name: str) -> Iterator[str]:
    options = [option for option in _commands()[name].params if option.name != "help"]
    if not options:
        yield "It has no flags."
        return
    yield "| flag | environment | default | meaning |"
    yield "|---|---|---|---|"
    yield from (_row(option) for option in options)


def _exits() -> Iterator[str]:
    yield "| code | name | meaning |"
    yield "|---|---|---|"
    yield from (f"| {code} | {code.name} | {MEANING[code]} |" for code in Code)


def _job_exits() -> Iterator[str]:
    yield "| code | reason on the Dataset | tried again |"
    yield "|---|---|---|"
    for code in Exit:
        reason, permanent = describe(code)
        yield f"| {code} | {reason} | {'no' if permanent else '' if code is Exit.COMPLETE else 'yes'} |"


def _block(name: str) -> str:
    tables = {"exits": _exits, "job-exits": _job_exits}
    return "\n".join(tables[name]() if name in tables else _options(name)) + "\n"


def rendered(text: str) -> str:
    """Return the text with every block between "begin NAME" and "end" written from the code."""
    return _BLOCK.sub(lambda match: match[1] + _block(match[2]) + match[3], text)


def test_the_tables_of_flags_and_exit_codes_are_those_of_the_code() -> None:
    """Whoever adds a flag or a code runs ``python -m tests.test_cli_docs`` and reads the difference."""
    text = (DOCS / "cli.md").read_text(encoding="utf-8")

    assert rendered(text) == text


@pytest.mark.parametrize("name", [*_commands(), "exits", "job-exits"])
def test_every_command_and_every_kind_of_exit_code_has_its_table(name: str) -> None:
    """A command without a table would be a command without documentation."""
    blocks = [match[2] for match in _BLOCK.finditer((DOCS / "cli.md").read_text(encoding="utf-8"))]

    assert blocks.count(name) == 1


def test_every_exit_code_has_a_meaning() -> None:
    """A number alone helps nobody."""
    assert set(MEANING) == set(Code)


@pytest.mark.parametrize("title", ["load and size", "The Jobs around backups"])
def test_the_flags_of_a_job_are_documented(title: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are the frozen contract between a controller and the Jobs of another release."""
    own = ("load", "size")
    for command in own if title == "load and size" else sorted(set(JOB_COMMANDS) - set(own)):
        assert main([command, "--help"]) == 0
    flags = set(re.findall(r"--[a-z][a-z0-9-]+", capsys.readouterr().out)) - {"--help"}

    section = (DOCS / "cli.md").read_text(encoding="utf-8").partition(f"\n## {title}")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`--[^|]+) \|", section, re.MULTILINE)

    assert {flag for row in rows for flag in re.findall(r"--[a-z][a-z0-9-]+", row)} == flags


def _words(*files: Path) -> set[str]:
    """Every literal of these modules that has the form of a reason, but for docstrings."""
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    literals = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {word for word in literals if re.fullmatch(_REASON, word)} - _NO_REASONS


def _said_by_jobs() -> set[str]:
    """The reasons that the Jobs around backups give as more precise than their exit codes."""
    calls = [
        node
        for file in (ROOT / "fluidctl" / "backup").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("refused", "BackupError")
    ]
    literals = [part for call in calls for part in ast.walk(ast.Tuple(call.args[:2])) if isinstance(part, ast.Constant)]
    return {part.value for part in literals if re.fullmatch("[A-Z][A-Za-z]+", str(part.value))}


def _reasons() -> set[str]:
    """Every reason that a condition can have: words of the modules that make conditions, and those of enumerations."""
    rooms = ROOT / "controllers"
    # Without names of the packages, and reasons of runs.
    dataset = [file for file in (rooms / "dataset").glob("*.py") if file.name not in ("__init__.py", "life.py")]
    runtime = [rooms / "runtime" / f"{name}.py" for name in ("__init__", "pods", "report", "view")]
    own = [rooms / "backup" / "reasons.py", rooms / "backup" / "report.py", *(rooms / "schedules").glob("*.py")]
    found = _words(*dataset, *runtime, *own, rooms / "apply.py", rooms / "api" / "validation.py")
    conflicts = {f"{kind}Conflict" for kind in ("Job", "Service", "ConfigMap", "StatefulSet", "DataBackup")}
    exits = {describe(code)[0] for code in Exit if code}
    return found | _said_by_jobs() | conflicts | exits | {*Reason, "InvalidSpec", "Signal9"}


def _rows(page: str) -> set[str]:
    """The words of the first column of every table whose first column is "reason"."""
    text = (DOCS / page).read_text(encoding="utf-8")
    tables = re.findall(r"^\| reason \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    cells = [row.split(" | ")[0].removeprefix("| ") for table in tables for row in table.splitlines()]
    return {word for cell in cells for word in cell.split(", ")}


def test_every_reason_has_a_row_in_a_table_of_what_to_do_and_every_row_a_reason() -> None:
    """Whoever is paged looks up the word that the condition shows."""
    rows = _rows("troubleshooting.md") | _rows("backup.md")

    assert {"without a row": _reasons() - rows, "without a reason": rows - _reasons()} == {
        "without a row": set(),
        "without a reason": set(),
    }


def test_the_readme_names_only_commands_targets_and_files_that_exist() -> None:
    """A first command that fails is the last one."""
    root = DOCS.parent
    readme, makefile = (root / "README.md").read_text(encoding="utf-8"), (root / "Makefile").read_text(encoding="utf-8")

    targets = set(re.findall(r"^(?:    |.*`)make ([a-z-]+)", readme, re.MULTILINE))
    commands = set(re.findall(r"(?:^    |`|\$ )fluidctl ([a-z]+)", readme, re.MULTILINE))
    links = set(re.findall(r"\]\(([^)#:]+)\)", readme))

    assert targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert commands
    assert commands <= set(_commands())
    assert links
    assert all((root / link).is_file() for link in links)


def test_the_first_dataset_of_the_readme_can_be_served() -> None:
    """People copy it."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    dataset = yaml.safe_load(readme.partition("```yaml\n")[2].partition("```")[0])

    validate(parse_spec(dataset), Limits(), runtime_exists=False)

    assert f"fluidctl wait {dataset['metadata']['name']}" in readme


if __name__ == "__main__":
    path = DOCS / "cli.md"
    path.write_text(rendered(path.read_text(encoding="utf-8")), encoding="utf-8")
