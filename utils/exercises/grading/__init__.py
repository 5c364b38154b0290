"""Marking handed-in notebooks: read, run behind walls, judged, written to a table."""
