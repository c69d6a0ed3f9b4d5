"""Later tables against the one that a model was trained on: its profile, its schema, drift. May import
`models.evaluation` and what it may."""
