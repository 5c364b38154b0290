"""Which folder of `utils` may import which, and the picture of that in CONTRIBUTING.md."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from utils.config import ROOT

# What every folder and command may use.
EVERYWHERE = {"config", "files", "tables"}
# Folder or module of `utils` -> what else it may import of them.
MAY_IMPORT = {
    "config": set(),
    "files": set(),
    "tables": set(),
    "runtime": set(),
    "cluster": {"runtime"},
    "simulation": {"runtime"},
    "evaluation": set(),
    "exercises": set(),
    "cohort": set(),
    "patient": {"cohort"},
    "plots": {"evaluation"},
    "models": {"cohort", "evaluation", "runtime"},
    "rendering": {"evaluation"},
    "course": {
        "models",
        "patient",
        "cohort",
        "evaluation",
        "simulation",
        "runtime",
        "rendering",
    },
    "evidence": {
        "cluster",
        "course",
        "models",
        "cohort",
        "evaluation",
        "runtime",
        "rendering",
    },
    "sweep": {"cluster", "course", "models", "runtime"},
    "notebooks": {"course", "evaluation", "plots", "runtime", "rendering"},
    "parallel": {"course", "models", "runtime"},
    # Commands, and the one name that notebooks use for all exercises.
    "check": {"exercises"},
    "grade": {"check", "exercises"},
    "predict": {"models"},
    "export": {"models"},
    "download": {"cohort"},
    "simulate": {"simulation"},
    "weights": {"models"},
    "run": {"notebooks", "course"},
    "published": {"evidence"},
}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Return every module of `utils`, by its dotted name, but for `utils` itself."""
    found = {}
    for path in sorted((root / "utils").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    del found["utils"]
    return found


def imported(name: str, there: dict[str, Path]) -> set[str]:
    """Return the modules of `utils` that a module imports, at its top or within a function."""
    found = set()
    for node in ast.walk(ast.parse(there[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import hides where it leads"
            inside = {f"{node.module}.{each.name}" for each in node.names}
            # A name that is no module is defined in the module that it is imported from.
            found |= inside & there.keys() or {node.module}
    return found & there.keys()


def room(name: str) -> str:
    return name.split(".")[1]


def forbidden(root: Path = ROOT) -> list[str]:
    """Return the imports between folders that are not allowed, a line each."""
    there = modules(root)
    return [
        f"{name} imports {other}"
        for name in there
        for other in sorted(imported(name, there))
        if room(other) != room(name)
        and room(other) not in MAY_IMPORT[room(name)] | (EVERYWHERE - {room(name)})
    ]


def arrows() -> str:
    """Return the picture of MAY_IMPORT: a line for each arrow, what leads to nothing by itself."""
    lines = ["graph LR"]
    for name, others in MAY_IMPORT.items():
        lines += [f"    {name} --> {other}" for other in sorted(others)]
        lines += [] if others or name in EVERYWHERE else [f"    {name}"]
    return "\n".join(lines)


def test_no_folder_imports_what_it_may_not():
    assert forbidden() == []


def test_every_folder_and_command_is_told_what_it_may_import():
    assert {room(name) for name in modules()} == MAY_IMPORT.keys()


def test_there_is_no_way_round_in_what_is_allowed():
    seen = set(EVERYWHERE)
    while left := MAY_IMPORT.keys() - seen:
        free = {name for name in left if MAY_IMPORT[name] <= seen}
        assert free, f"a circle among {sorted(left)}"
        seen |= free


def test_no_module_imports_itself_through_others():
    there = modules()
    arrows = {name: imported(name, there) for name in there}
    while free := {name for name, others in arrows.items() if not others & arrows.keys()}:
        for name in free:
            del arrows[name]
    assert not arrows, f"a circle among {sorted(arrows)}"


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("models/losses.py", "from utils.course.run import Run\n"),
        ("cohort/layout.py", "from utils.models import losses\n"),
        ("config.py", "def late():\n    import utils.cohort.tiff\n"),
        ("exercises/inputs.py", "from utils import check\n"),
    ],
)
def test_an_import_turned_round_is_found(module, line, tmp_path):
    shutil.copytree(ROOT / "utils", tmp_path / "utils", ignore=shutil.ignore_patterns("*.pyc"))
    path = tmp_path / "utils" / module
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")
    (found,) = forbidden(tmp_path)
    assert found.startswith("utils." + module.removesuffix(".py").replace("/", "."))


# What notebooks 1, 5 and 6, the commands and the marking start with: TensorFlow takes seconds and
# 300 MB, so it is loaded only by what needs a network.
WITHOUT_TENSORFLOW = (
    "check",
    "grade",
    "predict",
    "run",
    "cluster.schedule",
    "course.features",
    "course.leak_lab",
    "course.workers",
    "evidence.comparisons",
    "evidence.training.tasks",
    "exercises.bugs",
    "exercises.grading.child",
    "notebooks.run",
    "plots.labs",
    "sweep.training",
)


def test_what_needs_no_network_loads_no_tensorflow():
    script = "".join(f"import utils.{name}\n" for name in WITHOUT_TENSORFLOW)
    script += "import sys\nprint({'keras', 'tensorflow'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_no_listing_holds_more_than_thirteen_modules():
    folders = {path.parent for path in modules().values()} | {ROOT / "utils"}
    counts = {str(folder.relative_to(ROOT)): len([*folder.glob("[!_]*.py")]) for folder in folders}
    assert {name: count for name, count in counts.items() if count > 13} == {}


def test_the_picture_in_contributing_shows_what_is_allowed():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (picture,) = (part.split("```")[0] for part in text.split("```mermaid\n")[1:])
    assert picture.strip() == arrows()


if __name__ == "__main__":
    sys.stdout.write(arrows() + "\n")
