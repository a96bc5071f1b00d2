"""A machine's states, and the moves between them."""
