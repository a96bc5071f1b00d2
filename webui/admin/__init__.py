"""The admin's pages, a module and a blueprint per subject."""

from webui.admin import (
    accounts,
    classes,
    directory,
    events,
    grants,
    groups,
    host,
    importing,
    machines,
    outside,
    overview,
    preferences,
    seeds,
    signins,
    units,
    workflow,
)

BLUEPRINTS = [
    module.blueprint
    for module in (
        overview,
        classes,
        seeds,
        machines,
        workflow,
        host,
        accounts,
        units,
        groups,
        grants,
        importing,
        directory,
        signins,
        events,
        preferences,
        outside,
    )
]
