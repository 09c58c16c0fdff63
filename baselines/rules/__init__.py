"""Learning rules: one file per rule or close family."""
