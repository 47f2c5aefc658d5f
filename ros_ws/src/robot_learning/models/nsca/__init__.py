"""Sight, sound and body to one world state, and where that state goes (NSCA)."""
