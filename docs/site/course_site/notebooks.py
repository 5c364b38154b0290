"""What of a stored notebook the site needs beyond what myst-nb takes from it."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import PurePosixPath

ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg"}


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def with_texts(notebook: str, change: Callable[[str], str]) -> str:
    """Return a notebook (JSON) with its Markdown changed: text cells, and what cells put out."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = change(_joined(cell["source"]))
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = change(_joined(data["text/markdown"]))
    return json.dumps(content)


def alt_texts(notebook: str) -> dict[str, str]:
    """Return the description of each picture that a notebook (JSON) stores.

    Returns
    -------
    dict
        Name under which myst-nb writes the picture (the SHA-256 of its bytes and an ending) -> its
        ``alt`` in the output's metadata, empty where there is none. A cell may show several.
    """
    found = {}
    for cell in json.loads(notebook)["cells"]:
        for output in cell.get("outputs", ()):
            for kind, ending in ENDINGS.items():
                if kind in output.get("data", {}):
                    content = base64.b64decode(_joined(output["data"][kind]))
                    words = output.get("metadata", {}).get(kind, {}).get("alt", "")
                    found[hashlib.sha256(content).hexdigest() + ending] = words
    return found


def described(uri: str, alts: dict[str, str]) -> str | None:
    """Return the description of the picture at an address in the site, None for an unknown one."""
    return alts.get(PurePosixPath(uri).name)
