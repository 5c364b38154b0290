"""The evidence from the real cohort: trained by fold, collected in tables, published."""
