"""The notebooks: made from their sources, executed in order, reported."""
