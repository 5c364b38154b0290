"""One training on several devices or machines: `python -m utils.parallel`, with JAX."""
