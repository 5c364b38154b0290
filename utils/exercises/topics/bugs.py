"""The exercises of notebook 07 on suspects, by part of the notebook, and on splits."""

import numpy as np

from utils.exercises.bugs import SUSPECTS
from utils.exercises.exercise import AnotherKindError, Case, Exercise
from utils.exercises.inputs import renamed
from utils.exercises.judges import shown

# Letter of `SUSPECTS`, and what the symptom of the case asks to explain.
GUILTY = (
    ("D", "why the most similar training slice gives the right answer so often"),
    ("I", "why the detector is faultless on some of the test patients, and only on those"),
    ("F", "why the same seed gives other patients in another process"),
    ("B", "why different slices all look the same to the network"),
    ("L", "why a model that is right in training calls most of the head tumour"),
    ("A", "why the outlines lie beside the tumours"),
    ("O", "why tumours are found where there is nothing but eyes, skin or skull"),
    ("J", "why the count of trainable weights does not change"),
    ("K", "why the loss is steepest for images that are nearly right"),
    ("N", "why the score is high although most of the tumours in the batch were missed"),
    ("G", "why a model that never draws anything scores so well"),
    ("M", "why the accuracy of one model depends on the batch size"),
    ("E", "why scores drawn by chance are reported as better than chance"),
    ("H", "why the slices shown are so much better than the mean"),
)


# The parts of the notebook, and which symptoms each shows.
PARTS = {
    "suspects_splits": ("first", "second", "third"),
    "suspects_training": ("fourth", "fifth", "sixth", "seventh", "eighth"),
    "suspects_loss": ("ninth", "tenth"),
    "suspects_scores": ("eleventh", "twelfth", "thirteenth", "fourteenth"),
}
ORDINALS = [ordinal for ordinals in PARTS.values() for ordinal in ordinals]
CASES = dict(zip(ORDINALS, GUILTY, strict=True))


def _suspects(name: str, symptoms: tuple[str, ...]) -> Exercise:
    def judge(answer) -> str | None:
        named = dict(answer)
        for symptom in symptoms:
            if symptom not in named:
                return f"your dictionary has no {symptom!r}"
        wrong = []
        for symptom in symptoms:
            given, (letter, question) = named[symptom], CASES[symptom]
            if not isinstance(given, str) or given.strip().upper() not in SUSPECTS:
                what = shown(given)
                return f"{symptom}: {what} is none of the letters A to P in the list of suspects"
            given = given.strip().upper()
            if given != letter:
                wrong.append(f"{symptom}: {given} ({SUSPECTS[given]}) does not explain {question}")
        if not wrong:
            return None
        right = len(symptoms) - len(wrong)
        return f"{right} of {len(symptoms)} are right; {wrong[0]}"

    return Exercise(name, "07", (Case("", (), judge),), is_function=False)


STAGES = {"detector", "segmenter"}


def _tested(output, patients: list[str]) -> dict[str, set[str]]:
    """Return the patients that each stage is tested on."""
    return {
        stage: {who for who, part in zip(patients, parts, strict=True) if part == "test"}
        for stage, parts in output.items()
    }


def _stages_judge(patients: list[str], share: float):
    names = set(patients)
    wanted = round(share * len(names))

    def judge(output) -> str | None:
        if not hasattr(output, "items"):
            raise AnotherKindError("a dictionary of two stages")
        if set(output) != STAGES:
            return f"the stages are {sorted(output)}; they should be detector and segmenter"
        for stage, parts in output.items():
            given = np.asarray(parts)
            if given.shape != (len(patients),):
                return (
                    f"you return {given.shape} values for the {stage} and {len(patients)} slices; "
                    "give one for each slice"
                )
            if not set(given.tolist()) <= {"train", "test"}:
                return f"there are parts {sorted(set(map(str, given.tolist())))}; use train, test"
            trained = {who for who, part in zip(patients, given, strict=True) if part == "train"}
            tested = {who for who, part in zip(patients, given, strict=True) if part == "test"}
            if both := trained & tested:
                return (
                    f"{len(both)} of {len(names)} patients are on both sides of the {stage}'s "
                    "split, so that a copied answer is right by recognising the patient"
                )
            if len(tested) != wanted:
                return (
                    f"the {stage} is tested on {len(tested)} of {len(names)} patients, where a "
                    f"share of {share:g} is {wanted}"
                )
        tested = _tested(output, patients)
        if seen := tested["segmenter"] - tested["detector"]:
            return (
                f"{len(seen)} of the {len(tested['segmenter'])} patients on which the cascade is "
                "tested were training patients of the detector, which is faultless on them"
            )
        return None

    return judge


def _slices_of(*counts: int) -> list[str]:
    return [
        f"SIM_DU_{number:04d}" for number, count in enumerate(counts, start=1) for _ in range(count)
    ]


_EVEN = _slices_of(*[5] * 12)
_SHUFFLED = np.random.default_rng(0).permutation(_EVEN).tolist()
_UNEVEN = np.random.default_rng(1).permutation(_slices_of(2, 30, 2, 9, 2, 9, 20, 2)).tolist()
_RENAMED, _RENAMED_AGAIN = renamed(_EVEN)


def _same_patients(outputs: list) -> str | None:
    """Judge whether the same patients are tested, however their names come (the first four)."""
    names = [_EVEN, _SHUFFLED, _RENAMED, _RENAMED_AGAIN]
    first, *others = (
        {str(who)[3:] for who in _tested(output, patients)["segmenter"]}
        for output, patients in zip(outputs, names, strict=False)
    )
    reasons = [
        "in which order the slices come",
        "in which order a set gives the names, which the next start of Python changes",
        "in which order a set gives the names, which the next start of Python changes",
    ]
    for other, reason in zip(others, reasons, strict=True):
        if other != first:
            return f"with one seed, the patients that are tested depend on {reason}"
    if _tested(outputs[4], _UNEVEN) == _tested(outputs[5], _UNEVEN):
        return "seeds 7 and 8 test the same patients; draw them at random"
    return None


def _stages_case(said: str, patients: list[str], seed: int, share: float | None = None) -> Case:
    """Return a case; without a share it is left to the function, whose default is a quarter."""
    given = () if share is None else (share,)
    return Case(said, (patients, seed, *given), _stages_judge(patients, *(given or (0.25,))))


mend_stages = Exercise(
    "mend_stages",
    "07",
    (
        _stages_case("12 patients of 5 slices", _EVEN, 0),
        _stages_case("the same slices in mixed order", _SHUFFLED, 0),
        _stages_case("as many patients with other names", _RENAMED, 0),
        _stages_case("as many patients with other names again", _RENAMED_AGAIN, 0),
        _stages_case("8 patients of 2 to 30 slices in mixed order", _UNEVEN, 7),
        _stages_case("these with another seed", _UNEVEN, 8),
        # 2.8 and 16.2 patients: who cuts off, rounds up, or draws somebody twice has others.
        _stages_case("7 patients and a share of 0.4", _slices_of(*[2] * 7), 0, 0.4),
        _stages_case("27 patients and a share of 0.6", _slices_of(*[1] * 27), 0, 0.6),
    ),
    together=_same_patients,
)


EXERCISES = (*(_suspects(*each) for each in PARTS.items()), mend_stages)
