"""Networks, their losses, how they are trained, and how they predict."""
