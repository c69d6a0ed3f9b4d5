"""What a person sees of a command: the live display, tables, messages, what to type next."""
