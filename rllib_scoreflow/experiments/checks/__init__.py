"""What is checked of an experiment before anything runs."""
