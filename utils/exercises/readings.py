"""How a choice among readings of a figure is judged: by what its numbers support."""

from collections.abc import Mapping

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
        For an answer such as ``"ac"``: letters in any order, each once, commas and blanks allowed.
    """
    letters = sorted({*wrong, *right})

    def judge(output):
        if not isinstance(output, str):
            raise TypeError
        chosen = [letter for letter in output.lower() if letter not in " ,;()"]
        strange = [letter for letter in chosen if letter not in letters]
        if strange:
            return f"you name {strange[0]!r}; the readings are {letters[0]} to {letters[-1]}"
        for letter in letters:
            if letter in chosen and letter in wrong:
                return f"you take ({letter}): {wrong[letter]}"
        for letter in letters:
            if letter in right and letter not in chosen:
                return f"one that the numbers support is missing: {right[letter]}"
        return None

    return judge
