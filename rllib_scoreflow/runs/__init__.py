"""Running checked experiments through Tune, and what is left of them."""
