"""How somebody else gets in, below /api/v1/admin/accounts/: their sessions, API tokens and one-time codes, looked at and ended."""

from appliance.catalog import Session, Token
from appliance.services import accounts, second_factor, sessions, tokens
from webui.api import schemas
from webui.api.admin import Answer
from webui.api.mine import _time
from webui.api.operation import blueprint, operation
from webui.guard import actor, needs


def _session(row: Session) -> schemas.Session:
    return {
        "id": row.id,
        "browser": row.agent,
        "address": row.address,
        "created_at": _time(row.created_at),
        "seen_at": _time(row.seen_at),
        "expires_at": _time(row.expires_at),
    }


@blueprint.get("/admin/accounts/<int:id>/sessions")
@needs("people.manage", account="id")
@operation("admin:read", {200: schemas.Sessions})
def account_sessions(id: int) -> Answer:
    """Where somebody is signed in."""
    return {"items": [_session(row) for row in sessions.of_account(accounts.get_account(id).id)]}


@blueprint.delete("/admin/accounts/<int:id>/sessions/<session_id>")
@needs("people.manage", account="id")
@operation("admin:people", {204: None})
def end_account_session(id: int, session_id: str) -> Answer:
    """Sign somebody out of one browser."""
    sessions.end_of(actor(), id, session_id)
    return {}, 204


def _token(row: Token) -> schemas.AccountToken:
    return {
        "id": row.id,
        "name": row.name,
        "ending": row.ending,
        "scope": row.scope,
        "created_at": _time(row.created_at),
        "expires_at": _time(row.expires_at),
        "used_at": _time(row.used_at),
        "address": row.address,
    }


@blueprint.get("/admin/accounts/<int:id>/tokens")
@needs("people.manage", account="id")
@operation("admin:read", {200: schemas.AccountTokens})
def account_tokens(id: int) -> Answer:
    """Somebody's API tokens, without what they sign in with; expired ones too, until they are ended."""
    return {"items": [_token(row) for row in tokens.of_account(accounts.get_account(id).id)]}


@blueprint.delete("/admin/accounts/<int:id>/tokens/<int:token_id>")
@needs("people.manage", account="id")
@operation("admin:people", {204: None})
def end_account_token(id: int, token_id: int) -> Answer:
    """End one of somebody's API tokens: nothing that uses it gets in any more."""
    tokens.end_token(actor(), id, token_id)
    return {}, 204


@blueprint.get("/admin/accounts/<int:id>/one-time-codes")
@needs("people.manage", account="id")
@operation("admin:read", {200: schemas.OneTimeCodes})
def account_codes(id: int) -> Answer:
    """Whether somebody is asked for one-time codes, and whether a role of theirs needs some that are not set up."""
    account = accounts.get_account(id)
    return {"on": second_factor.is_on(account.id), "missing": second_factor.is_missing(account.id)}


@blueprint.delete("/admin/accounts/<int:id>/one-time-codes")
@needs("people.manage", account="id")
@operation("admin:people", {204: None}, confirms=True)
def remove_account_codes(id: int) -> Answer:
    """Ask somebody whose phone is gone for codes no more, until they set up new ones; 404 when they are off."""
    second_factor.remove(actor(), id)
    return {}, 204
