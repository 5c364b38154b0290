"""How good predictions are, with intervals over patients. Knows arrays and tables, no models."""
