"""Build the website: ``make site``. Runs in .venv-site, which has Sphinx and no TensorFlow."""

import shutil
import sys
from pathlib import Path

from course_site.stage import add_demo, stage
from sphinx.cmd.build import main as sphinx_build
from sphinx.ext.napoleon import Config, NumpyDocstring

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORKING = ROOT / "runs" / "site"
SITE = ROOT / "site"


def converted(docstring: str) -> str:
    """Return a NumPy docstring as reStructuredText."""
    return str(NumpyDocstring(docstring, Config(napoleon_use_rtype=False)))


def main() -> int:
    """Build the site into ``site/``; return 1, and leave the old one, if Sphinx warns."""
    pages, built = WORKING / "pages", WORKING / "html"
    shutil.rmtree(WORKING, ignore_errors=True)
    stage(ROOT, pages, converted)
    options = ["-q", "-W", "--keep-going", "-E", "-j", "auto", "-b", "html", "-c", str(HERE)]
    status = sphinx_build([*options, "-d", str(WORKING / "read"), str(pages), str(built)])
    if status == 0:
        if not add_demo(ROOT, built):
            print("The demo is not built: site/demo says so. To have it: make demo site")
        shutil.rmtree(SITE, ignore_errors=True)
        shutil.move(built, SITE)
        print("Made site/: open site/index.html in a browser.")
    return status


if __name__ == "__main__":
    sys.exit(main())
