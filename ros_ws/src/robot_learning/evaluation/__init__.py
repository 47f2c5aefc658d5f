"""A model version measured on data it has not seen; tables and pictures."""
