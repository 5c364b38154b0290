"""What each cohort is called: in figures, on the page about a run, and on its model card."""

from typing import NamedTuple

LGG = "LGG MRI Segmentation cohort"
LGG_SOURCE = "[Buda et al. 2019](https://arxiv.org/abs/1906.03720)"


class CohortTitle(NamedTuple):
    """The names of one cohort.

    Attributes
    ----------
    figure : str
        Inside a sentence or a figure.
    page : str
        At the head of a page.
    card : str
        At the head of a model card, in Markdown: what it is and where it comes from.
    """

    figure: str
    page: str
    card: str


COHORTS = {
    "simulated": CohortTitle(
        figure="simulated cohort",
        page="Simulated data",
        card="Simulated cohort: real anatomy (the ICBM152 average brain), invented tumours",
    ),
    "lgg": CohortTitle(
        figure="LGG cohort (real)",
        page=f"{LGG} (real patients)",
        card=f"{LGG}: real patients with lower-grade glioma ({LGG_SOURCE})",
    ),
}
UNKNOWN_COHORT = CohortTitle("unknown cohort", "Unknown cohort", "Unknown cohort")
