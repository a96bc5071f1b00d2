"""From a class to a sealed, test-booted seed, through playbooks."""
