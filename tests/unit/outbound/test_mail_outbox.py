"""Mail that the catalog says is to be sent: once a person and matter, again while the server is away, and forgotten afterwards."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Event, OutgoingMail, now, options, outgoing_mail
from appliance.outbound import mail, mail_outbox
from tests.post import office

pytestmark = pytest.mark.workflow


@pytest.fixture
def ada(opened):
    with catalog.write():
        return Account.create(name="ada", email="ada@example.org", password="!").id


def use(port, *, on=True):
    server = {"host": "127.0.0.1", "port": port, "security": "none", "authority": "", "user": "", "sender": "dpe@example.org"}
    with catalog.write():
        options.put("mail", {"on": on, "server": server, "password": ""})
        options.put("address", "https://dpe.example.org")


def put(*accounts, about="todo-1-open"):
    with catalog.write():
        outgoing_mail.enqueue_mail(accounts, about, "A manager says yes: Bob", "Is it for a course?", "/todo/#todo-1")


def test_it_is_sent_once_with_a_way_to_the_page(ada):
    with office() as server:
        use(server.port)
        put(ada)
        put(ada)  # said twice
        assert outgoing_mail.is_mail_due(now())
        mail_outbox.send_due()
        mail_outbox.send_due()
        [sent] = server.taken
    assert (sent["To"], sent["Subject"]) == ("ada@example.org", "A manager says yes: Bob")
    assert sent.get_content().split() == ["Is", "it", "for", "a", "course?", "https://dpe.example.org/todo/#todo-1"]
    assert not outgoing_mail.is_mail_due(now())


def test_a_kill_between_sending_and_forgetting_repeats_the_same_message(ada, monkeypatch):
    with office() as server:
        use(server.port)
        put(ada)
        monkeypatch.setattr(outgoing_mail, "delete_mail", lambda _id: None)
        mail_outbox.send_due()
        mail_outbox.send_due()
        first, second = server.taken
    assert first["Message-ID"] == second["Message-ID"]


def test_while_the_server_is_away_it_waits_longer_and_longer_and_is_given_up_in_the_end(ada):
    use(1)
    put(ada)
    for minutes in (1, 2, 4):
        OutgoingMail.update(next_at=now()).execute()
        mail_outbox.send_due()
        assert timedelta(minutes=minutes - 0.5) < OutgoingMail.get().next_at - now() <= timedelta(minutes=minutes)
    assert not outgoing_mail.is_mail_due(now())
    OutgoingMail.update(next_at=now(), created_at=now() - mail_outbox.GIVEN_UP).execute()
    mail_outbox.send_due()
    assert OutgoingMail.select().count() == 0
    assert "A mail to ada@example.org was not sent" in Event.get(Event.kind == "mail.refused").message


def test_what_is_refused_for_good_is_told_and_holds_nothing_up(ada):
    with catalog.write():
        other = Account.create(name="other", email="other@example.org", password="!").id
    with office() as server:
        use(server.port)
        put(ada, other)
        server.to_recipient = "550 There is nobody of that name"
        mail_outbox.send_due()
        assert server.taken == []
    assert OutgoingMail.select().count() == 0
    assert Event.select().where(Event.kind == "mail.refused").count() == 2


@pytest.mark.parametrize("how", ["no address", "disabled", "deleted", "switched off"])
def test_nothing_is_sent_to_who_cannot_get_it(ada, how):
    with office() as server:
        use(server.port)
        put(ada)
        match how:
            case "no address":
                Account.update(email="").execute()
            case "disabled":
                Account.update(disabled=True).execute()
            case "deleted":
                Account.delete().where(Account.id == ada).execute()
            case _:
                use(server.port, on=False)
        mail_outbox.send_due()
        assert server.taken == []
    assert OutgoingMail.select().count() == 0


def test_nothing_is_kept_while_no_mail_is_sent(ada):
    assert mail.current() is None
    put(ada)
    assert OutgoingMail.select().count() == 0
