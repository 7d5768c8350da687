"""The ``rllib`` command (also installed as ``scoreflow``)."""
