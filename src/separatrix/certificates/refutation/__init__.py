"""Witnesses against a statement, each proved by intervals or in exact fractions."""
