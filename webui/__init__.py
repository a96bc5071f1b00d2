"""The web page: Flask, a blueprint per area."""
