"""What the package's files import, and which lines they share, read from their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "geocnn"


@dataclass(frozen=True)
class Import:
    """A module imported, or a name reached through `geocnn.`; lazy means inside a function. `member` is what
    is imported from the module, which may be a module itself.
    """

    module: str
    line: int
    lazy: bool
    typing_only: bool
    member: str = ""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """`geocnn.groups.planar` lies in `groups`; `geocnn` itself in `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    package = module if is_package else module.rpartition(".")[0]
    return _imports(ast.parse(source), package, lazy=False, typing_only=False)


def _imports(node: ast.AST, package: str, lazy: bool, typing_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, lazy, typing_only)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
        # `from geocnn import nn` imports geocnn.nn, so names count as modules in these packages
        for alias in node.names:
            name = f"{base}.{alias.name}" if base in ("geocnn", "torch", "torch.nn") else base
            yield Import(name, node.lineno, lazy, typing_only, f"{base}.{alias.name}")
    elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
        if node.args and isinstance(node.args[0], ast.Constant):
            yield Import(str(node.args[0].value), node.lineno, lazy, typing_only)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "geocnn":
        yield Import(f"geocnn.{node.attr}", node.lineno, lazy, typing_only)
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for child in node.body:
            yield from _imports(child, package, lazy, True)
        for child in node.orelse:
            yield from _imports(child, package, lazy, typing_only)
        return
    lazy = lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, lazy, typing_only)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def sources() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def needed(
    texts: Mapping[str, str], packages: Collection[str], doors: Collection[tuple[str, str]]
) -> dict[str, set[str]]:
    """The modules among `texts` that each one imports at run time: inside functions too, but for `doors`."""
    return {
        module: {
            target
            for i in imports(text, module, module in packages)
            for target in (i.member if i.member in texts else i.module,)
            if target in texts and target != module and not i.typing_only
            if not (i.lazy and (module, target) in doors)
        }
        for module, text in texts.items()
    }


def circle(needs: Mapping[str, set[str]]) -> list[str]:
    """Modules that import one another in a circle, none if there are none: what is left when all that need
    nothing, or are needed by nothing, have been taken away.
    """
    left = {module: set(others) for module, others in needs.items()}
    while True:
        wanted = set().union(*left.values())
        free = {module for module, others in left.items() if not others or module not in wanted}
        if not free:
            return sorted(left)
        left = {module: others - free for module, others in left.items() if module not in free}


def lines_that_count(source: str) -> list[str]:
    """The lines without imports, lists of names, signatures, comments, blanks and lone brackets.

    Layers of one kind take the same arguments, so their signatures repeat on purpose.
    """
    lines, passed = source.splitlines(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom) or _names_only(node):
            passed |= set(range(node.lineno, node.end_lineno + 1))
        elif isinstance(node, ast.FunctionDef):
            passed |= set(range(node.lineno, node.body[0].lineno))
    kept = (line.strip() for k, line in enumerate(lines, 1) if k not in passed)
    return [line for line in kept if re.search(r"\w", line) and not line.startswith("#")]


def _names_only(node: ast.AST) -> bool:
    """Whether it lists names, as `__all__` does."""
    if not isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Set):
        return False
    parts = [*node.keys, *node.values] if isinstance(node, ast.Dict) else node.elts
    return all(isinstance(part, ast.Constant) for part in parts)


def written_twice(texts: Mapping[str, str], window: int) -> dict[tuple[str, str], str]:
    """Pairs of modules (or a module and itself) that share so many lines, each with the first of these."""
    first: dict[tuple[str, ...], tuple[str, int]] = {}
    found: dict[tuple[str, str], str] = {}
    for module, text in texts.items():
        lines = lines_that_count(text)
        for k in range(len(lines) - window + 1):
            run = tuple(lines[k : k + window])
            other, place = first.setdefault(run, (module, k))
            if other != module or k >= place + window:
                found.setdefault((other, module), run[0])
    return found


def defined_twice(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Public classes and functions that stand in several modules, with these."""
    found: dict[str, list[str]] = {}
    for module, text in texts.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1}
