"""Mathematics of ScoRe-Flow in pure torch; knows nothing of Ray, environments or datasets."""
