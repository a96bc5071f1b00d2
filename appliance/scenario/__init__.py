"""What this appliance is for: reading a scenario folder."""
