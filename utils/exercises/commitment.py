"""An exercise that asks for a prediction, and says after the measurement how far off it was."""

from dataclasses import dataclass, field

from utils.exercises.exercise import Exercise, Mark, Verdict


@dataclass(frozen=True)
class Commitment(Exercise):
    """A prediction: any number that is possible is accepted, and kept until it can be compared.

    Attributes
    ----------
    noted : list of float
        The last number that was accepted; empty before.
    """

    is_function: bool = False
    noted: list[float] = field(default_factory=list, compare=False, repr=False)

    def __call__(self, answer) -> None:
        """Print whether the number is possible, and keep it if it is."""
        verdict = self.verdict(answer)
        self.noted[:] = [float(answer)] if verdict.mark is Mark.RIGHT else []
        print(f"{self.name}: {verdict.message}")

    def judged(self, outputs: list) -> Verdict:
        """Return the verdict on a number: noted if it is possible, whatever will be measured."""
        verdict = super().judged(outputs)
        if verdict.mark is not Mark.RIGHT or not outputs:
            return verdict
        return Verdict(Mark.RIGHT, f"{float(outputs[0]):+g} is noted; the measurement comes below")

    def compare(self, measured: float, low: float, high: float) -> None:
        """Print how far the number that was noted is from what was measured.

        Parameters
        ----------
        measured : float
        low, high : float
            Bounds of the interval of what was measured.
        """
        if not self.noted:
            print(f"{self.name}: measured {measured:+.3f}; no prediction was noted above")
            return
        predicted = self.noted[0]
        where = "inside" if low <= predicted <= high else "outside"
        off = predicted - measured
        side = "too high" if off > 0 else "too low"
        print(
            f"{self.name}: you predicted {predicted:+.3f}, measured is {measured:+.3f}; that is "
            f"{abs(off):.3f} {side}, and {where} the interval ({low:+.3f} to {high:+.3f})"
        )
