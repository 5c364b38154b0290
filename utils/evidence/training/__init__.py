"""What is trained for the evidence: splits into folds, one fold, one attempt, the tables of all."""
