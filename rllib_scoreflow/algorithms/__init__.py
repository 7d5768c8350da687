"""RLlib algorithms on Ray's new API stack: FlowBC (offline pretraining) and ScoreFlow (PPO on denoising chains)."""
