"""Signal propagation: the rule, and one file for each thing that may be chosen about it."""
