"""One file per command of `nestor`: what it takes and does. Imports are late: each command pays for its own."""
