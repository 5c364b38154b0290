"""The exercises, how answers to them are checked, and how whole notebooks are marked."""
