"""Every figure of the course; each function returns a figure and its alt text stands beside it."""
