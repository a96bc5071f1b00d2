"""Backup of the appliance and its restore; copies of the catalog."""
