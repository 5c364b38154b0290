"""Build the website: ``python build.py [FOLDER]``, by default into ``site/``; see ``make site``.

Runs in .venv-site, which has Sphinx and no TensorFlow.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import main as sphinx_build
from sphinx.ext.napoleon import Config, NumpyDocstring

from course_site.stage import add_demo, may_be_replaced, stage

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def converted(docstring: str) -> str:
    """Return a NumPy docstring as reStructuredText."""
    return str(NumpyDocstring(docstring, Config(napoleon_use_rtype=False)))


def main(site: Path) -> int:
    """Build the site; return 1, and leave what was there, if Sphinx warns of anything.

    Return 2 if what was there is something else.
    """
    if not may_be_replaced(site):
        print(f"error: {site}: holds other things than the site; name another", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        pages, built = Path(folder, "pages"), Path(folder, "html")
        stage(ROOT, pages, converted)
        options = ["-q", "-W", "--keep-going", "-j", "auto", "-b", "html", "-c", str(HERE)]
        status = sphinx_build([*options, "-d", str(Path(folder, "read")), str(pages), str(built)])
        if status == 0:
            if not add_demo(ROOT, built, HERE):
                print("The demo is not built: site/demo says so. To have it: make demo site")
            shutil.rmtree(site, ignore_errors=True)
            shutil.move(built, site)
            print(f"Open {site.name}/index.html in a browser.")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"))
