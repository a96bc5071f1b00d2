"""What was answered to creates that came with an idempotency key: kept in the transaction that creates, so that either both are there or neither."""

from datetime import timedelta

from appliance.catalog.database import found, rows
from appliance.catalog.models import IdempotencyKey, now, stamp

KEPT = timedelta(days=1)


def find(account_id: int, key: str) -> IdempotencyKey | None:
    """What was answered to this key of the account's within the last day."""
    known = found(IdempotencyKey, "account_id = ? AND key = ? AND created_at > ?", (account_id, key, stamp(now() - KEPT)))
    return known[0] if known else None


def keep(account_id: int, key: str, *, request: str, status: int, body: str, location: str) -> None:
    """Keep an answer, and forget those of yesterday; call it inside the `write()` that creates. `request` is the digest of what was asked."""
    moment = now()
    rows("DELETE FROM idempotency_key WHERE created_at <= ?", (stamp(moment - KEPT),))
    rows(
        "INSERT INTO idempotency_key (account_id, key, request, status, body, location, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (account_id, key, request, status, body, location, stamp(moment)),
    )
