"""The table as values: its columns, the past of a series, labels, spellings, hashes. May import `models.config`."""
