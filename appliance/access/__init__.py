"""How a machine's application is reached: the front door."""
