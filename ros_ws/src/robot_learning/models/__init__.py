"""Parameters and forward passes; nothing here knows where data comes from."""
