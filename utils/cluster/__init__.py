"""Work in tasks: one after the other in this process, or side by side on many machines."""
