"""A run on disk: its folder, its journal, its ledger of seconds, its events, what resume takes up. May import
`tasks.data` and `tasks.system`."""
