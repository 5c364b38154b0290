"""A cohort's files: found, read, checked, split by patient, described."""
