"""Requests to services are shared among their replicas, by HAProxy."""
