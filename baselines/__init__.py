"""The built-in networks and learning rules: name -> where it is defined."""

NETWORKS = {
    "mlp": "creditbench.baselines.networks.mlp:mlp",
    "conv": "creditbench.baselines.networks.conv:conv",
    "vgg8b": "creditbench.baselines.networks.vgg8b:vgg8b",
}

RULES = {
    "bp": "creditbench.baselines.rules.bp:Backpropagation",
    "last-layer": "creditbench.baselines.rules.last_layer:LastLayer",
    "fa": "creditbench.baselines.rules.fa:FeedbackAlignment",
    "dfa": "creditbench.baselines.rules.dfa:DirectFeedbackAlignment",
    "sigprop": "creditbench.baselines.rules.sigprop:SignalPropagation",
}
