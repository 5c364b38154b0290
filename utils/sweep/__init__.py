"""A sweep: one of the notebooks' models trained with every combination of some hyper-parameters."""
