"""How many machines there should be: pure functions of numbers."""
