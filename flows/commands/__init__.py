"""One file per command of `nestor`: its options, and what it does. Imports are late: each command pays for its own."""
