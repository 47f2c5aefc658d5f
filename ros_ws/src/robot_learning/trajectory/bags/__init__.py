"""Recordings of raw messages: written, read, summed up, cut and mended; MCAP and sqlite3."""
