"""How a choice among readings of a figure is judged: by what its numbers support."""

from collections.abc import Mapping

from utils.exercises.exercise import AnotherKindError
from utils.exercises.judges import Judge


def readings(wrong: Mapping[str, str], right: Mapping[str, str]) -> Judge:
    """Judge which lettered readings of a figure a student takes to be supported.

    Parameters
    ----------
    wrong : mapping
        Letter of a reading that the numbers do not support -> what in the figure speaks against it.
    right : mapping
        Letter of one that they support -> where in the figure to look, in words that do not give
        the letter away.

    Returns
    -------
    Judge
        See `judge_readings`.
    """
    supported = {letter: (False, why) for letter, why in wrong.items()}
    supported |= {letter: (True, where) for letter, where in right.items()}

    def judge(output):
        return judge_readings(output, supported)

    return judge


def judge_readings(output, supported: Mapping[str, tuple[bool, str]]) -> str | None:
    """Return what is wrong with a choice of readings, None if it is right.

    Parameters
    ----------
    output : str, list, tuple or set
        The letters in any order, small or capital: ``"ac"``, ``"(A), (C)"``, ``{"a", "c"}``.
    supported : mapping
        Letter -> whether the numbers support the reading, and what to say (see `readings`).

    Raises
    ------
    TypeError
        If `output` is of another kind.
    """
    if not isinstance(output, str | list | tuple | set | frozenset):
        raise AnotherKindError("one text of letters")
    named = {letter.lower(): verdict for letter, verdict in supported.items()}
    chosen = {letter for letter in "".join(output).lower() if letter.isalnum()}
    letters = sorted(named)
    strange = sorted(chosen - named.keys())
    if strange:
        return f"you name {strange[0]!r}; the readings are {letters[0]} to {letters[-1]}"
    for letter in letters:
        is_right, why = named[letter]
        if letter in chosen and not is_right:
            return f"you take ({letter}): {why}"
    for letter in letters:
        is_right, where = named[letter]
        if is_right and letter not in chosen:
            return f"one that the numbers support is missing: {where}"
    return None
