"""Denoising processes."""
