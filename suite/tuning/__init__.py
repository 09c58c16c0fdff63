"""Choosing hyperparameters, on validation data alone."""
