"""New rows predicted by a version. May import `tasks.registry` and what it may."""
