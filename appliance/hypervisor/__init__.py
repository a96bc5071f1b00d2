"""What runs machines. Knows no catalog."""
