"""The admin's pages, a module and a blueprint per subject."""

from webui.admin import (
    accounts,
    classes,
    directory,
    disks,
    events,
    grants,
    groups,
    host,
    importing,
    machines,
    outside,
    overview,
    preferences,
    recovery,
    seeds,
    sequences,
    server,
    signins,
    storage,
    units,
    updates,
    workflow,
)

BLUEPRINTS = [
    module.blueprint
    for module in (
        overview,
        classes,
        seeds,
        machines,
        disks,
        recovery,
        workflow,
        sequences,
        host,
        server,
        storage,
        updates,
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
