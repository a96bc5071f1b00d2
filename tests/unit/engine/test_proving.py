"""A machine that is made only to see whether one can be."""

import pytest

from appliance.catalog import Class, Machine, smoke_tests
from appliance.errors import DpeError
from appliance.lifecycle import smoke_test
from tests.unit.engine.fake import settle


@pytest.fixture
def forking(opened, small):
    """The class small forks, and waits paused."""
    Class.update(fork=True, readiness="paused", buffer=0).execute()


def asked(engine):
    smoke_tests.ask_for_test("why")
    settle(engine)
    return smoke_tests.answer("why")


def calls(provider):
    return [verb for verb, id in provider.calls if id == smoke_test.ID]


def test_it_is_forked_answers_and_is_gone_again(forking, engine, provider):
    assert asked(engine) == ""
    assert calls(provider) == ["destroy", "fork", "start", "wait", "destroy"]
    assert smoke_test.ID not in provider.domains
    assert Machine.select().count() == 0
    assert smoke_tests.asked() is None


def test_a_fork_that_does_not_answer_is_booted_and_that_is_good_enough(forking, engine, provider):
    provider.fails["fork"] = DpeError("It cannot be forked.")
    assert asked(engine) == ""
    assert calls(provider)[-4:] == ["clone", "start", "wait", "destroy"]


def test_what_does_not_answer_is_said_and_gone_too(engine, provider):
    Class.update(buffer=0).execute()
    provider.fails["wait"] = DpeError("The agent does not answer.")
    assert asked(engine) == "The agent does not answer."
    assert smoke_test.ID not in provider.domains


def test_without_a_class_to_try_there_is_nothing_wrong(engine, provider):
    Class.update(enabled=False, buffer=0).execute()
    assert asked(engine) == ""
    assert calls(provider) == []


def test_an_answer_to_another_question_counts_for_nothing(engine):
    smoke_tests.ask_for_test("one")
    smoke_tests.note_outcome("another", "bad")
    assert smoke_tests.answer("one") is None
    assert smoke_tests.asked() == "one"
    smoke_tests.forget()
    assert smoke_tests.asked() is None


def test_what_is_there_and_could_be_made(engine, provider, ready):
    assert not smoke_tests.makes()
    ready(1)
    assert smoke_tests.makes()
