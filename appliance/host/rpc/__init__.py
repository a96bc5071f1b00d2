"""How the other processes ask `dpe-host`: what a verb is (`verb`), who does it (`registry`), and what crosses the socket (`wire`).

`appliance.host.interface` declares the verbs, `appliance.host.client` uses them, `appliance.host.daemon` answers.
"""
