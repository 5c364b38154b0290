"""A Mermaid graph of arrows as a table, which needs no program and can be read aloud."""

import re

_GRAPH = re.compile(r"^```mermaid\n *graph \w+\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)


def without_diagrams(text: str) -> str:
    """Return Markdown with each Mermaid graph as a table of what an arrow leads to from where.

    Examples
    --------
    >>> from course_site.diagrams import without_diagrams
    >>> print(without_diagrams("```mermaid\\ngraph LR\\n  a\\n  b --> a\\n  b --> c\\n```"))
    | From | Arrows to |
    | --- | --- |
    | `a` | – |
    | `b` | `a`, `c` |
    """
    return _GRAPH.sub(lambda match: _table(match["lines"].split("\n")), text)


def _table(lines: list[str]) -> str:
    arrows: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, lines)):
        start, *ends = re.split(r"\s*-->\s*", line)
        arrows.setdefault(start, []).extend(ends)
    rows = [
        f"| `{start}` | {', '.join(f'`{end}`' for end in ends) or '–'} |"
        for start, ends in arrows.items()
    ]
    return "\n".join(["| From | Arrows to |", "| --- | --- |", *rows])
