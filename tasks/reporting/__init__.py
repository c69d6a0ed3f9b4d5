"""The last stage: the version, the report and everything that a person reads of a run. May import `tasks.evaluation`
and what it may."""
