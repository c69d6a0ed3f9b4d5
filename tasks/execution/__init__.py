"""The pool of worker processes, and the fit that a worker does. May import `tasks.run` and what it may."""
