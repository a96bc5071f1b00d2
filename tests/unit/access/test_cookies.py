import http.cookies

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access.cookies import for_machine

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
    assert for_machine("; ".join(pairs)) == "; ".join(theirs)


@given(st.lists(st.one_of(PLAIN, OURS, st.text(LATIN, max_size=20)), max_size=8), st.sampled_from(["; ", ";", ";\t", " ;", ",", ", "]))
def test_no_session_gets_through_whatever_stands_around_it(pairs: list[str], separator: str) -> None:
    pairs = [pair for pair in pairs if SECRET not in pair] + [f"__Host-dpe={SECRET}"]
    for order in (pairs, pairs[::-1]):
        assert SECRET not in for_machine(separator.join(order))


@given(st.text(LATIN, max_size=80))
def test_no_parser_finds_a_reserved_name_in_what_is_left(header: str) -> None:
    left = for_machine(header)
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
    assert for_machine(header) == left
