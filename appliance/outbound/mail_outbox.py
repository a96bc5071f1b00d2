"""Mail that the catalog says is to be sent: handed to the server, tried again while that is away, and forgotten once it is there."""

import logging
from datetime import timedelta

from appliance import catalog
from appliance.backoff import doubled
from appliance.catalog import EventKind, now, outgoing_mail, record
from appliance.errors import DpeError, Unavailable
from appliance.identity import secrets
from appliance.outbound import address, mail

log = logging.getLogger(__name__)

FIRST, LONGEST = timedelta(minutes=1), outgoing_mail.LONGEST_WAIT  # waits between tries, doubling
GIVEN_UP = timedelta(days=3)
PURPOSE = "link"  # of what a mail's link ends with


def send_due() -> None:
    """Send what is due. A message that was sent but not forgotten, because the process died in between, is sent again as the same message."""
    for letter in outgoing_mail.due_mail(now()):
        try:
            link = address.link(letter.path)
            if link and letter.secret:
                link = f"{link}#{secrets.unseal(PURPOSE, letter.secret)}"
            if letter.to and mail.current() is not None:
                mail.send(letter.to, letter.subject, f"{letter.text}\n\n{link}" if link else letter.text, id=letter.about)
        except Unavailable as error:
            if now() - letter.created_at < GIVEN_UP:
                with catalog.write():
                    outgoing_mail.defer_mail(letter.id, now() + doubled(FIRST, letter.tries, LONGEST))
                log.warning("mail to %s: %s", letter.to, error)
                return  # the next one would most likely meet the same
            _give_up(letter, error)
        except DpeError as error:
            _give_up(letter, error)
        else:
            with catalog.write():
                outgoing_mail.delete_mail(letter.id)


def _give_up(letter: outgoing_mail.Letter, error: DpeError) -> None:
    with catalog.write():
        outgoing_mail.delete_mail(letter.id)
        record(EventKind.MAIL_REFUSED, f"A mail to {letter.to} was not sent: {error.message}", hint=error.hint)
