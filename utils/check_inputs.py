"""Inputs that exercises need a class of their own for, apart from the judges.

`make grade` hands inputs to a process that may not load `utils.check`; what an input is made of
must therefore lie elsewhere, such as here.
"""


class BeforeRestart(str):
    """Text whose hash is that of one start of Python."""

    def __hash__(self) -> int:
        return hash(("before", str(self)))


class AfterRestart(str):
    """The same text, hashed as another start of Python hashes it: sets get another order."""

    def __hash__(self) -> int:
        return hash(("after", str(self)))
