"""Shapes and dtypes that signatures declare by jaxtyping are checked by beartype while tests run.

`check_signatures` makes imports of a package compile each function whose annotations name a jaxtyping type
as if it stood below the decorator `checked`. Other annotations are left to pyright: many name what is
imported for type checkers only.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

JAXTYPING = re.compile(
    r"\b(Bool|Complex|Complex128|Float|Float32|Float64|Inexact|Int|Int64|Num|Real|Shaped|UInt8)\["
)
DECORATOR = "checked_by_tests"


def checked(function: F) -> F:
    """The function, whose arguments and result must have the declared dtypes and shapes, in which equal names
    stand for equal sizes; not while torch.compile or torch.export traces it.

    An argument of another shape may also be refused by the function itself, with an error of its own.
    """
    import torch
    from beartype import beartype
    from jaxtyping import TypeCheckError, jaxtyped

    own = dict(function.__annotations__)
    function.__annotations__ = {name: hint for name, hint in own.items() if JAXTYPING.search(str(hint))}
    strict = jaxtyped(typechecker=beartype)(function)
    function.__annotations__ = own

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        try:
            return strict(*args, **kwargs)
        except TypeCheckError:
            function(*args, **kwargs)
            raise

    return wrapper  # type: ignore[return-value]


def check_signatures(package: str) -> None:
    """From now on the package's modules are imported with their signatures checked.

    Raises RuntimeError if some of them are imported already.
    """
    early = [name for name in sys.modules if name.startswith(f"{package}.")]
    if early:
        raise RuntimeError(f"{early[0]} was imported before its signatures could be checked")
    sys.meta_path.insert(0, _Finder(package))


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(f"{self.package}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        # neither read from nor written to the compiled files of the package as it is
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:
        tree = ast.parse(data, path)
        decorated = False
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and _declares_shapes(node):
                # the innermost decorator: properties and custom operators are made of the checked function
                node.decorator_list.append(ast.Name(DECORATOR, ast.Load()))
                decorated = True
        if decorated:
            line = ast.parse(f"from tests.signatures import checked as {DECORATOR}").body
            first = next(k for k, node in enumerate(tree.body) if not _goes_first(node))
            tree.body[first:first] = line
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True, optimize=_optimize)


def _declares_shapes(node: ast.FunctionDef) -> bool:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    hints = [argument.annotation for argument in every] + [node.returns]
    return any(hint is not None and JAXTYPING.search(ast.unparse(hint)) for hint in hints)


def _goes_first(node: ast.stmt) -> bool:
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
