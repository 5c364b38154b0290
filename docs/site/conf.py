"""Settings of Sphinx for the website, and the hooks that fit the course's pages into it.

``SITE_REPOSITORY=https://github.com/OWNER/REPOSITORY`` says where the course lies; without it there
are no links to files and no buttons that open a notebook in Binder or Colab.
"""

import os
import sys
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from course_site import notebooks  # noqa: E402
from course_site.diagrams import without_diagrams  # noqa: E402
from course_site.links import Site, relink  # noqa: E402
from course_site.pages import pages  # noqa: E402

REPOSITORY = os.environ.get("SITE_REPOSITORY", "").rstrip("/")
BRANCH = "main"
PAGES = pages(HERE.parent.parent)
SOURCES = {page: source for source, page in PAGES.items()}
LINKS = Site(PAGES, f"{REPOSITORY}/blob/{BRANCH}/" if REPOSITORY else "")

project = "Finding brain tumours in MRI"
author = "the course’s contributors"
copyright = "the course’s contributors. Text and figures CC BY 4.0, code MIT"
language = "en-GB"
extensions = [
    "myst_nb",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
default_role = "code"
# Of "smart" typography only the dashes: quotation marks are as they are written.
smartquotes_action = "D"
add_module_names = False

# The stored outputs are shown; nothing is executed.
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
# So that links and formulas in what a cell says become those of the site.
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 4

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# Everything that a page shows comes with it: no request leaves the site.
mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static", "node_modules/mathjax/es5/tex-svg.js"]
templates_path = ["templates"]
html_css_files = ["course.css"]
html_js_files = [("course.js", {"defer": "defer"})]
html_favicon = "static/favicon.svg"
html_show_sphinx = False
html_use_index = False
html_domain_indices = False
html_copy_source = True
html_show_sourcelink = False
html_sidebars = {
    "**": ["site-name.html", "search-button-field.html", "demo-link.html", "sbt-sidebar-nav.html"]
}
html_theme_options = {
    "show_navbar_depth": 1,
    "use_download_button": True,
    "use_fullscreen_button": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "navbar_persistent": [],
    "footer_content_items": ["copyright.html"],
    "toc_title": "On this page",
}
if REPOSITORY:
    html_theme_options |= {
        "repository_url": REPOSITORY,
        "repository_branch": BRANCH,
        "use_repository_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }


def fit(app, page, content):
    """Turn the links of a page that was read, and what only the repository can show."""
    source = SOURCES.get(page)
    if source is None:  # the API page is written for the site
        return

    def change(text):
        return relink(without_diagrams(text), source, LINKS)

    if source.endswith(".ipynb"):
        content[0] = notebooks.with_texts(content[0], change)
    elif page == app.config.root_doc:
        template = app.builder.templates.environment.from_string(content[0])
        content[0] = change(template.render(repository=REPOSITORY, branch=BRANCH))
    else:
        content[0] = change(content[0])


def describe(app, doctree):
    """Give each picture of a notebook the description that is stored with it."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    alts = notebooks.alt_texts(path.read_text(encoding="utf-8"))
    for image in doctree.findall(nodes.image):
        words = notebooks.described(image["uri"], alts)
        if words:
            image["alt"] = words


def setup(app):
    app.connect("source-read", fit)
    app.connect("doctree-read", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
