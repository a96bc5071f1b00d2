"""The admin's pages, a module and a blueprint per subject."""

from webui.admin import accounts, classes, directory, events, importing, machines, overview, preferences, seeds, signins

BLUEPRINTS = [
    module.blueprint for module in (overview, classes, seeds, machines, accounts, importing, directory, signins, events, preferences)
]
