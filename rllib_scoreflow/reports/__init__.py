"""What is read back from runs: metrics, trials, plots, sweeps, the report page."""
