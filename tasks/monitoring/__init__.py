"""Later rows against a version: drift, its page, and the events that Prefect's automations act on. May import
`tasks.scoring`, `tasks.reporting` and what these may."""
