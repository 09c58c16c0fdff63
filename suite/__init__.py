"""The harness: specification, run, record. It knows tasks, networks and rules only by `suite.types`."""
