"""Accounts: who may come in."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import ROOT
from appliance.catalog import accounts as account_rows
from appliance.catalog.accounts import AccountRow
from appliance.catalog.grants import Scope, below
from appliance.catalog.listing import Page as Rows
from appliance.catalog.listing import Window
from appliance.errors import DpeError
from appliance.identity import passwords
from appliance.identity.roles import ROLES
from appliance.services import accounts, audit, delegation, offboarding, org_units, password_links
from appliance.services import machines as machines_service
from webui import forms, lists
from webui.errors import status_of
from webui.format import qr_code
from webui.forms import SECRET, Form, Line, OneOf, Ticked
from webui.guard import actor, needs
from webui.lists import Column, Filter, List, Verb
from webui.reauth import requires_reauth, requires_reauth_unless

blueprint = Blueprint("accounts", __name__, url_prefix="/admin/accounts")

Page = Response | tuple[str, int]


def _find(
    window: Window, reach: Scope, ids: Iterable[int] | None, text: str = "", unit: str = "", role: str = "", state: str = ""
) -> Rows[AccountRow]:
    units = below([int(unit)]) if unit else None
    return account_rows.list_accounts(
        window, reach, ids, text=text, units=units, role=role, disabled=state == "disabled" if state else None
    )


def units_within(permission: str) -> Mapping[str, str]:
    """The org units over which somebody holds the permission, each with its path."""
    return {str(line.unit.id): line.path for line in org_units.tree(actor(), permission)}


def columns(*hidden: str) -> tuple[Column, ...]:
    """What a list of accounts shows; those that are `hidden` not at first."""
    return (
        Column("name", "Name", lambda row: row.account.name),
        Column("full_name", "Full name", lambda row: row.account.full_name),
        Column("email", "E-mail", lambda row: row.account.email, shown="email" not in hidden),
        Column("roles", "Roles", lambda row: row.roles, sorts=False, shown="roles" not in hidden),
        Column("unit", "Org unit", lambda row: row.account.org_unit.name, shown="unit" not in hidden),
        Column("state", "State", lambda row: "disabled" if row.account.disabled else "enabled"),
        Column("machines", "Machines", lambda row: row.machines, look="num"),
        Column("created", "Created", lambda row: row.account.created_at, shown=False, look="text-secondary"),
        Column("seen", "Last seen", lambda row: row.seen_at or "", look="end text-secondary"),
    )


MOVE = Verb(
    "move", "Move", "moved to", lambda actor, id, to: org_units.move_people(actor, [id], int(to)), "people.manage",
    to=lambda: units_within("people.manage"), to_title="Move to",
)  # fmt: skip

ACCOUNTS = List(
    endpoint="accounts.index",
    permission="people.read",
    noun="account",
    thing="account",
    misses="No account is called like that.",
    key=int,
    find=_find,
    order="name",
    columns=columns(),
    filters=(
        Filter("text", "Name or e-mail", kind="text"),
        Filter("unit", "Org unit", choices=lambda: units_within("people.read"), every="Every org unit"),
        Filter("role", "Role", choices=lambda: {name: role.title for name, role in ROLES.items()}, every="Every role"),
        Filter("state", "State", choices=lambda: {"enabled": "enabled", "disabled": "disabled"}, every="Every state"),
    ),
    verbs=(
        Verb("enable", "Enable", "enabled", lambda actor, id, _: accounts.enable(actor, id), "people.manage", "check", reauth=True),
        Verb(
            "disable", "Disable", "disabled", lambda actor, id, _: accounts.disable(actor, id), "people.manage", "lock",
            "They are signed out and cannot sign in until they are enabled again. Machines they hold stay until their leases end.", reauth=True,
        ),
        Verb(
            "invite", "Mail invitation", "invited by mail", lambda actor, id, _: password_links.invite(actor, id, by_mail=True),
            "people.manage", "arrow-right", reauth=True,
        ),
        MOVE,
    ),
    verb_endpoint="accounts.bulk",
)  # fmt: skip


@blueprint.get("/")
@needs("people.read")
def index() -> Response | str:
    return lists.answer("admin/accounts.html", lists.show(ACCOUNTS), ROLES=ROLES)


@blueprint.post("/bulk")
@needs("people.manage")
@requires_reauth_unless(lambda **_: lists.is_harmless(ACCOUNTS))
def bulk() -> Page:
    return lists.bulk(ACCOUNTS)


class Details(Form):
    """Who it is; what is empty is not known."""

    full_name: Line = Field("", max_length=100, title="Full name")
    email: Line = Field("", max_length=200, title="E-mail")
    ssh_keys: Line = Field("", title="Public SSH keys, one a line")


class Password(Form):
    password: str = Field(
        title="Password",
        description=f"At least {passwords.SHORTEST} characters. It is shown nowhere again: tell it to its owner, who changes it first of all.",
        json_schema_extra=SECRET,
    )


class NewAccount(Details):
    password: str = Field(
        "",
        title="Password",
        description="Leave it empty to invite them: they choose one by a link, which is mailed where mail reaches them and else shown to you. One "
        f"that you choose has at least {passwords.SHORTEST} characters, and they change it first of all.",
        json_schema_extra=SECRET,
    )
    name: Line = Field(
        title="Name to sign in with", description="Letters, digits, dots, dashes and underscores. It cannot be changed later."
    )
    unit: int = Field(ROOT, title="Org unit")


class Enabled(Form):
    """A button that switches something on or off."""

    enabled: Ticked = False


@blueprint.route("/new", methods=["GET", "POST"])
@needs("people.manage")
def new() -> Page:
    error = None
    if request.method == "POST":
        try:
            asked = forms.read(NewAccount)
            return _created(asked)
        except DpeError as refused:
            error = refused
    units = {line.unit.id: line.path for line in org_units.tree(actor(), "people.manage")}
    stored = {"unit": next(iter(units), ROOT)}
    form = forms.bound(NewAccount, stored, error, choices={"unit": units}, keep=True)  # the password too: it may have been made here
    return render_template("admin/account_new.html", form=form), status_of(error) if error else 200


def _created(asked: NewAccount) -> Page:
    made = accounts.create(actor(), **asked.model_dump(exclude={"unit"}), org_unit_id=asked.unit)
    if not asked.password:
        return invited(
            password_links.invite(actor(), made.id, by_mail=bool(made.email) and password_links.can_mail(), here=request.host_url)
        )
    flash(f"The account {asked.name} is created. Tell its owner the password; they change it first of all.", "success")
    return redirect(url_for("accounts.index"), 303)


def invited(found: password_links.Invited) -> Page:
    """That somebody was written to, or the link to hand over, which no address and no cookie has."""
    if not found.link:
        flash(f"An invitation is mailed to {found.account.email}.", "success")
        return redirect(url_for("accounts.page", id=found.account.id), 303)
    return render_template("admin/invitation.html", invited=found, account=found.account, picture=qr_code(found.link)), 200


@blueprint.get("/<int:id>")
@needs("people.read", account="id")
def page(id: int) -> Page:
    return _page(id)


@blueprint.post("/<int:id>")
@needs("people.manage", account="id")
def change(id: int) -> Page:
    try:
        accounts.update(actor(), id, **forms.read(Details).model_dump())
    except DpeError as error:
        return _page(id, error)
    flash("Saved.", "success")
    return redirect(url_for("accounts.page", id=id), 303)


def _page(id: int, error: DpeError | None = None) -> Page:
    account = accounts.get_account(id)
    stored = {"full_name": account.full_name, "email": account.email, "ssh_keys": accounts.ssh_keys_text(id)}
    page = render_template(
        "admin/account.html",
        account=account,
        form=forms.bound(Details, stored, error),
        held=len(machines_service.my_machines(id)),
        groups=org_units.groups_of(actor(), id),
        reasons=delegation.why(actor(), account),
        quotas=delegation.quotas_of(actor(), id),
        over=delegation.over,
        ROLES=ROLES,
    )
    return page, status_of(error) if error else 200


@blueprint.get("/<int:id>/machines")
@needs("people.read", account="id")
def belongings(id: int) -> str:
    return render_template("admin/belongings.html", account=accounts.get_account(id), has=offboarding.belongings(id))


@blueprint.get("/<int:id>/events")
@needs("events.read", account="id")
def events(id: int) -> str:
    account = accounts.get_account(id)
    return render_template("admin/account_events.html", account=account, events=audit.about(account))


class Deleting(Form):
    """What becomes of what somebody has."""

    disks: Annotated[str, OneOf(offboarding.FATES)] = Field("keep", title="Their data disks")
    retained: Annotated[str, OneOf(offboarding.FATES)] = Field("keep", title="Their retained disks")
    to: Line = Field(
        "",
        max_length=100,
        title="Who gets what is handed over",
        description="The name of an account.",
        json_schema_extra=forms.lookup("person"),
    )


@blueprint.route("/<int:id>/delete", methods=["GET", "POST"])
@needs("people.manage", account="id")
@requires_reauth
def delete(id: int) -> Page:
    account, error = accounts.get_account(id), None
    try:
        if request.method == "POST":
            name = offboarding.delete(actor(), id, offboarding.Plan(**forms.read(Deleting).model_dump()))
            flash(f"The account {name} is deleted.", "success")
            return redirect(url_for("accounts.index"), 303)
        offboarding.check(actor(), account)
    except DpeError as refused:
        error = refused
    has = offboarding.belongings(id)
    page = render_template(
        "admin/account_delete.html",
        account=account,
        has=replace(has, groups=[group for group in has.groups if current_user.may("people.read", "group", group.id)]),
        form=forms.bound(Deleting, {"disks": "keep", "retained": "keep"}, error),
        error=error,
        refused=error is not None and request.method == "GET",
    )
    return page, status_of(error) if error and request.method == "POST" else 200


@blueprint.post("/<int:id>/enabled")
@needs("people.manage", account="id")
@requires_reauth
def enabled(id: int) -> Response:
    wanted = forms.read(Enabled).enabled
    (accounts.enable if wanted else accounts.disable)(actor(), id)
    flash(f"{accounts.get_account(id).name} may {'sign in again' if wanted else 'not sign in any more'}.", "success")
    return redirect(url_for("accounts.page", id=id), 303)
