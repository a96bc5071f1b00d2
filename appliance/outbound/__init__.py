"""Telling others: mail, webhooks, and the address at which they find the appliance."""
