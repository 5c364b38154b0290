"""What is published of the evidence: the README's part, and which files are outdated."""

from pathlib import Path

from utils import config
from utils.config import CourseError
from utils.evaluation.text import (
    format_bounds,
    format_interval,
    format_number,
    listed,
    markdown_table,
    put_between_marks,
)
from utils.evidence import card as card_module, comparisons, statistics
from utils.evidence.comparisons import NOT_YET, AllComparisons, Comparison, aims
from utils.evidence.statistics import BUDA, FAILED, MOST_FAILED, READERS
from utils.evidence.tables import Evidence

README = config.ROOT / "README.md"
MARK = "evidence"


def readme_part(evidence: Evidence, compared: AllComparisons) -> str:
    """Return what the README says of the evidence, without the marks."""
    rows = []
    references = {"Dice by patient, mean": BUDA["mean"], "Dice by patient, median": BUDA["median"]}
    for row in aims(evidence).itertuples():
        reference = references.get(row.measure)
        aim = f"{row.aim:.2f}, " + ("reached" if row.reached else "**not reached**")
        cited = format_number(reference, 2)
        rows.append((row.measure, format_interval(row.found), aim, cited))
    failed = len(statistics.failures(evidence.patients))
    reached = "reached" if failed <= MOST_FAILED else "**not reached**"
    rows.append(
        (
            f"Patients with a Dice below {FAILED}",
            f"{failed} of {len(evidence.patients)}",
            f"at most {MOST_FAILED}, {reached}",
            "–",
        )
    )
    heads = ("Out of fold", "Value (95 % interval over patients)", "Aim", "Buda et al. 2019")
    sentences = [
        _loss_sentence(evidence),
        _reader_sentence(),
        _institution_sentence(evidence),
        _cascade_sentence(evidence),
    ]
    compared_rows = [
        _compared_row(title, name, one)
        for title, named in (
            ("split by patient → random slices", compared.splits),
            ("baseline recipe → ours", compared.recipes),
            ("institution known in training → never seen", compared.left_out),
            ("earlier recipe → ours", compared.earlier),
        )
        for name, one in named.items()
    ]
    return (
        f"{evidence.provenance['patients']} real patients, {evidence.provenance['slices']:,} "
        "slices, five folds by patient: whoever predicted a patient never saw it.\n\n"
        + markdown_table(heads, rows)
        + "\n\n"
        + listed(sentences)
        + "\n\nTwo models on the same slices; in brackets the difference, in pairs over "
        "patients:\n\n"
        + markdown_table(("From → to", "For", "Dice by patient", "AUC", "On"), compared_rows)
    )


def _loss_sentence(evidence: Evidence) -> str:
    lost = {kind: mean.estimate for kind, mean in statistics.lost(evidence.slices).items()}
    met = lost["too_much"] + lost["too_little"]
    return (
        f"**Where the rest is lost.** Of the {format_number(sum(lost.values()))} that the mean "
        f"lacks to 1, {format_number(met)} is lost in slices that were met (too much drawn "
        f"{format_number(lost['too_much'])}, too little {format_number(lost['too_little'])}), "
        f"{format_number(lost['missed'])} in slices that were missed, and "
        f"{format_number(lost['false'])} by false tumour in others."
    )


def _reader_sentence() -> str:
    each = " and ".join(f"{words} {format_number(value, 2)}" for words, value in READERS.items())
    return f"**People do not agree fully either.** Their Dice with each other: {each}."


def _institution_sentence(evidence: Evidence) -> str:
    table = statistics.by_institution(evidence.patients, evidence.slices)
    table = table[table["patients"] >= statistics.FEWEST]
    low, high = table.iloc[0], table.iloc[-1]
    return (
        f"**Institutions differ.** Mean Dice goes from {low['dice_mean']:.3f} "
        f"({low['institution']}, {low['patients']} patients) to {high['dice_mean']:.3f} "
        f"({high['institution']}, {high['patients']} patients)."
    )


def _cascade_sentence(evidence: Evidence) -> str:
    gain = statistics.cascade_gain(evidence.slices)[2]
    lost = statistics.cascade_misses(evidence.slices)["lost"].sum()
    return (
        f"**Cascade minus segmenter alone**, mean Dice: {format_interval(gain, sign=True)}; {lost} "
        "tumour slices that the segmenter had met are lost."
    )


def _compared_row(title: str, name: str, found: Comparison | None) -> tuple[str, ...]:
    if found is None:
        return title, name, NOT_YET, "", ""
    on = f"{found.slices:,} slices of {found.patients} patients"
    if found.with_tumour != found.patients:
        on += f" (Dice: {found.with_tumour})"
    return title, name, _change(found.dice), _change(found.auc), on


def _change(pair: comparisons.Pair) -> str:
    """Return ``0.810 → 0.842 (+0.032, +0.010 to +0.051)``."""
    gap = pair.difference
    bounds = format_bounds(gap.low, gap.high, sign=True)
    change = f"{format_number(gap.estimate, sign=True)}, {bounds}"
    return f"{format_number(pair.first)} → {format_number(pair.second)} ({change})"


def expected(evidence: Evidence, readme: Path, card: Path) -> dict[Path, str]:
    """Return what each file should hold, by its path.

    Raises
    ------
    CourseError
        If `readme` is no text, or lacks the marks.
    """
    text, compared = _text(readme), comparisons.compare_all(evidence)
    return {
        readme: put_between_marks(text, readme_part(evidence, compared), MARK, readme.name),
        card: card_module.card(evidence, compared),
    }


def _text(readme: Path) -> str:
    config.regular_file(readme, "give the file with the marks")
    try:
        return readme.read_text(encoding="utf-8")
    except ValueError as error:
        raise CourseError(
            f"{readme}: not readable as UTF-8; give the text with the marks"
        ) from error


def outdated(files: dict[Path, str]) -> list[Path]:
    """Return the files that hold something else."""
    return [
        path
        for path, text in files.items()
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text
    ]
