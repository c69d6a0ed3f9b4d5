"""Users' texts made safe for where they are shown: addresses without passwords, markdown, names in a terminal."""
