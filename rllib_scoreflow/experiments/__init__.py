"""Experiment files: from YAML, Python and options to checked experiments."""
