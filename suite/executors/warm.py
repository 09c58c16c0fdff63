"""Imported by the server that children are forked from: what each would otherwise do for itself.

CUDA is left untouched and no thread is started: neither would survive a fork."""

import sklearn.datasets  # noqa: F401  # a second of importing, for the embedded tasks
import torch

import creditbench.suite.tuning.trial  # noqa: F401
from creditbench.suite import provenance, registry

torch.optim.AdamW([torch.zeros(1)], fused=True)  # the first optimizer imports half of torch
registry.load("task", "digits")  # and with them what all their kind import
registry.load("network", "mlp")
registry.load("rule", "bp")
provenance.commit()
provenance.describe(torch.device("cpu"))
