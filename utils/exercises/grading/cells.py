"""Read the code of a student's notebook: its statements, with what each sets, uses and changes.

Commands of IPython (``%time``, ``!ls``) become the Python that they run, or nothing.
"""

import __future__

import ast
import dis
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType

CHECK = "check"
CHECKS = "utils.check"
# Commands of IPython that run Python code in the notebook's own names.
_RUNNING = frozenset(("time", "prun", "capture"))
# What the statements of `%pylab` are (IPython.core.pylabtools).
_PYLAB = (
    "import numpy\nimport matplotlib\nfrom matplotlib import pylab, mlab, pyplot\n"
    "np = numpy\nplt = pyplot\nfrom pylab import *\nfrom numpy import *"
)
_PROMPT = re.compile(r"\s*(In \[\d*\]|>>>)")
_PLAIN_MAGIC = re.compile(r"(time|timeit|prun)\s+[^\s=(.,\[]")
# Built-in functions that neither change what they are given nor return a part of it.
_READING = frozenset(("abs", "bool", "display", "divmod", "float", "format", "id", "int"))
_READING |= {"isinstance", "issubclass", "len", "print", "repr", "round", "str", "type"}
_FIGURES = ("matplotlib", "seaborn", "IPython.display")
# Methods by which a module is changed: `np.random.seed(1)`, `sys.path.insert(0, "..")`.
_SETTING = re.compile(r"seed|set_|setup|enable|disable|option|register|insert|append|update|clear")
_AT_ONCE = ("<listcomp>", "<setcomp>", "<dictcomp>")
# The last: since Python 3.12, in the type parameters of what a class body defines.
_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS")
_REFUSED = (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError)


@dataclass(frozen=True)
class Statement:
    """A statement of the top level.

    Attributes
    ----------
    node : ast.stmt
    cell : int
        Number of its code cell, from 1.
    sets, uses : frozenset of str
        Names of the notebook that it sets or deletes (``*`` for all), and that it uses, in the
        bodies of its functions too.
    late : frozenset of str
        Those of the names it uses that stand in functions: they are looked up when these are
        called.
    later : frozenset of str
        Names that its functions set when they are called.
    changes : frozenset of str
        Names whose attributes or items it sets or deletes, or whose methods it calls for nothing
        but their effect.
    reads : bool
        Whether it changes nothing that it uses, and what it sets holds no part of that.
    role : str
        What the names that it sets stand for: ``module``, ``function``, ``constant`` or ``value``.
    """

    node: ast.stmt
    cell: int
    sets: frozenset[str]
    uses: frozenset[str]
    late: frozenset[str]
    later: frozenset[str]
    changes: frozenset[str]
    reads: bool
    role: str

    @property
    def rebinds(self) -> bool:
        """Whether what its names stood for before is of no more use."""
        kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        if isinstance(self.node, ast.Assign):
            targets = [each for one in self.node.targets for each in _parts(one)]
            return all(isinstance(target, ast.Name) for target in targets)
        return isinstance(self.node, kinds)


@dataclass
class Reading:
    """All statements of a notebook in order.

    Attributes
    ----------
    statements : list of Statement
    faults : list of str
        Which cells were left out, from which line on, and why.
    sources : dict
        Number of a code cell -> its text, as Python reads it.
    flags : int
        Of the compiler: what the notebook imports from ``__future__``.
    quiet : set of str
        Names of checks and of what draws figures: neither changes what it is given.
    """

    statements: list[Statement] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    sources: dict[int, str] = field(default_factory=dict)
    flags: int = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    quiet: set[str] = field(default_factory=lambda: {CHECK})


def read(cells: Iterable[str]) -> Reading:
    """Return the statements of code cells.

    A cell that is no Python is left out and told. Of a cell with a statement that Python refuses
    only when it compiles (a ``return`` outside a function) the statements before it are kept, as
    in a notebook.
    """
    reading = Reading()
    for number, source in enumerate(cells, start=1):
        try:
            tree, reading.sources[number] = parsed(source)
            for node in _plain(tree):
                reading.flags |= _future(node)
                if isinstance(node, ast.Import | ast.ImportFrom):
                    reading.quiet |= _imported(node, _FIGURES) | imported_checks(node)
                reading.statements.append(_statement(node, number, reading))
        except _REFUSED as error:
            line = getattr(error, "lineno", None)
            place = f", line {line}" if line else ""
            why = getattr(error, "msg", None) or str(error) or type(error).__name__
            reading.faults.append(f"code cell {number} is left out: {why}{place}")
    return reading


def parsed(source: str) -> tuple[ast.Module, str]:
    """Return a cell's statements, and its text as plain Python.

    Raises
    ------
    SyntaxError, ValueError, OverflowError, MemoryError, RecursionError
        As Python's parser does.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    if not _PROMPT.match(source):
        try:
            return ast.parse(source), source
        except _REFUSED as error:
            refused = error
    # Only now, because it takes a while to load.

    if len(source.splitlines()) == 1 and _PLAIN_MAGIC.match(source):
        source = "%" + source  # a notebook takes a known command without its sign
    try:
        plain = TransformerManager().transform_cell(source)
        return ast.parse(plain), plain
    except SyntaxError:
        raise
    except _REFUSED as error:
        raise refused from error


class _Plain(ast.NodeTransformer):
    """Puts Python in the place of commands of IPython: their code, or nothing."""

    def visit_Expr(self, node):
        command = _command(node.value)
        if command is None:
            return self.generic_visit(node)
        name, code = command
        if name == "writefile":
            return node
        if name in _RUNNING or name == "pylab":
            tree, _ = parsed(_PYLAB if name == "pylab" else code)
            return self.visit(tree).body or ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Pass(), node)

    def visit_Call(self, node):
        command = _command(node)
        if command is None or command[0] not in _RUNNING:
            return self.generic_visit(node)
        return self.visit(ast.parse(command[1].strip(), mode="eval").body)


def _command(node: ast.expr) -> tuple[str, str] | None:
    """Return name and code of a command of IPython, as `parsed` writes it: ``!`` for a shell's."""
    if not (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Call)
        and isinstance(node.func.value.func, ast.Name)
        and node.func.value.func.id == "get_ipython"
        and all(isinstance(each, ast.Constant) for each in node.args)
    ):
        return None
    words = [str(each.value) for each in node.args]
    if node.func.attr in ("system", "getoutput") and words:
        return "!", words[0]
    if node.func.attr in ("run_line_magic", "run_cell_magic") and len(words) >= 2:
        return words[0], words[-1]
    return None


def _plain(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield statements without IPython's commands, imports of several names one by one."""
    for node in ast.fix_missing_locations(_Plain().visit(tree)).body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            yield node
            continue
        for alias in node.names:
            if isinstance(node, ast.Import):
                one = ast.Import([alias])
            else:
                one = ast.ImportFrom(node.module, [alias], node.level)
            yield ast.copy_location(one, node)


def _future(node: ast.stmt) -> int:
    if not isinstance(node, ast.ImportFrom) or node.module != "__future__":
        return 0
    feature = getattr(__future__, node.names[0].name, None)
    return getattr(feature, "compiler_flag", 0)


def _imported(node: ast.Import | ast.ImportFrom, packages: Sequence[str]) -> set[str]:
    """Return the names that an import sets, if it is of one of these packages."""
    names = set()
    for alias in node.names:
        source = getattr(node, "module", None) or alias.name
        if any(f"{source}.".startswith(f"{package}.") for package in packages):
            names.add(alias.asname or alias.name.split(".")[0])
    return names


def imported_checks(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the names that an import sets to `utils.check`, or to the package that holds it."""
    package, _, module = CHECKS.partition(".")
    if isinstance(node, ast.ImportFrom):
        found = [alias for alias in node.names if (node.module, alias.name) == (package, module)]
        return {alias.asname or alias.name for alias in found}
    found = [alias for alias in node.names if alias.name in (package, CHECKS)]
    return {alias.asname or package for alias in found}


def _statement(node: ast.stmt, cell: int, reading: Reading) -> Statement:
    module = ast.fix_missing_locations(ast.Module([node], []))
    names = _names(compile(module, "<answer>", "exec", reading.flags, dont_inherit=True))
    sets, uses, late, later = (frozenset(each) for each in names)
    texts = _run_as_text(node, reading.flags)
    for code in texts:
        more = _names(code)
        sets, uses = sets | more[0] | more[3], uses | more[1]
    uses -= {"exec", "eval"} if texts else set()  # what they run is known
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        sets = frozenset("*")
    if isinstance(node, ast.Expr) and _command(node.value):
        sets = frozenset("*")  # a file that may be imported
    if isinstance(node, ast.For | ast.AsyncFor):  # what counts is set before it is used
        around = {each.id for each in ast.walk(node.iter) if isinstance(each, ast.Name)}
        counting = {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
        uses -= counting - around - late
    changes = frozenset(_changed(node, reading.quiet))
    return Statement(
        node, cell, sets, uses, late, later, changes, _reads(node, reading.quiet), _role(node)
    )


def _run_as_text(node: ast.stmt, flags: int) -> list[CodeType]:
    """Return the code of texts that ``exec`` and ``eval`` run, if all of it can be told."""
    found = []
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and _root(call.func) in ("exec", "eval"):
            if len(call.args) != 1 or not isinstance(call.args[0], ast.Constant):
                return []
            try:
                text = str(call.args[0].value)
                found.append(compile(text, "<text>", "exec", flags, dont_inherit=True))
            except _REFUSED:
                return []
    return found


def _names(code: CodeType) -> tuple[set[str], set[str], set[str], set[str]]:
    """Return the global names that code sets, uses, uses in functions, and sets in functions."""
    sets, uses, late, later = set(), set(), set(), set()
    for step in dis.get_instructions(code):
        if step.opname in ("STORE_NAME", "STORE_GLOBAL", "DELETE_NAME", "DELETE_GLOBAL"):
            sets.add(step.argval)
        elif step.opname in _LOADS:
            uses.add(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _names(constant)
            # What is set in a class body or, without `global`, in a function stays in there.
            later |= inner[3] | {
                step.argval
                for step in dis.get_instructions(constant)
                if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
            }
            uses |= inner[1]
            late |= inner[2] if constant.co_name in _AT_ONCE else inner[1]
    return sets, uses, late, later


def _parts(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from _parts(each)
    else:
        yield target.value if isinstance(target, ast.Starred) else target


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _changed(node: ast.stmt, quiet: set[str]) -> Iterator[str]:
    """Yield the names of what is changed: ``a["x"] = …``, ``a.b = …``, ``a.append(…)``."""
    for each in ast.walk(node):
        root = None
        if isinstance(each, ast.Subscript | ast.Attribute):
            root = None if isinstance(each.ctx, ast.Load) else _root(each)
        elif isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            root = _root(each.func) if _SETTING.search(each.func.attr) else None
        elif isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.args:
            root = _root(each.args[0]) if each.func.id in ("setattr", "delattr") else None
        if root is not None and root not in quiet:
            yield root


def _reads(node: ast.stmt, quiet: set[str]) -> bool:
    """Return whether a statement changes nothing in place, and keeps no part of what it uses."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        new = isinstance(node.value, ast.Constant | ast.Compare | ast.JoinedStr) or (
            isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
        )
        if not new or not all(isinstance(target, ast.Name) for target in targets):
            return False
    elif not isinstance(node, ast.Expr | ast.Assert | ast.Pass):
        return False
    for each in ast.walk(node):
        if isinstance(each, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            return False
        if isinstance(each, ast.Call):
            root = _root(each.func)
            plain = isinstance(each.func, ast.Name) and root in _READING
            if not plain and root not in quiet:
                return False
    return True


def _role(node: ast.stmt) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "module"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        kept = [*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]
        return "function" if all(_is_constant(each) for each in kept) else "value"
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return "constant" if _is_constant(node.value) else "value"
    return "value"


def _is_constant(node: ast.expr) -> bool:
    """Return whether an expression is a number, a text, or a tuple of such: nothing to change."""
    if isinstance(node, ast.Tuple):
        return all(_is_constant(each) for each in node.elts)
    if isinstance(node, ast.BinOp):
        return _is_constant(node.left) and _is_constant(node.right)
    if isinstance(node, ast.UnaryOp):
        return _is_constant(node.operand)
    return isinstance(node, ast.Constant)
