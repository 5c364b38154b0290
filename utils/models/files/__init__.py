"""Models and their settings in files that may come from anywhere."""
