"""Links that lead somewhere in the repository, turned so that they do on the site."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from course_site.pages import INSTEAD, relative

# Blocks and spans of code stay as they are.
_CODE = (
    r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)\s*$|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
)
_LINK = r"(?P<mark>!?)\[(?P<words>[^\[\]]*)\]\((?P<target>[^()\s]+)\)"
_CODE_OR_LINK = re.compile(f"{_CODE}|{_LINK}", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#|//", re.IGNORECASE)


@dataclass(frozen=True)
class Site:
    """What a link is turned by.

    Attributes
    ----------
    pages : mapping
        Path in the repository -> name of the page, for all pages.
    files : str
        Address below which the repository's files can be read, with a slash at its end; empty
        where it is not known. Then a link to a file that is no page becomes its words.
    """

    pages: Mapping[str, str]
    files: str = ""


def relink(text: str, source: str, site: Site) -> str:
    """Return Markdown whose relative links lead to pages of the site, or to the repository.

    Parameters
    ----------
    text : str
        Markdown.
    source : str
        Path of the file in the repository that it stands in.
    site : Site

    Examples
    --------
    >>> from course_site.links import Site, relink
    >>> site = Site({"docs/a.md": "a", "data/README.md": "data"})
    >>> relink("[data](../data/README.md#use), [the licence](../LICENSE)", "docs/a.md", site)
    '[data](data.md#use), the licence'
    """
    folder = posixpath.dirname(source)
    here = site.pages[source]

    def turned(match: re.Match) -> str:
        target = match["target"]
        if not match["code"] and target.startswith("#"):
            # Of a heading: JupyterLab keeps its capitals, the site has none.
            return f"[{match['words']}]({target.lower()})"
        if match["code"] or _ELSEWHERE.match(target):
            return match[0]
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        if match["mark"]:  # pictures are copied to where they lie in the repository
            return f"![{match['words']}]({relative(path, here)})"
        page = site.pages.get(path)
        if page is None and path in INSTEAD:
            page, anchor = INSTEAD[path], ""  # which has other headings
        if page:
            suffix = posixpath.splitext(path)[1]
            address = relative(page + suffix, here)
        elif site.files:
            address = site.files + path
        else:
            return match["words"]
        return f"[{match['words']}]({address}{anchor and '#' + anchor})"

    return _CODE_OR_LINK.sub(turned, text)


def pictures(text: str, source: str) -> list[str]:
    """Return the paths in the repository of the pictures that a Markdown text shows."""
    folder = posixpath.dirname(source)
    return [
        posixpath.normpath(posixpath.join(folder, match["target"]))
        for match in _CODE_OR_LINK.finditer(text)
        if match["mark"] and not _ELSEWHERE.match(match["target"])
    ]
