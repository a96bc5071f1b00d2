"""Events are delivered to a webhook while whoever delivers them is killed again and again: each that was committed arrives, and no other."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from appliance import catalog
from appliance.catalog import EventKind, WebhookDelivery, record
from appliance.identity import secrets
from appliance.services import webhooks
from appliance.settings import REPOSITORY, Settings, environment
from tests.receiver import Receiver, serving
from tests.waiting import until

pytestmark = [pytest.mark.webhook, pytest.mark.kills]

KILLS = int(os.environ.get("DPE_TEST_KILLS", "3"))
SEED = int(os.environ.get("DPE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
EACH = 12  # events for each kill

DELIVERS = """
import time
from appliance import catalog
from appliance.identity import secrets
from appliance.outbound import subscriptions
from appliance.settings import load

settings = load()
catalog.open(settings.catalog)
secrets.open(settings.web_secret)
while True:
    subscriptions.send_due(1)
    time.sleep(0.002)
"""


def happen(number: int) -> None:
    """An event, and one that was rolled back."""
    with pytest.raises(KeyboardInterrupt), catalog.write():
        record(EventKind.MACHINE_READY, f"rolled back {number}")
        raise KeyboardInterrupt
    with catalog.write():
        record(EventKind.MACHINE_READY, f"{number}")


def called(receiver: Receiver, count: int) -> None:
    """Wait until it was called so often; at random moments between two calls is where it is to be killed."""
    until(lambda: len(receiver.calls) >= count, every=0.001)


def test_none_is_lost_and_none_is_made_up(opened: Settings) -> None:
    print(f"DPE_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    opened.web_secret.write_bytes(b"k" * 32)
    secrets.open(opened.web_secret)
    with serving() as receiver:
        webhooks.create(catalog.Actor("grace", None), "House", receiver.url, ["machine"])
        committed = 0
        for turn in range(KILLS + 1):
            words = [sys.executable, "-c", DELIVERS]
            with subprocess.Popen(words, cwd=REPOSITORY, env=environment(opened), start_new_session=True) as process:
                try:
                    for number in range(committed, committed + EACH):
                        happen(number)
                    committed += EACH
                    if turn < KILLS:
                        called(receiver, len(receiver.calls) + chance.randrange(1, EACH))
                        time.sleep(chance.random() / 100)  # in the middle of a write, or of a call
                    else:
                        deadline = time.monotonic() + 60
                        while WebhookDelivery.select().where(WebhookDelivery.state == "delivered").count() < committed:
                            assert time.monotonic() < deadline
                            catalog.close()
                            time.sleep(0.01)
                finally:
                    os.killpg(process.pid, signal.SIGKILL)
        told: dict[str, set[str]] = {}
        for message, headers in ((body.decode().split('"message":"')[1].split('"')[0], headers) for _, headers, body in receiver.calls):
            told.setdefault(message, set()).add(headers["webhook-id"])
    assert sorted(told, key=int) == [str(number) for number in range(committed)]
    assert all(len(ids) == 1 for ids in told.values()), "who is told twice can see that it is the same"
    assert len(receiver.calls) <= committed + KILLS, "once more for each kill at most"
