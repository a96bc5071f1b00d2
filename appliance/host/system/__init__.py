"""This server: hardware, network, clock, certificate, processes, logs."""
