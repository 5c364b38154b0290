"""With what a task was computed; kept in the task's own file."""

import os
from collections.abc import Iterable, Mapping

from utils.cluster.threads import used_threads
from utils.runtime.machine import processor_name
from utils.runtime.versions import commit, versions

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "scipy")


def made_with() -> dict:
    """Return with what this process computes.

    Returns
    -------
    dict
        ``commit``, a + after it if files differ; ``versions`` of Python and `PACKAGES`, by name;
        ``machine``, processor and cores; ``threads``, see `used_threads`.
    """
    number = os.cpu_count()
    return {
        "commit": commit(),
        "versions": versions(PACKAGES),
        "machine": f"{processor_name()}, {number} cores",
        "threads": used_threads(),
    }


def joined(values: Iterable[str]) -> str:
    """Return different values in one text, each once; some may be such texts themselves.

    Examples
    --------
    >>> from utils.cluster.provenance import joined
    >>> joined(["AMD, 2 cores", "Intel, 4 cores; AMD, 2 cores"])
    'AMD, 2 cores; Intel, 4 cores'
    """
    return "; ".join(dict.fromkeys(part for value in values for part in value.split("; ")))


def joined_versions(each: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the versions of each package, different ones as `joined` does.

    Examples
    --------
    >>> from utils.cluster.provenance import joined_versions
    >>> joined_versions([{"numpy": "2.3"}, {"numpy": "2.4", "scipy": "1.17"}])
    {'numpy': '2.3; 2.4', 'scipy': '1.17'}
    """
    each = list(each)
    names = dict.fromkeys(name for versions in each for name in versions)
    return {name: joined(one[name] for one in each if name in one) for name in names}
