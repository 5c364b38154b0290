"""Write what is published of the evidence from its tables: the model card and the README.

    python -m utils.published [--check]

writes ``results/lgg/model_card.md`` and the part of ``README.md`` between its two marks. With
``--check`` nothing is written; the exit status is 1 if either says something else than the tables.
"""

import argparse
import sys
from collections.abc import Sequence

from utils import config
from utils.evidence.publish import README, expected, outdated
from utils.evidence.tables import LGG, read_evidence


def main(argv: Sequence[str] | None = None) -> int:
    """Write what differs, or with ``--check`` say what does."""
    parser = argparse.ArgumentParser(prog="python -m utils.published", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if outdated")
    parser.add_argument(
        "--tables", type=config.user_path, default=LGG, help="the folder of the tables"
    )
    parser.add_argument(
        "--readme", type=config.user_path, default=README, help="the file with the marks"
    )
    arguments = parser.parse_args(argv)
    evidence = read_evidence(arguments.tables)
    files = expected(evidence, arguments.readme, arguments.tables / "model_card.md")
    late = outdated(files)
    for path in late:
        if arguments.check:
            print(f"{path.name}: not what the tables say; run python -m utils.published")
            continue
        with config.atomic_path(path) as temporary:
            temporary.write_text(files[path], encoding="utf-8")
        print(f"{path.name}: written")
    if not late:
        print("model card and README agree with the tables")
    return 1 if late and arguments.check else 0


if __name__ == "__main__":
    sys.exit(config.command(main))
