"""The journal's copy for Weights & Biases, written by a process of its own."""
