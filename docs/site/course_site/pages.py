"""Which files of the repository are pages of the site, and what they are called there."""

import posixpath
from pathlib import Path

HERE = "docs/site"
# Path in the repository -> name of the page. Where a page links to another of these files, the link
# is turned to the other page.
DOCUMENTS = {
    f"{HERE}/index.md": "index",
    "docs/instructors.md": "instructors",
    "docs/glossary.md": "glossary",
    "docs/cluster.md": "cluster",
    "docs/parallel-training.md": "parallel",
    "results/lgg/model_card.md": "model_card",
    "data/README.md": "data",
    "CONTRIBUTING.md": "contributing",
}
# What says on the site what the README says in the repository.
INSTEAD = {"README.md": "index"}
API = "api"


def pages(root: Path) -> dict[str, str]:
    """Return path in the repository -> name of the page: documents, and the students' notebooks.

    Parameters
    ----------
    root : Path
        The folder of the repository.
    """
    notebooks = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return DOCUMENTS | {f"notebooks/{path.name}": f"notebooks/{path.stem}" for path in notebooks}


def relative(target: str, page: str) -> str:
    """Return where `target`, a path in the site, lies as seen from a page.

    Examples
    --------
    >>> from course_site.pages import relative
    >>> relative("glossary.md", "notebooks/01_explore")
    '../glossary.md'
    """
    return posixpath.relpath(target, posixpath.dirname(page) or ".")
