"""The DPE Appliance without its web page. Imports no Flask."""

__version__ = "0.1.0"
