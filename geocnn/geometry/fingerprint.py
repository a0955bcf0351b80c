"""A fingerprint is a digest of the code that computes a value; it changes whenever that code does."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, resolve_name


@cache
def fingerprint(module: str) -> str:
    """Return 16 hexadecimal digits for the code of a module and everything that it depends on.

    That is the code of all modules of its package that it imports, directly or not, and the versions of the
    other packages that these import, such as torch and NumPy. Imports inside functions count; those for type
    checkers, comments, docstrings and layout do not. Sources are read once per process, in about 0.1 s for
    all of geometry.

    >>> len(fingerprint("geocnn.geometry.meshes.surface"))
    16
    """
    sources, packages = dependencies(module)
    versions = {name: _version(name) for name in packages}
    everything = sorted(sources.items()), sorted(versions.items())
    return hashlib.sha256(repr(everything).encode()).hexdigest()[:16]


def dependencies(module: str) -> tuple[dict[str, str], set[str]]:
    """Return the code of a module and of all that it imports from its own package, and the other packages.

    Code is given by module name, as dumped syntax trees. Python's own packages are not among the others.
    """
    package = module.partition(".")[0]
    sources: dict[str, str] = {}
    others: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        spec = None if name in sources else _spec(name)
        if spec is None or not spec.origin:
            continue
        tree = _without_docstrings(ast.parse(spec.loader.get_data(spec.origin)))  # type: ignore[union-attr]
        sources[name] = ast.dump(tree)
        for imported in _imported(tree, spec.parent or ""):
            top = imported.partition(".")[0]
            if top == package:
                waiting.append(imported)
            else:
                others.add(top)
    return sources, others - sys.stdlib_module_names


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ModuleNotFoundError:  # the name is an object of a module, not a module
        return None


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, False):
            node.body = node.body[1:]
    return tree


def _imported(node: ast.AST, parent: str) -> Iterator[str]:
    """Yield the full names of the imports below a node; for `from a import b` both a and a.b."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = resolve_name("." * node.level + (node.module or ""), parent)
        yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
    elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for child in node.orelse:
            yield from _imported(child, parent)
        return
    for child in ast.iter_child_nodes(node):
        yield from _imported(child, parent)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
