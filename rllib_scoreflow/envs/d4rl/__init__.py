"""D4RL's kitchen on current simulators."""
