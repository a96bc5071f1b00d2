"""The SQLite catalog. Nothing else in the product holds SQL."""
