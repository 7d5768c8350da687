"""Drafts of experiment files: from a dataset to a file that runs, with a reason for every choice."""
