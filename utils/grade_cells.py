"""Find in a student's notebook the code that an answer needs, and nothing more.

A notebook as a whole trains networks and draws figures. To try one answer it is enough to run the
statements that define it, what these need in turn, and so on: `needed` finds them from the names
that each statement sets and uses.
"""

import ast
import dis
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType

CHECK = "check"
_CELL_MAGICS_OVER_PYTHON = ("%%time", "%%timeit", "%%capture")


@dataclass(frozen=True)
class Statement:
    """A statement of the top level, with the names that it sets and those that it uses."""

    node: ast.stmt
    sets: frozenset[str]
    uses: frozenset[str]


@dataclass
class Reading:
    """All statements of a notebook in order, and what could not be read."""

    statements: list[Statement] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read(cells: Iterable[str]) -> Reading:
    """Return the statements of code cells; a cell that is no Python is left out and told."""
    reading = Reading()
    for source in cells:
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError):
            try:
                body = ast.parse(without_magics(source)).body
            except (SyntaxError, ValueError) as error:
                line = getattr(error, "lineno", None)
                place = f", line {line}" if line else ""
                reading.faults.append(
                    f"a cell cannot be read: {getattr(error, 'msg', error)}{place}"
                )
                continue
        reading.statements += [_statement(node) for one in body for node in _single(one)]
    return reading


def without_magics(source: str) -> str:
    """Return a cell's text without IPython's commands (``%time``, ``!ls``, ``name?``)."""
    lines = source.splitlines()
    if lines and lines[0].startswith("%%"):
        if not lines[0].startswith(_CELL_MAGICS_OVER_PYTHON):
            return ""
        lines = lines[1:]
    kept = []
    for line in lines:
        words = line.lstrip()
        command = words.startswith(("%", "!", "?")) or words.rstrip().endswith("?")
        kept.append(line[: len(line) - len(words)] + "pass" if command else line)
    return "\n".join(kept)


def answer_to(name: str, statements: Sequence[Statement]) -> tuple[int, ast.expr] | None:
    """Return where an exercise is checked last, and what ``check.<name>(…)`` is called with."""
    for place in reversed(range(len(statements))):
        for node in ast.walk(statements[place].node):
            if isinstance(node, ast.Call) and _is_check(node.func, name) and len(node.args) == 1:
                return place, node.args[0]
    return None


def needed(answer: ast.expr, statements: Sequence[Statement]) -> list[ast.stmt]:
    """Return the statements, in order, that the answer rests on."""
    names = set(_names(_compiled(ast.Expr(answer)))[1])
    chosen: set[int] = set()
    while True:
        more = {
            place
            for place, one in enumerate(statements)
            if place not in chosen and one.sets & (names | {"*"})
        }
        if not more:
            return [statements[place].node for place in sorted(chosen)]
        chosen |= more
        names.update(*(statements[place].uses for place in more))


def _is_check(function: ast.expr, name: str) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr == name
        and isinstance(function.value, ast.Name)
        and function.value.id == CHECK
    )


def _single(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield an import of several names one by one, so that each can be left out."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        yield node
        return
    for alias in node.names:
        if isinstance(node, ast.Import):
            one = ast.Import([alias])
        else:
            one = ast.ImportFrom(node.module, [alias], node.level)
        yield ast.copy_location(one, node)


def _statement(node: ast.stmt) -> Statement:
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        return Statement(node, frozenset("*"), frozenset())
    sets, uses = _names(_compiled(node))
    return Statement(node, frozenset(sets) | frozenset(_changed(node)), frozenset(uses))


def _compiled(node: ast.stmt) -> CodeType:
    module = ast.fix_missing_locations(ast.Module([node], []))
    return compile(module, "<answer>", "exec", dont_inherit=True)


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the global names that some code sets and uses, functions inside it included."""
    sets, uses = set(), set()
    for step in dis.get_instructions(code):
        if step.opname in ("STORE_NAME", "STORE_GLOBAL", "DELETE_NAME", "DELETE_GLOBAL"):
            sets.add(step.argval)
        elif step.opname in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_CLASSDEREF"):
            uses.add(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            # What is set in a class body or, without `global`, in a function stays in there.
            uses |= _names(constant)[1]
    return sets, uses


def _changed(node: ast.stmt) -> Iterator[str]:
    """Yield the names of what a statement changes in place: ``table["x"] = …``, ``a.b = …``."""
    for target in ast.walk(node):
        if isinstance(target, ast.Subscript | ast.Attribute) and isinstance(target.ctx, ast.Store):
            base = target.value
            while isinstance(base, ast.Subscript | ast.Attribute):
                base = base.value
            if isinstance(base, ast.Name):
                yield base.id
