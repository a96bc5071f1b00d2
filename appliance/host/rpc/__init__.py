"""How dpe-host is asked: verbs, the process that has them, its client, and long operations."""
