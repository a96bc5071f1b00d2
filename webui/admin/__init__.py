"""The admin's pages, a module and a blueprint per subject."""

from webui.admin import accounts, classes, events, machines, overview, preferences, seeds

BLUEPRINTS = [module.blueprint for module in (overview, classes, seeds, machines, accounts, events, preferences)]
