"""What was answered to creates that came with an idempotency key: kept in the transaction that creates, so that either both are there or neither."""

from datetime import timedelta

from appliance.catalog.models import IdempotencyKey, now

KEPT = timedelta(days=1)


def find(account_id: int, key: str) -> IdempotencyKey | None:
    """What was answered to this key of the account's within the last day."""
    found: IdempotencyKey | None = IdempotencyKey.get_or_none(
        IdempotencyKey.account == account_id, IdempotencyKey.key == key, IdempotencyKey.created_at > now() - KEPT
    )
    return found


def keep(account_id: int, key: str, *, request: str, status: int, body: str, location: str) -> None:
    """Keep an answer, and forget those of yesterday; call it inside the `write()` that creates. `request` is the digest of what was asked."""
    IdempotencyKey.delete().where(IdempotencyKey.created_at <= now() - KEPT).execute()
    IdempotencyKey.create(account=account_id, key=key, request=request, status=status, body=body, location=location)
