"""An exercise that asks for a prediction, and says after the measurement how far off it was."""

from dataclasses import dataclass

from utils.exercises.exercise import Exercise, Mark, Verdict

# By the name of the exercise: the number that was accepted last.
_NOTED: dict[str, float] = {}


@dataclass(frozen=True)
class Commitment(Exercise):
    """A prediction: any number that is possible is accepted, and kept until it can be compared."""

    is_function: bool = False

    def __call__(self, answer) -> None:
        """Print whether the number is possible, and keep it if it is."""
        verdict = self.verdict(answer)
        _NOTED.pop(self.name, None)
        if verdict.mark is Mark.RIGHT:
            _NOTED[self.name] = float(answer)
        print(f"{self.name}: {verdict.message}")

    def judged(self, outputs: list) -> Verdict:
        """Return the verdict on a number: noted if it is possible, whatever will be measured."""
        verdict = super().judged(outputs)
        if verdict.mark is not Mark.RIGHT or not outputs:
            return verdict
        return Verdict(Mark.RIGHT, f"{float(outputs[0]):+g} is noted; the measurement comes below")


def compare_prediction(name: str, measured: float, low: float, high: float) -> None:
    """Print how far the number that was noted is from what was measured.

    A function by itself and not a method of the exercise: `make grade` tries every statement that
    holds ``check.<name>``, and would have to make the measurement.

    Parameters
    ----------
    name : str
        Of the exercise.
    measured : float
    low, high : float
        Bounds of the interval of what was measured.
    """
    predicted = _NOTED.get(name)
    if predicted is None:
        print(f"{name}: measured {measured:+.3f}; no prediction was noted above")
        return
    where = "inside" if low <= predicted <= high else "outside"
    side = "too high" if predicted > measured else "too low"
    print(
        f"{name}: you predicted {predicted:+.3f}, measured is {measured:+.3f}; that is "
        f"{abs(predicted - measured):.3f} {side}, and {where} the interval ({low:+.3f} to "
        f"{high:+.3f})"
    )
