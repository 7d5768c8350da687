"""What every layer does with files: whole writes, digests, manifests, policy folders."""
