"""The command line of the DPE Appliance, and its client for Python. It imports nothing of the appliance: all it knows is the REST API."""
