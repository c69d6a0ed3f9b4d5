"""What the fork server loads before it makes workers: everything a fit needs and nothing else."""

import os

import tasks.fit  # noqa: F401
from models.families import families

families()

# A group of its own: a signal to the whole group of a run (Ctrl-C, a worker that cancels) is for the run, which ends
# its fits itself. Killed under it, a fit would stand as failed.
os.setpgid(0, 0)
