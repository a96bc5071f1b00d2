"""Classes and their policy."""

from appliance import catalog
from appliance.catalog import Actor, Class, doorbell, now, record
from appliance.errors import BadInput, NotFound
from appliance.people import powers

LIMITS = {
    "minimum": (0, 10_000),
    "maximum": (0, 10_000),
    "buffer": (0, 10_000),
    "lease_minutes": (1, 525_600),
    "extend_minutes": (0, 525_600),
    "extensions": (0, 1000),
    "per_person": (1, 1000),
}


def everything() -> list[Class]:
    """All classes, by name."""
    return list(Class.select().order_by(Class.name))


def visible(actor: Actor, permission: str = "classes.read") -> list[Class]:
    """The classes within the actor's reach, by name."""
    reach = powers.reach(actor, permission)
    return [cls for cls in everything() if reach.everything or cls.name in reach.classes]


def get(name: str) -> Class:
    """The class. Raises NotFound."""
    cls: Class | None = Class.get_or_none(Class.name == name)
    if cls is None:
        raise NotFound(f"There is no class {name}.")
    return cls


def set_policy(actor: Actor, name: str, **values: int) -> None:
    """Change any of the numbers in LIMITS. Raises BadInput naming what does not fit; nothing is changed then."""
    for key, value in values.items():
        low, high = LIMITS[key]
        if not low <= value <= high:
            raise BadInput(f"{key.replace('_', ' ').capitalize()} cannot be {value}.", f"It is between {low} and {high}.")
    with catalog.write():
        cls = get(name)
        before = {key: getattr(cls, key) for key in values}
        for key, value in values.items():
            setattr(cls, key, value)
        for key in ("minimum", "buffer"):
            if getattr(cls, key) > cls.maximum:
                raise BadInput(
                    f"{key.capitalize()} ({getattr(cls, key)}) is above the maximum ({cls.maximum}).", "Raise the maximum or lower it."
                )
        cls.updated_at = now()
        cls.save()
        record("class.policy", f"{actor.name} changed the policy of {name}.", actor, class_name=name, before=before, after=values)
    doorbell.ring()


def set_enabled(actor: Actor, name: str, *, enabled: bool) -> None:
    """Offer the class or withdraw it; machines that are held stay, the buffer goes."""
    with catalog.write():
        cls = get(name)
        cls.enabled = enabled
        cls.save()
        record(
            "class.enabled" if enabled else "class.disabled",
            f"{actor.name} {'opened' if enabled else 'closed'} {name}.",
            actor,
            class_name=name,
        )
    doorbell.ring()


def retry(actor: Actor, name: str) -> None:
    """Try again at once to refill a class whose machines failed to come up."""
    with catalog.write():
        Class.update(failures=0, failing_until=None, problem="").where(Class.name == get(name).name).execute()
        record("class.retry", f"{actor.name} asked to try {name} again.", actor, class_name=name)
    doorbell.ring()
