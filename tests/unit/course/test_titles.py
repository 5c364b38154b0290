import pytest

from utils.course.titles import COHORTS, UNKNOWN_COHORT


@pytest.mark.parametrize("name", COHORTS)
def test_simulated_data_are_called_simulated_and_real_patients_real(name):
    word = "simulated" if name == "simulated" else "real"
    assert all(word in title.lower() for title in COHORTS[name])
    assert not set(COHORTS[name]) & set(UNKNOWN_COHORT)
