"""Updates of the system: fetched, checked, written to the other slot, judged, and gone back from."""
