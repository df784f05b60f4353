"""Which rights the controller needs: read from the calls of ``Cluster`` in its source, so that no list is kept by hand.

A call names its resource as a constant of ``controllers.kube.resources``. Where it has a variable instead, every
constant that the function names counts, or, for a parameter, every one that is given to the function; where it has an
attribute of its object, those of the functions that make such objects. A table of constants stands for all of them.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from controllers.kube import resources
from controllers.kube.resources import Resource

Right = tuple[str, str, str]  # verb, API group, resource or resource/subresource

CONSTANTS = {name: value for name, value in vars(resources).items() if isinstance(value, Resource)}
VERBS = {
    "get": ("get", ""),
    "list_page": ("list", ""),
    "list_all": ("list", ""),
    "watch": ("watch", ""),
    "create": ("create", ""),
    "replace": ("update", ""),
    "replace_status": ("update", "status"),
    "merge_patch": ("patch", ""),
    "delete": ("delete", ""),
}
#: Methods without a resource among their arguments.
FIXED = {"pod_log": ("get", "", "pods/log")}
#: The client itself passes on what it is given.
LEFT_OUT = ("client.py", "resources.py")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def needed(root: Path) -> set[Right]:
    """Return every right that a module below ``root`` needs; raise ValueError where a call cannot be understood."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.py"))}
    rights: set[Right] = set()
    for path, tree in trees.items():
        if path.name not in LEFT_OUT:
            for scope, call in _calls(tree):
                rights |= _rights(call, scope, list(trees.values()), f"{path.name}:{call.lineno}")
    return rights


def _calls(tree: ast.Module) -> Iterator[tuple[list[ast.AST], ast.Call]]:
    """Yield each call of a method of a cluster with the classes and functions around it, innermost last."""
    stack: list[tuple[list[ast.AST], ast.AST]] = [([], tree)]
    while stack:
        scope, node = stack.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_cluster(node.func.value):
            yield scope, node
        inner = [*scope, node] if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) else scope
        stack += [(inner, child) for child in ast.iter_child_nodes(node)]


def _is_cluster(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_") == "cluster"


def _rights(call: ast.Call, scope: list[ast.AST], trees: list[ast.Module], where: str) -> set[Right]:
    assert isinstance(call.func, ast.Attribute)
    method = call.func.attr
    if method in FIXED:
        return {FIXED[method]}
    if method not in VERBS:
        return set()
    verb, subresource = VERBS[method]
    found = _resources(call.args[0], scope, trees)
    if not found:
        raise ValueError(f"{where}: cannot tell the resource of {ast.unparse(call)}")
    subresource = subresource or _subresource(call)
    suffix = f"/{subresource}" if subresource else ""
    return {(verb, resource.group, resource.plural + suffix) for resource in found}


def _subresource(call: ast.Call) -> str:
    given = [keyword.value for keyword in call.keywords if keyword.arg == "subresource"]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else ""


def _resources(argument: ast.expr, scope: list[ast.AST], trees: list[ast.Module]) -> set[Resource]:
    if found := _named(argument):
        return found
    everything = [node for tree in trees for node in ast.walk(tree)]
    if isinstance(argument, ast.Name):
        function = scope[-1]
        assert isinstance(function, _FUNCTIONS)
        calls = [node for node in everything if isinstance(node, ast.Call) and _called(node) == function.name]
        given = [part for call in calls for part in call.args] if _is_parameter(function, argument) else [function]
    else:
        made = next(item.name for item in reversed(scope) if isinstance(item, ast.ClassDef))
        functions = [node for node in everything if isinstance(node, _FUNCTIONS)]
        given = [item for item in functions if any(_called(node) == made for node in ast.walk(item))]
    return {resource for node in given for resource in _named(node, _tables(trees))}


def _tables(trees: list[ast.Module]) -> dict[str, set[Resource]]:
    """Return the constants in every table of constants, by its name."""
    rows = [(row.targets[0], row.value) for tree in trees for row in tree.body if isinstance(row, ast.Assign)]
    found = {target.id: _named(value) for target, value in rows if isinstance(target, ast.Name)}
    return {name: constants for name, constants in found.items() if constants and name not in CONSTANTS}


def _is_parameter(function: ast.FunctionDef | ast.AsyncFunctionDef, argument: ast.Name) -> bool:
    return argument.id in {parameter.arg for parameter in function.args.args}


def _called(node: ast.AST) -> str:
    """Return the last name of what a call calls, "" for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _named(node: ast.AST, tables: Mapping[str, set[Resource]] | None = None) -> set[Resource]:
    known = {**{name: {value} for name, value in CONSTANTS.items()}, **(tables or {})}
    names = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
    return {resource for name in names & set(known) for resource in known[name]}
