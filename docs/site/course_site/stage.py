"""Everything that Sphinx reads, laid out as the site is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from course_site import api
from course_site.links import pictures
from course_site.pages import API, pages


def stage(root: Path, target: Path, converted: Callable[[str], str]) -> None:
    """Copy the pages with their pictures, and write the API page.

    Parameters
    ----------
    root : Path
        The folder of the repository.
    target : Path
        A folder; what was in it is deleted.
    converted : callable
        Takes a NumPy docstring and returns it as reStructuredText.
    """
    shutil.rmtree(target, ignore_errors=True)
    for source, page in pages(root).items():
        path = root / source
        _copy(path, target / (page + path.suffix))
        if path.suffix == ".md":
            for picture in pictures(path.read_text(encoding="utf-8"), source):
                _copy(root / picture, target / picture)
    (target / f"{API}.rst").write_text(api.page(root, converted), encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def add_demo(root: Path, site: Path, sources: Path) -> bool:
    """Put the demo that `make demo` built into a site, else a page that says how.

    Parameters
    ----------
    root, site, sources : Path
        The folder of the repository, that of the site, and that of the site's sources.

    Returns
    -------
    bool
        Whether it was built.
    """
    built, target = root / "runs" / "demo", site / "demo"
    shutil.rmtree(target, ignore_errors=True)
    if _is_whole(built):
        shutil.copytree(built, target)
        return True
    _copy(sources / "no_demo.html", target / "index.html")
    return False


def _is_whole(demo: Path) -> bool:
    """Return whether the demo was built to its end: what it has in bytes is written last."""
    try:
        return bool(json.loads((demo / "sizes.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def may_be_replaced(folder: Path) -> bool:
    """Return whether nothing but a site that Sphinx built is lost with a folder."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or (folder / "objects.inv").is_file()
