"""What the fork server loads before it makes workers: everything a fit needs and nothing else."""

import tasks.fit  # noqa: F401
from models.families import families

families()
