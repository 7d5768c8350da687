"""``python -m rllib_scoreflow.cli`` is the same as the ``rllib`` command."""

from rllib_scoreflow.cli.main import main

if __name__ == "__main__":
    main()
