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
from fluidctl.cli import main
from fluidctl.commands import app
from fluidctl.exits import MEANING, Code

DOCS = Path(__file__).parent.parent / "docs"
_REASON = r"[A-Z][a-z]+([A-Z][a-z]+)*|OOMKilled"
#: Words of the same form: kinds of events, phases of other objects, reasons of runs.
_NO_REASONS = {"Bound", "Conflict", "Released", "Dataset", "Normal", "Reconcile", "Warning"} | {
    "Refresh",
    "Requested",
    "Schedule",
}
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


def test_the_flags_of_a_job_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """They are the frozen contract between a controller and the Jobs of another release."""
    assert main(["load", "--help"]) == 0
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}

    documented = set(
        re.findall(r"^\| `(--[a-z-]+)", (DOCS / "cli.md").read_text().partition("## load")[2], re.MULTILINE)
    )

    assert documented == flags


def _reasons() -> set[str]:
    """Every reason that a condition can have: words of the modules that make conditions, and those of enumerations."""
    root = DOCS.parent / "controllers"
    files = [*(root / "dataset").glob("*.py"), root / "apply.py", root / "api" / "validation.py"]
    words = {
        node.value
        for file in files
        if file.name not in ("__init__.py", "life.py")  # names of the package; reasons of runs
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(_REASON, node.value)
    }
    return words - _NO_REASONS | {*Reason, *(describe(code)[0] for code in Exit if code)}


def test_every_reason_has_a_row_in_the_troubleshooting_page_and_every_row_a_reason() -> None:
    """Whoever is paged looks up the word that the condition shows."""
    rows = re.findall(r"^\| (\w+) \|", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert {row for row in rows if row != "reason"} == _reasons() | {"InvalidSpec", "Signal9"}


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
