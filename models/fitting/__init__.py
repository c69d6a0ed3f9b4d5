"""What families are made of: the record that describes one, how one is fitted, and parts that several share. May import
`models.data`, `models.metrics` and what these may; no family and no search."""
