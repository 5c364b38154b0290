"""Which sequence a file holds, by the words in its name.

Data sets name their files in many ways: BIDS (``sub-01_ce-gadolinium_T1w``), BraTS (``t1n``,
``t1c``, ``t2f``, ``seg``), TCIA (``t1Gd``, ``T1_POST``), scanners (``t2_tirm_dark-fluid``). What
cannot be told is not guessed.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from utils.config import CourseError
from utils.patient.nifti import stem_of

SEQUENCES = ("pre", "flair", "post")
NAMES = {
    "pre": "pre-contrast T1",
    "flair": "FLAIR",
    "post": "post-contrast T1",
    "mask": "mask of the tumour",
}
UNTOLD = "its name tells no sequence that we know"
HOW_TO_NAME = "name them pre.nii.gz, flair.nii.gz, post.nii.gz and mask.nii.gz"


class Reading(NamedTuple):
    """What a name says: ``pre``, ``flair``, ``post``, ``mask`` or None, and then why not."""

    kind: str | None
    why: str = ""
    unclear: bool = False


_AGENT = (
    "contrast(?:ed|e|o|ado|ato)?|kontrast|kontrastmittel|gd|gad|gado|gadolinium|gddtpa|dtpa|"
    "gadovist|gadavist|gadobutrol|dotarem|magnevist|prohance|multihance|ce|m?km|mdc|enh|enhanced|"
    "inj(?:ect(?:ion|ed|ee?)?)?"
)
_PLANE = "(?:3d|2d|ax|axial|sag|cor|tra|r|w|n4)?"
_T1 = re.compile(
    rf"{_PLANE}(?P<before>c|ce|gd)?t1(?:w|wi|weighted)?"
    "(?:se|tse|fse|ffe|tfe|spgr|fspgr|mpr|mprage|space|vibe|fl2d|fl3d|flash|bravo|cube|flair|fl)?"
    rf"(?P<after>n|(?:pre|non?|post)?(?:{_AGENT}|c|cm)|pre|post|plus|nc|okm|native?)?"
    "(?:fs|3d|2d|bc)?"
)
_FLAIR = re.compile(rf"{_PLANE}(?:t2w?)?(?:flair|tirm|flr|darkfluid)(?:fs|3d|2d|sag|ax|tra|cor|bc)?"
                    "|t2fl?|fla")  # fmt: skip
_T2 = re.compile(rf"{_PLANE}t2(?:w|wi|weighted|s|star|tse|fse|se|blade|space|cube|propeller)?.*")
_T1_BY_METHOD = {"mprage", "mpr", "mp2rage", "spgr", "fspgr", "bravo"}
_AGENTS = re.compile(rf"(?:with|mit)?(?:{_AGENT})")
_AFTER = re.compile(rf"post(?:{_AGENT}|c)?|after|nach")
_BEFORE = re.compile(
    rf"(?:pre|non?)(?:{_AGENT}|c)|pre|non|without|wo|ohne|okm|sans|senza|minus|native?|plain|"
    "unenhanced|before"
)
# They deny what follows; alone they may be anybody's name.
_DENYING = {"no", "not", "un", "vor", "sin", "sem"}
# "w/o" after dcm2niix, which writes "_" for "/"; and the minus of "C-", "-C" and "gd-". The hyphen
# of "T1-C" only joins.
_WITHOUT = re.compile(
    r"(?<![a-z0-9])w[-_ ]o(?![a-z0-9])"
    rf"|(?<![a-z0-9])-(?:{_AGENT}|c)(?![a-z0-9])|(?<![a-z])(?:{_AGENT}|c)-(?=$|[_. ])"
)
_MASK = re.compile(
    "masks?|msk|segs?|segm|segmentations?|labels?|labelmap|gt|groundtruth|truth|rois?|annotations?|"
    "contours?|glistrboost|[a-z]*(?:mask|segmentation)|(?:tumou?r|lesion|brats|auto|prob|d)seg"
)
_DRAWN = re.compile("(?:tumou?rs?|lesions?|glioma|gliom|wt|oedema|edema).*|glistrboost|brats.*seg")
_BRAIN = re.compile(
    "(?:brain|skull|head|bet|hdbet|foreground|fov|deface|body|tissue|parenchyma|ventricle|"
    "hemisphere|cerebell|synthseg|fastsurfer).*|aseg|aparc|dseg|probseg|gm|wm|csf"
)
# What no T1 of ours is, whatever else its name says.
_DERIVED = {
    "dce", "dsc", "perf", "perfusion", "subtraction", "subtracted", "subtr", "phase", "real",
    "imag", "imaginary", "ktrans", "map", "mapping", "t1map",
}  # fmt: skip
# So only at the end of a name, as dcm2niix and scanners write them; before, it is who was examined.
_DERIVED_AT_END = {"ph", "sub"}
_OTHER = {"dwi", "adc", "swi", "asl", "dti", "pd", "pdw", "bold", "mra", "tof", "ct", "pet"}
# Read after a T1 only: alone these may be anything.
_AFTER_T1 = {"c", "cm", "pc", "plus"}
_CONTRAST = (_AGENTS, _AFTER, _BEFORE)
# What may stand beside a sequence in a name that does not say whose it is.
_BESIDE_SEQUENCE = _T1_BY_METHOD | {
    "3d", "2d", "ax", "axial", "sag", "cor", "tra", "iso", "fs", "dark", "fluid", "brain", "bet",
}  # fmt: skip

# A BIDS entity is a key and its value. Of these the value says what the file holds.
_TELLING_KEYS = {"acq", "desc", "label", "part", "rec"}
_NO_AGENT = {"none", "no", "without", "pre", "native", "nocontrast", "0"}
_WHEN = re.compile(
    r"(?<![a-z])(?:session|ses|visit|timepoint|tp)[-_ ]?(?:pre|post)?(?![a-z])"
    r"|(?<![a-z])(?:pre|post|peri|intra)[-_ ]?(?:op|operative?|operation|operatory|surg[a-z]*|"
    r"tx|rt|rx|crt|treatment|treat|therapy|radio[a-z]*|radiation|chemo[a-z]*|resection|biopsy)(?![a-z])"
)
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d(?:[-_.]?\d\d){0,2}(?!\d)")
# "FLAIR_to_T1" is a FLAIR that lies on the grid of a T1.
_TARGET = re.compile(
    r"[-_. ](?:to|in|on|onto|into|space)[-_ ]?(?:t1|t2|flair|mni|sri)[a-z0-9]*"
    r"|(?<![t_. -])2(?:t1|flair|mni)[a-z0-9]*"
)


def kind_of(name: str) -> str | None:
    """Return ``pre``, ``flair``, ``post`` or ``mask`` by the words in a file's name, or None."""
    return read_name(name).kind


def read_name(name: str, ignored: frozenset[str] = frozenset()) -> Reading:
    """Return what the name of a file says about its content.

    Parameters
    ----------
    name : str
        Without its folder: what that is called does not count, nor do words that say when a
        picture was taken (``postop``, ``ses-post``) or onto what it was laid (``to_T1``).
    ignored : set of str
        Words that do not count either.
    """
    words = [word for word in _words(stem_of(name).lower()) if word not in ignored]
    t1_words = [_T1.fullmatch(word) for word in words]
    is_t1 = any(t1_words)
    is_flair = any(map(_FLAIR.fullmatch, words)) or {"dark", "fluid"} <= set(words)
    is_t2 = any(_T2.fullmatch(word) and not _FLAIR.fullmatch(word) for word in words)
    if not (is_t1 or is_flair or is_t2):
        is_t1 = bool(_T1_BY_METHOD & set(words))
    drawn = any(map(_DRAWN.fullmatch, words))
    if any(map(_MASK.fullmatch, words)) or (drawn and not (is_t1 or is_flair or is_t2)):
        if any(map(_BRAIN.fullmatch, words)) and not drawn:
            return Reading(None, "a mask of the brain or of tissues, not of a tumour")
        return Reading("mask")
    if _DERIVED & set(words) or _DERIVED_AT_END & set(words[1:][-1:]):
        return Reading(None, "derived from other pictures")
    if is_t1 and is_t2 and not is_flair:
        return Reading(None, "its name says both T1 and T2", unclear=True)
    if is_flair and not is_t1:
        return Reading("flair")
    if is_flair and not _t1_with_suppression(words):
        return Reading(None, "its name says both FLAIR and T1", unclear=True)
    if is_t2 and not is_t1:
        return Reading(None, "a T2, which the models do not know")
    if _OTHER & set(words) and not is_t1:
        return Reading(None, "no sequence that the models know")
    contrast = _contrast(words, t1_words)
    if contrast == "both":
        return Reading(None, "its name says both before and after contrast", unclear=True)
    if contrast or is_t1:
        return Reading(contrast or "pre")
    return Reading(None, UNTOLD)


def says_all(name: str) -> bool:
    """Return whether the words of a name say all three sequences, as of a file with them all."""
    return set(SEQUENCES) <= set(map(kind_of, _plain_words(name)))


def says_only_sequence(name: str) -> bool:
    """Return whether a name says a sequence and nothing else, so not whose it is.

    Examples
    --------
    >>> from utils.patient.sequences import says_only_sequence
    >>> [says_only_sequence(name) for name in ("AX_FLAIR.nii.gz", "Anna_flair.nii.gz", "post")]
    [True, False, False]
    """
    words = _plain_words(name)
    named = [any(one.fullmatch(word) for one in (_FLAIR, _T1, _T2)) for word in words]
    return any(named) and all(
        told or word in _BESIDE_SEQUENCE or any(one.fullmatch(word) for one in _CONTRAST)
        for word, told in zip(words, named, strict=True)
    )


def says_when(name: str) -> bool:
    """Return whether a folder's name says when its pictures were taken."""
    return bool(_WHEN.search(name.lower()) or _DATE.search(name))


def _plain_words(name: str) -> list[str]:
    """Return all words of a name, in small letters."""
    return [word for word in re.split(r"[^a-z0-9]+", stem_of(name).lower()) if word]


def _t1_with_suppression(words: list[str]) -> bool:
    """Return whether they name the T1 that suppresses fluid, a "T1 FLAIR"."""
    return any(_T1.fullmatch(one) and _FLAIR.fullmatch(two) for one, two in pairwise(words))


def _words(name: str) -> list[str]:
    """Return the words of a name (in small letters) that can say what a file holds."""
    if re.search(r"(?:^|_)(?:sub|ses)-", name):
        name = "_".join(filter(None, map(_entity, name.split("_"))))
    for pattern in (_WHEN, _TARGET):
        name = pattern.sub("_", name)
    name = _WITHOUT.sub("_without_", name)
    name = re.sub(r"\+[-_ ]?c(?![a-z])|(?<![a-z])c[-_ ]?\+|\+", "_contrast_", name)
    return [word for word in re.split(r"[^a-z0-9]+", name) if word]


def _entity(part: str) -> str:
    key, dash, value = part.partition("-")
    if not dash or not key.isalpha():
        return part
    if key == "ce":
        return "pre" if value in _NO_AGENT else "contrast"
    return value if key in _TELLING_KEYS else ""


def _contrast(words: list[str], t1_words: list) -> str | None:
    """Return ``pre``, ``post``, ``both`` or None (nothing is said)."""
    before = after = agent = False
    told = [t1 or word in _T1_BY_METHOD for word, t1 in zip(words, t1_words, strict=True)]
    for place, (word, t1) in enumerate(zip(words, t1_words, strict=True)):
        following = words[place + 1] if place + 1 < len(words) else ""
        if t1:
            suffix = t1["after"] or ""
            before |= bool(suffix in ("n", "nc") or _BEFORE.fullmatch(suffix))
            after |= suffix.startswith("post")
            agent |= bool(t1["before"] or (suffix and not before and not after))
        elif _BEFORE.fullmatch(word):
            before = True
        elif word in _DENYING:
            before |= bool(_AGENTS.fullmatch(following))
        elif _AFTER.fullmatch(word):
            after = True
        elif _AGENTS.fullmatch(word) or (word in _AFTER_T1 and place and told[place - 1]):
            agent = True
    if before and after:
        return "both"
    # "pre gd": an agent is named, to say that it had not been given.
    return "pre" if before else "post" if after or agent else None


def tell_apart(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return which of some files of one patient serves as what.

    Parameters
    ----------
    names : iterable of str
        Of the files, without their folder.

    Returns
    -------
    dict
        From ``pre``, ``flair``, ``post`` and ``mask``, as far as they are there, to the name.
    list of str
        Notes on the files that are not used.

    Raises
    ------
    CourseError
        If two files could serve as the same, or a name can be read in two ways. It names the
        files and says how to name them.
    """
    names = list(names)
    shared = _shared(names)
    found: dict[str, str] = {}
    notes = []
    for name in names:
        reading = read_name(name, shared)
        if reading.unclear:
            raise CourseError(f"{name}: {reading.why}; {HOW_TO_NAME}")
        if reading.kind is None:
            notes.append(f"{name} was not used: {reading.why}")
        elif reading.kind in found:
            raise CourseError(
                f"{name}: a second file for {reading.kind} ({NAMES[reading.kind]}), beside "
                f"{found[reading.kind]}; keep one, or {HOW_TO_NAME}"
            )
        else:
            found[reading.kind] = name
    if shared and not {"pre", "post"} <= set(found):
        alone = found.get("pre") or found.get("post")
        if alone and read_name(alone).kind != read_name(alone, shared).kind:
            raise CourseError(
                f"{alone}: is it before or after contrast? {', '.join(sorted(shared))} stands in "
                f"every sequence's name; {HOW_TO_NAME}"
            )
    return found, notes


def _shared(names: list[str]) -> frozenset[str]:
    """Return the words about contrast with which all sequences' names begin: they tell nothing.

    They are the patient's initials, or the day of the examination. A mask may lack them.
    """
    readings = {name: read_name(name) for name in names}
    names = [
        name for name, reading in readings.items() if reading.kind in SEQUENCES or reading.unclear
    ]
    if len(names) < 2:
        return frozenset()
    shared = set()
    for words in zip(*(_words(stem_of(name).lower()) for name in names), strict=False):
        if len(set(words)) > 1 or _T1.fullmatch(words[0]) or _FLAIR.fullmatch(words[0]):
            break
        if any(pattern.fullmatch(words[0]) for pattern in _CONTRAST):
            shared.add(words[0])
    return frozenset(shared)
