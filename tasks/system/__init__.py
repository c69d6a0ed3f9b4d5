"""What this machine and its users give: processes, locks, memory, disk, logins, secrets. Imports no other room."""
