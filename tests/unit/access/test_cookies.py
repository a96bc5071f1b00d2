import http.cookies

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access import cookies

MACHINE = "0123abcd-0000-4000-8000-000000000000"
SECRET = "s3cr3t-session-token"
LATIN = st.characters(min_codepoint=9, max_codepoint=255, exclude_characters="\r\n;\x0b\x0c", exclude_categories=())
NAME = st.text(st.sampled_from("abcXYZ019_-.!#"), min_size=1, max_size=12).filter(
    lambda n: not n.lower().startswith(("__host-", "__secure-"))
)
PLAIN = st.builds("{}={}".format, NAME, st.text(st.sampled_from('abc019=/+"%| '), max_size=20).map(str.strip))
OURS = st.sampled_from(["__Host-dpe", "__Host-dpe-csrf", "__host-DPE", "__Secure-dpe", "__HOST-dpe"]).map(lambda name: f"{name}={SECRET}")


@given(st.lists(st.one_of(PLAIN, OURS), max_size=8))
def test_ours_are_withheld_and_theirs_keep_their_bytes(pairs: list[str]) -> None:
    theirs = [pair for pair in pairs if SECRET not in pair]
    assert cookies.for_machine("; ".join(pairs), MACHINE) == "; ".join(theirs)


@given(st.lists(st.one_of(PLAIN, OURS, st.text(LATIN, max_size=20)), max_size=8), st.sampled_from(["; ", ";", ";\t", " ;", ",", ", "]))
def test_no_session_gets_through_whatever_stands_around_it(pairs: list[str], separator: str) -> None:
    pairs = [pair for pair in pairs if SECRET not in pair] + [f"__Host-dpe={SECRET}"]
    for order in (pairs, pairs[::-1]):
        assert SECRET not in cookies.for_machine(separator.join(order), MACHINE)


@given(st.text(LATIN, max_size=80))
def test_no_parser_finds_a_reserved_name_in_what_is_left(header: str) -> None:
    left = cookies.for_machine(header, MACHINE)
    found: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
    try:
        found.load(left)
    except http.cookies.CookieError:
        return
    assert not [name for name in found if name.lower().startswith(("__host-", "__secure-"))]


@pytest.mark.parametrize(
    ("header", "left"),
    [
        ("", ""),
        ("__Host-dpe=x", ""),
        ("a=1", "a=1"),
        ("a=1; __Host-dpe=x; b=2", "a=1; b=2"),
        ("__Host-dpe=x; b=2", "b=2"),
        ('_xsrf="2|a|b=="; __Host-dpe=x', '_xsrf="2|a|b=="'),
        ("a=1; ;b=2", "a=1;b=2"),
        ("=__Host-dpe=x; a=1", "a=1"),
        ("a=__Host-dpe", "a=__Host-dpe"),
    ],
)
def test_examples(header: str, left: str) -> None:
    assert cookies.for_machine(header, MACHINE) == left


@pytest.mark.hostile
def test_a_machine_sees_its_own_by_the_names_that_it_gave_them_and_no_other_machines() -> None:
    sent = "dpe-0123abcd-login=1; dpe-ffffffff-login=2; _xsrf=3; login=4; __Host-Http-dpe=5; dpe-0123abcd-__Host-x=6"
    assert cookies.for_machine(sent, MACHINE) == "login=1; __Host-x=6; _xsrf=3"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("login=1; Path=/; HttpOnly", ["dpe-0123abcd-login=1; Path=/; HttpOnly"]),
        ("login=a=b; httponly ; Domain=example.org", ["dpe-0123abcd-login=a=b; httponly "]),
        ("_xsrf=1; Path=/; Domain=.example.org", ["_xsrf=1; Path=/"]),
        ("__Host-Http-dpe=evil; Path=/; Secure; HttpOnly", ["dpe-0123abcd-__Host-Http-dpe=evil; Path=/; Secure; HttpOnly"]),
        ("login=; Path=/x; Max-Age=0", ["login=; Path=/x; Max-Age=0", "dpe-0123abcd-login=; Path=/x; Max-Age=0"]),
        (
            "login=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            ["login=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "dpe-0123abcd-login=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
        ),
        ("a=1; Max-Age=nonsense", ["a=1; Max-Age=nonsense"]),
        ("a=1; Expires=soon", ["a=1; Expires=soon"]),
    ],
)
def test_what_a_machine_keeps_from_scripts_is_marked_as_its_own(sent: str, kept: list[str]) -> None:
    assert cookies.from_machine(sent, MACHINE) == kept


@pytest.mark.hostile
def test_cookies_of_machines_that_are_gone_are_known_and_taken_away_wherever_they_lie() -> None:
    sent = "dpe-0123abcd-login=1; dpe-ffffffff-login=2; _xsrf=3"
    assert cookies.left_behind(sent, {"0123abcd"}) == ["dpe-ffffffff-login"]
    assert cookies.left_behind(sent, {"0123abcd", "ffffffff"}) == []
    places = [one.split("; ")[1] for one in cookies.expire(["dpe-ffffffff-login"], "/lab/tree?x=/y")]
    assert places == ["Path=/", "Path=/lab", "Path=/lab/", "Path=/lab/tree", "Path=/lab/tree/"]
    assert all("Max-Age=0" in one for one in cookies.expire(["dpe-ffffffff-login"], "/"))
    assert len(cookies.expire([f"n{number}" for number in range(500)], "/" + "x/" * 100)) <= cookies.EXPIRED_AT_ONCE


@pytest.mark.hostile
def test_what_others_left_never_makes_a_machines_header_too_large() -> None:
    flood = "; ".join(f"junk{number}={'x' * 500}" for number in range(200))
    left = cookies.for_machine(f"dpe-0123abcd-login=1; {flood}; _xsrf=3", MACHINE)
    assert len(left) < 8000
    assert left.startswith("login=1; ")
    assert left.endswith("; _xsrf=3")
