"""Signing in and out, and a person's own account."""

import re
from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.identity import passwords, ssh_authority, ssh_keys
from appliance.language import LANGUAGES
from appliance.services import accounts, machine_names, password_links, second_factor, sessions, ssh, tokens
from appliance.services import machines as machines_service
from webui import forms, saved_form
from webui.errors import status_of
from webui.format import plural
from webui.forms import SECRET, Form, Ticked
from webui.guard import Arriving, SignIn, actor, back, needs, public, settings

blueprint = Blueprint("auth", __name__)

Page = Response | str | tuple[str, int]


class Code(Arriving):
    code: str = Field(title="Code", description="No phone at hand? Use one of your recovery codes here.", json_schema_extra=SECRET)


class SigningOut(Form):
    swapped: Ticked = False


class NewPassword(Form):
    password: str = Field(
        title="New password",
        description=f"At least {passwords.SHORTEST} characters. A few words in a row are easy to remember.",
        json_schema_extra=SECRET,
    )


class OwnPassword(Form):
    old: str = Field(title="Old password", json_schema_extra=SECRET)
    password: str = Field(
        alias="new",
        title="New password",
        description=f"At least {passwords.SHORTEST} characters. A few words in a row are easy to remember.",
        json_schema_extra=SECRET,
    )


class OwnKeys(Form):
    ssh_keys: str = Field(
        "",
        alias="keys",
        title="Public keys, one a line",
        description="Each is the line in a file like id_ed25519.pub; what stands behind the key is its label. The machines that you hold let "
        "these in, and those that you will.",
    )


class OwnLanguage(Form):
    language: str = Field("", title="Language of pages and mails")


def own_address(address: str) -> str:
    """`address` when it is a page of ours or a machine's application on this host; else the portal. Nobody is sent elsewhere."""
    if not address.isprintable() or re.search(r"[\\\s@]", address):
        return "/"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "/"
    if not parts.scheme and not parts.netloc and re.match(r"/(?!/)", address):
        return address
    ours = urlsplit(f"//{request.host}").hostname
    if parts.scheme == "https" and host and host == ours and settings().behind(port) is not None:
        return parts.geturl()
    return "/"


def start_session(token: str, browser: str = "") -> None:
    """Bind this browser to a session of the server's; nothing of an older one stays. `browser` is what the browser is known by."""
    session.clear()
    session["token"] = token
    session.permanent = sessions.is_kept(token)
    sessions.begin_session(token, settings(), browser[:64])


def _after(asked: str) -> str:
    """Where the page of signing in leads: its address says it, or its form."""
    return own_address(request.args.get("next", asked))


@blueprint.route("/sign-in", methods=["GET", "POST"])
@public
def sign_in() -> Page:
    if request.method == "GET":
        after = _after("/")
        return redirect(after, 303) if current_user.is_authenticated else _sign_in_page(after)
    asked = forms.read(SignIn)
    after = _after(asked.next)
    try:
        browser = asked.browser[:64]
        token, _ = sessions.sign_in(
            asked.name, asked.password, request.remote_addr or "", request.user_agent.string, browser, keep=asked.keep
        )
    except DpeError as error:
        return _sign_in_page(after, asked.kept, error)
    start_session(token, asked.browser)
    if sessions.waiting(token):
        return _code_page(after, asked.kept) if asked.kept else redirect(url_for("auth.code", next=after), 303)
    return _go_on(after, asked.kept)


@blueprint.route("/sign-in/code", methods=["GET", "POST"])
@public
def code() -> Page:
    asked, token = forms.read(Code), session.get("token", "")
    after = _after(asked.next)
    if not sessions.waiting(token):
        return redirect(url_for("auth.sign_in", next=after), 303)
    if request.method == "GET":
        return _code_page(after)
    try:
        given = sessions.give_code(token, asked.code, request.remote_addr or "", request.user_agent.string)
    except DpeError as error:
        return _code_page(after, asked.kept, error)
    start_session(given, asked.browser)
    return _go_on(after, asked.kept)


def _code_page(after: str, kept: str = "", error: DpeError | None = None) -> Page:
    page = render_template("sign_in_code.html", after=after, form=forms.bound(Code, error=error), kept=kept)
    return _allowing_applications(page, status_of(error) if error else 200)


def _go_on(after: str, text: str) -> Page:
    """To where somebody wanted to go, or with the form that they had sent when their session had ended."""
    form = saved_form.read(text)
    return redirect(after, 303) if form is None else render_template("kept.html", form=form, after=after)


def _sign_in_page(after: str, kept: str = "", error: DpeError | None = None) -> Page:
    page = render_template(
        "sign_in.html",
        after=after,
        form=forms.bound(SignIn, error=error),
        kept=kept,
        can_reset=password_links.can_mail(),
        kept_days=sessions.kept_days(),
    )
    return _allowing_applications(page, status_of(error) if error else 200)


def _allowing_applications(page: str, status: int = 200) -> Response:
    """The page, with leave to send on to a machine's application once its form is accepted."""
    answer = Response(page, status=status, mimetype="text/html")
    host = urlsplit(f"//{request.host}").hostname or ""
    if re.fullmatch(r"[a-z0-9.-]+", host):
        # Browsers hold a form's target against this even after a redirect, and a machine's application is on another port, or of another name.
        named = machine_names.origin("*")
        answer.form_targets = f" https://{host}:*{f' {named}' if named else ''}"  # type: ignore[attr-defined]
    return answer


@blueprint.post("/sign-out")
@needs("own")
def sign_out() -> Response:
    swapped = forms.read(SigningOut).swapped
    if swapped:
        sessions.end_swapped(actor(), current_user.session_id)
    else:
        sessions.end_session(actor(), current_user.session_id)
    session.clear()
    if not swapped:
        flash("You are signed out.", "success")
    return redirect(url_for("auth.sign_in"), 303)


@blueprint.get("/account")
@needs("own")
def account() -> Page:
    return _account_page()


def _account_page(error: DpeError | None = None) -> Page:
    who = current_user.account
    page = render_template(
        "account.html",
        account=who,
        sessions=sessions.of_account(who.id),
        password=forms.bound(OwnPassword, error=error),
        keys=forms.bound(OwnKeys, error=error),
        spoken=forms.bound(OwnLanguage, {"language": who.language}, error, choices={"language": {"": "As the browser asks", **LANGUAGES}}),
        ssh_keys=accounts.ssh_keys_of(who.id),
        fingerprint=ssh_keys.fingerprint,
        ways=_ways(who.id),
        kind=ssh_keys.kind,
        held=len(machines_service.my_machines(who.id)),
        codes_on=second_factor.is_on(who.id),
        tokens=tokens.of_account(who.id),
    )
    return page, status_of(error) if error else 200


def _ways(account_id: int) -> list[str]:
    """What is typed to reach each machine that the person holds through the appliance's SSH server, if that is there."""
    through = f"ssh -J {ssh.USER}@{urlsplit(request.host_url).hostname}:{settings().ssh_port}"
    return [f"{through} {user}@{address}" for user, address in ssh.reached_by(account_id, settings())] if ssh.wanted() else []


@blueprint.post("/account/password")
@needs("own")
def password() -> Page:
    try:
        asked = forms.read(OwnPassword)
        accounts.change_own_password(actor(), asked.old, asked.password, keep_session=current_user.session_id)
    except DpeError as error:
        return _account_page(error)
    flash("Your password is changed; other browsers are signed out, and your tokens are ended.", "success")
    return redirect(url_for("auth.account"), 303)


@blueprint.route("/account/new-password", methods=["GET", "POST"])
@needs("own")
def new_password() -> Page:
    """What comes before everything else for who has a password that somebody else chose."""
    error = None
    if request.method == "POST":
        try:
            accounts.replace_password(actor(), forms.read(NewPassword).password, keep_session=current_user.session_id)
            flash("Your password is set.", "success")
            return redirect("/", 303)
        except DpeError as refused:
            error = refused
    page = render_template("account_new_password.html", form=forms.bound(NewPassword, error=error))
    return page, status_of(error) if error else 200


@blueprint.post("/account/keys")
@needs("own")
def keys() -> Page:
    try:
        accounts.add_ssh_keys(actor(), forms.read(OwnKeys).ssh_keys)
    except DpeError as error:
        return _account_page(error)
    flash("Your keys are saved; the machines that you hold get them in a moment.", "success")
    return redirect(url_for("auth.account"), 303)


@blueprint.post("/account/language")
@needs("own")
def language() -> Page:
    try:
        accounts.set_language(actor(), forms.read(OwnLanguage).language)
    except DpeError as error:
        return _account_page(error)
    return redirect(url_for("auth.account"), 303)


@blueprint.post("/account/keys/<int:id>/remove")
@needs("own")
def remove_key(id: int) -> Response:
    accounts.remove_ssh_key(actor(), id)
    flash("The key is removed; the machines that you hold forget it in a moment.", "success")
    return back()


@blueprint.get("/download/known-hosts")
@needs("own")
def known_hosts() -> Response:
    """The line with which a computer knows every machine that the appliance signed the host key of."""
    return Response(ssh_authority.known_hosts(settings().ssh_names) + "\n", mimetype="text/plain")


@blueprint.post("/account/sessions/end-others")
@needs("own")
def end_others() -> Response:
    ended = sessions.end_others(actor(), current_user.session_id)
    flash(f"{plural(ended, 'other browser')} signed out." if ended else "No other browser was signed in.", "success")
    return back()


@blueprint.post("/account/sessions/<id>/end")
@needs("own")
def end_session(id: str) -> Response:
    sessions.end_session(actor(), id)
    return back()
