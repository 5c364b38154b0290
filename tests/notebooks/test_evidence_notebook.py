"""Notebook 05 needs the shipped tables and nothing else: no cohort, no run. Only the section that
builds the networks needs TensorFlow, and what follows does without that section.
"""

import ast

from heavy_imports import imports, loaded

from utils.notebooks.build import SOURCE, read_source

CELLS = read_source(SOURCE / "05_evidence.py").cells
FIRST, AFTER = (
    next(place for place, cell in enumerate(CELLS) if cell.source.startswith(heading))
    for heading in ("## The recipe behind the numbers", "## The tables, and why")
)


def code(cells):
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")


def of_imports(tree):
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


SECTION, OTHERS = code(CELLS[FIRST:AFTER]), code(CELLS[:FIRST] + CELLS[AFTER:])


def test_what_is_imported_outside_that_section_loads_nothing_heavy():
    assert "from utils.evidence.tables import" in OTHERS
    assert loaded(imports(OTHERS)) == set()
    assert {"keras", "tensorflow"} <= loaded(imports(SECTION))


def test_nothing_after_the_section_needs_what_it_defines():
    tree = ast.parse(SECTION)
    defined = {name.asname or name.name for node in of_imports(tree) for name in node.names}
    defined |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    defined |= names(tree, ast.Store)
    tree = ast.parse(OTHERS)
    own = {(name.asname or name.name).split(".")[0] for node in ast.walk(tree)
           if isinstance(node, ast.Import | ast.ImportFrom) for name in node.names}  # fmt: skip
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert not (defined - own - names(tree, ast.Store)) & names(tree, ast.Load)


def names(tree, kind):
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)}


def test_it_opens_no_run_and_reads_no_picture():
    tree = ast.parse(SECTION + "\n" + OTHERS)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {"open_run", "read_slice", "read_mask", "read_cohort", "load_volumes"}
