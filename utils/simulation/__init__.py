"""The simulated cohort: a head, a tumour in it, and the pictures that a scanner takes."""
