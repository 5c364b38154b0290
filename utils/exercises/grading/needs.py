"""Find the statements of a student's notebook that an answer may rest on, and little more.

A notebook as a whole trains networks and draws figures. To try one answer it is enough to run the
statements that make it: those that set a name it uses, those that may change in place what such a
name stands for, what these need in turn, and so on. They are found from the names in each
statement (`utils.exercises.grading.cells`), rather too many than too few;
`utils.exercises.grading.run` runs them.
"""

import ast
from collections.abc import Iterator, Sequence

from utils.exercises.grading.cells import CHECK, CHECKS, Statement, imported_checks

# These may set or read any name.
ANY_NAME = frozenset(("globals", "locals", "vars", "exec", "eval", "get_ipython", "__builtins__"))


def check_statements(name: str, statements: Sequence[Statement]) -> list[int]:
    """Return the places of the statements that may check an exercise.

    That is wherever ``check.<name>`` stands, or what was imported or made from it: under another
    name, in a function, in a list. Where `check` itself is handed on it may be any exercise.
    """
    modules, carriers, found = {CHECK}, set(), []
    for place, one in enumerate(statements):
        hit = bool(one.uses & carriers)
        own_import = isinstance(one.node, ast.Import | ast.ImportFrom)
        for node in ast.walk(one.node):
            if isinstance(node, ast.Import | ast.ImportFrom):
                there, here = imported_checks(node), _imported_exercise(node, name)
                modules |= there
                carriers = (carriers - one.sets if own_import else carriers) | here
                hit = hit or (not own_import and bool(there | here))
        if one.uses & modules:
            for root, path in _chains(one.node):
                handed_on = not path or path[0] in ("ALL", "__dict__")
                named = name in path or (handed_on and _may_name(one.node, name))
                hit = hit or (root in modules and named)
        if own_import:
            continue
        if not hit:
            carriers -= one.sets if one.rebinds else set()
            continue
        if isinstance(one.node, ast.Assign) and isinstance(one.node.value, ast.Name):
            (modules if one.uses & modules else carriers).update(one.sets)
            continue
        found.append(place)
        if isinstance(one.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign):
            carriers |= one.sets
    return found


def needed(checks: Sequence[int], statements: Sequence[Statement], ordered: bool = True) -> list:
    """Return the places of the statements that some of them may rest on, these included.

    Parameters
    ----------
    checks : sequence of int
        Places of those that check an answer.
    statements : sequence of Statement
    ordered : bool
        Whether they are run in the order in which they stand: then what is set anew is not needed
        before. Otherwise all that sets or changes a name is needed.
    """
    effects, same = _effects(statements), _same_package(statements)
    values = {name for one in statements if one.role == "value" for name in one.sets}
    always: set[str] = set()  # needed wherever it is set
    for place in checks:
        always |= statements[place].late if ordered else statements[place].uses
    sharing: set[int] = set()  # statements that give another name to what is needed
    chosen: set[int] = set()
    while True:
        before = len(always), len(sharing), len(chosen)
        others = _other_names(statements, sharing, ordered)
        live: set[str] = set()
        for place in reversed(range(len(statements))):
            one = statements[place]
            wanted = live | always
            touches = not one.reads and bool(one.uses & ((wanted & values) | others[place]))
            sets = one.sets | one.later
            sets = sets.union(*(effects.get(name, ()) for name in one.uses))
            sets = sets.union(*(same.get(name, {name}) for name in one.changes))
            if touches:
                sharing.add(place)
            if (
                touches
                or place in checks
                or place in chosen
                or sets & (wanted | {"*"})
                or one.uses & ANY_NAME
            ):
                chosen.add(place)
                live = (live - one.sets if one.rebinds and ordered else live) | one.uses
                always |= one.late if ordered else one.uses
        if before == (len(always), len(sharing), len(chosen)):
            return sorted(chosen)


def _other_names(
    statements: Sequence[Statement], sharing: set[int], ordered: bool
) -> list[set[str]]:
    """Return for each statement the names that may stand for a part of what is needed."""
    found, now = [], set()
    if not ordered:
        now = {name for place in sharing for name in _shared(statements[place])}
    for place, one in enumerate(statements):
        found.append(now)
        if ordered:
            now = now - one.sets if one.rebinds else now
            now = now | _shared(one) if place in sharing else now
    return found


def _same_package(statements: Sequence[Statement]) -> dict[str, set[str]]:
    """Return for each imported name all that are imported from the same package."""
    names: dict[str, set[str]] = {}
    of_package: dict[str, set[str]] = {}
    for one in statements:
        if not isinstance(one.node, ast.Import | ast.ImportFrom):
            continue
        alias = one.node.names[0]
        path = (getattr(one.node, "module", None) or alias.name).split(".")
        if path == ["utils"]:  # its modules have nothing in common
            path.append(alias.name)
        package = ".".join(path[:2] if path[0] == "utils" else path[:1])
        of_package.setdefault(package, set()).update(one.sets)
        for name in one.sets:
            names[name] = names.get(name, set()) | {name}
    for together in of_package.values():
        for name in together:
            names[name] |= together
    return names


def _shared(one: Statement) -> set[str]:
    """Return the names that a statement sets, without those that count through a loop."""
    loops = (each for each in ast.walk(one.node) if isinstance(each, ast.For | ast.AsyncFor))
    counting = {
        each.id for loop in loops for each in ast.walk(loop.target) if isinstance(each, ast.Name)
    }
    return set(one.sets) - counting - {"*"}


def _may_name(node: ast.AST, name: str) -> bool:
    """Return whether a statement with texts in it may mean an exercise by one of them."""
    texts = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
    words = {text for text in texts if isinstance(text, str) and text.isidentifier()}
    return not words or name in words


def _imported_exercise(node: ast.Import | ast.ImportFrom, name: str) -> set[str]:
    if not isinstance(node, ast.ImportFrom) or node.module != CHECKS:
        return set()
    names = {alias.asname or alias.name for alias in node.names if alias.name in (name, "*")}
    return {name if one == "*" else one for one in names}


def _chains(node: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Yield name and attributes of each ``name.one.two``, the longest that there is."""
    inner = set()
    for each in ast.walk(node):  # from the outside in
        if not isinstance(each, ast.Attribute | ast.Name) or id(each) in inner:
            continue
        path = []
        while isinstance(each, ast.Attribute):
            path.insert(0, each.attr)
            each = each.value
            inner.add(id(each))
        if isinstance(each, ast.Name):
            yield each.id, path


def _effects(statements: Sequence[Statement]) -> dict[str, set[str]]:
    """Return for each function the names that it, or one that it calls, sets when called."""
    made = [one for one in statements if one.role == "function" or one.later]
    effects = {name: set(one.later) for one in made for name in one.sets}
    while True:
        before = sum(map(len, effects.values()))
        for one in made:
            found = set().union(*(effects.get(name, ()) for name in one.uses))
            for name in one.sets:
                effects[name] |= found | one.later
        if before == sum(map(len, effects.values())):
            return effects
