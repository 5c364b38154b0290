"""One run of the course, step by step: what the notebooks train and keep in the run folder."""
