"""Versions in the model registry: how one is made, signed, read back and served.
May import `tasks.tracking` and what it may."""
