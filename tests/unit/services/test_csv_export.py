"""Tables as CSV: what a person typed is text to whatever opens the file."""

import pytest

from appliance.services.csv_export import lines


@pytest.mark.badinput
@pytest.mark.parametrize("value", ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "＝1", "＋1", "－1", "＠A1"])
def test_nothing_that_somebody_typed_is_a_formula(value: str) -> None:
    [table] = lines(["Name"], [[value]])
    assert table.removeprefix("Name\r\n").lstrip('"').startswith("'")


def test_what_is_none_stays_as_it_is() -> None:
    assert "".join(lines(["a", "b", "c"], [["x=1", -1, ""], [" a", None, "1+1"]])) == "a,b,c\r\nx=1,-1,\r\n a,,1+1\r\n"
