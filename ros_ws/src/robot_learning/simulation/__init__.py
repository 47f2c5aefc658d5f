"""The embedded world behind reset and step; tasks; domain randomisation."""
