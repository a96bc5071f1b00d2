"""dpe-console: people at screens and serial lines of machines. See README.md."""
