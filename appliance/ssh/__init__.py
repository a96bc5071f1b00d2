"""The appliance's own SSH server: a way to machines for whoever has no `dpe`, and nothing else. See README.md."""
