"""Meters: each measures one thing of a rule from outside, in a pass of its own, and changes nothing."""
