"""Classes: their policy, how their machines are made, seeds and machines."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.catalog import seeds as seed_rows
from appliance.errors import BadInput, DpeError
from appliance.services import classes, overview, seeds
from webui.errors import status_of
from webui.guard import actor, back, needs

blueprint = Blueprint("classes", __name__, url_prefix="/admin/classes")

# Name, label, unit and what it means; the limits are the service's.
POOLS = [
    ("buffer", "Ready and waiting", "machines", "Kept unassigned, so that a person gets one at once."),
    ("minimum", "At least", "machines", "Exist in any case, assigned or not."),
    ("maximum", "At most", "machines", "Never more than these, assigned or not, whatever is asked for."),
]
LEASE = [
    ("lease_minutes", "A lease lasts", "minutes", "When it ends, the machine is destroyed with everything on it."),
    ("extend_minutes", "An extension adds", "minutes", "0 means that leases cannot be extended."),
    ("extensions", "Extensions", "times", "How often a person may extend one lease."),
    ("warn_first", "First warning", "minutes", "Before the end, by e-mail; at most a quarter of the lease. 0 means none."),
    ("warn_last", "Last warning", "minutes", "Before the end, by e-mail and on the page; at most an eighth of the lease. 0 means none."),
    (
        "busy_grace",
        "Kept while busy",
        "minutes",
        "After the end, at most, while the machine computes, sends or writes. 0 means not at all.",
    ),
    ("per_person", "Machines per person", "at once", "How many of this class one person may hold."),
]
# The same of a machine's life; of each group a heading first.
LIFE = {
    "What belongs to it": [
        ("data_disk", "Data disk", "GiB", "Outlives the machine: its owner's next one gets it again. 0 means none."),
    ],
    "Several at once": [
        ("at_once", "At once", "machines", "One request may be for so many; it gets all of them together, or none. 1 means one at a time."),
        ("together_minutes", "Refused after", "minutes", "A request for several, when so many were never there together."),
    ],
    "When nobody uses it": [
        ("idle_minutes", "Idle after", "minutes", "Without any sign of use. 0 means that it is never taken for idle."),
        ("idle_grace", "Warned for", "minutes", "Its owner sees a warning for so long, which any use ends; then follows what is chosen here."),
    ],
    "When it is never opened": [
        ("connect_minutes", "Opened within", "minutes", "A machine that was never opened by then is taken back. 0 means no limit."),
    ],
}  # fmt: skip
IDLE_THEN = {
    "reclaim": ("It is taken back", "The machine is destroyed, and another person can have its place."),
    "suspend": ("It is suspended", "Its memory is saved to disk and freed; its owner lets it go on where it was, until the lease ends."),
}
READINESS = {
    "paused": ("Paused", "Made, then halted. Takes no processor and, forked, little memory; goes on at once when somebody gets it."),
    "running": ("Running", "Answers a little sooner, and takes memory and processor all the while."),
    "cold": ("Cold", "A disk only. Costs nothing until it is asked for; then it takes a moment longer, and without forking a whole boot."),
}


@blueprint.get("/")
@needs("classes.read")
def index() -> str:
    return render_template("admin/classes.html", pools=overview.pools(current_user.powers.reach("classes.read")))


@blueprint.get("/<name>")
@needs("classes.read", class_="name")
def page(name: str) -> tuple[str, int]:
    return _page(name)


@blueprint.post("/<name>")
@needs("classes.manage", class_="name")
def policy(name: str) -> Response | tuple[str, int]:
    try:
        classes.set_policy(actor(), name, **_numbers(POOLS + LEASE))
    except DpeError as refused:
        return _page(name, policy_error=refused)
    flash("The policy is saved; the pools follow it from now on.", "success")
    return redirect(url_for("classes.page", name=name), 303)


@blueprint.post("/<name>/making")
@needs("classes.manage", class_="name")
def making(name: str) -> Response | tuple[str, int]:
    try:
        classes.set_making(actor(), name, fork=request.form.get("fork") == "yes", readiness=request.form.get("readiness", ""))
    except BadInput as refused:
        return _page(name, making_error=refused)
    flash("Saved. Machines are made like that from now on; those that exist stay as they are.", "success")
    return redirect(url_for("classes.page", name=name), 303)


@blueprint.post("/<name>/life")
@needs("classes.manage", class_="name")
def life(name: str) -> Response | tuple[str, int]:
    sequence, then = request.form.get("sequence", ""), request.form.get("idle_then", "")
    try:
        classes.set_life(
            actor(), name, sequence=sequence, idle_then=then, **_numbers([field for group in LIFE.values() for field in group])
        )
    except DpeError as refused:
        return _page(name, life_error=refused)
    flash("Saved. What is under way ends as it began; everything else goes by this from now on.", "success")
    return redirect(url_for("classes.page", name=name), 303)


def _page(
    name: str, *, policy_error: DpeError | None = None, making_error: DpeError | None = None, life_error: DpeError | None = None
) -> tuple[str, int]:
    classes.get(name)
    pools = next(pools for pools in overview.pools() if pools.cls.name == name)
    error = policy_error or making_error or life_error
    page = render_template(
        "admin/class.html",
        pools=pools,
        cls=pools.cls,
        values=request.form,
        policy_error=policy_error,
        making_error=making_error,
        life_error=life_error,
        sequences=classes.choices(),
        seeds=seed_rows.of_class(name)[:6],
        offers=seeds.offers(),
        machines=overview.machines_on_page(class_name=name, reach=current_user.powers.reach("machines.read"))[:8],
        POOLS=POOLS,
        LEASE=LEASE,
        READINESS=READINESS,
        LIFE=LIFE,
        IDLE_THEN=IDLE_THEN,
        LIMITS=classes.LIMITS | classes.LIFE,
    )
    return page, status_of(error) if error else 200


def _numbers(fields: list[tuple[str, str, str, str]]) -> dict[str, int]:
    numbers = {}
    for name, label, *_ in fields:
        text = request.form.get(name, "").strip()
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise BadInput(f"{label}: {text!r} is not a number." if text else f"{label}: a number is missing.", "Write a whole number.")
        numbers[name] = int(text)
    return numbers


@blueprint.post("/<name>/enabled")
@needs("classes.manage", class_="name")
def enabled(name: str) -> Response:
    wanted = request.form.get("enabled") == "yes"
    classes.set_enabled(actor(), name, enabled=wanted)
    flash(f"{name} is {'open' if wanted else 'closed'} for new requests.", "success")
    return back()


@blueprint.post("/<name>/retry")
@needs("classes.manage", class_="name")
def retry(name: str) -> Response:
    classes.retry(actor(), name)
    flash(f"Trying {name} again.", "success")
    return back()


@blueprint.post("/<name>/fork-again")
@needs("classes.manage", class_="name")
def fork_again(name: str) -> Response:
    classes.try_fork_again(actor(), name)
    flash(f"Another snapshot of {name} is taken; its machines are forked when it is ready.", "success")
    return back()


@blueprint.post("/<name>/build")
@needs("seeds.manage", class_="name")
def build(name: str) -> Response:
    seed = seeds.build(name, actor())
    return redirect(url_for("seeds.page", id=seed.id), 303)


@blueprint.post("/<name>/use-shipped")
@needs("seeds.manage", class_="name")
def use_shipped(name: str) -> Response:
    seed = seeds.use_shipped(name, actor())
    return redirect(url_for("seeds.page", id=seed.id), 303)
