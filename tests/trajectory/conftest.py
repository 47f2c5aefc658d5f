"""Marks the folder in which all tests of this room find their helpers."""
