"""The built-in networks and learning rules: name -> where it is defined."""

NETWORKS = {
    "mlp": "creditbench.baselines.networks.mlp:mlp",
    "conv": "creditbench.baselines.networks.conv:conv",
    "vgg8b": "creditbench.baselines.networks.vgg8b:vgg8b",
    "noprop": "creditbench.baselines.networks.noprop:noprop",
}

RULES = {
    "bp": "creditbench.baselines.rules.bp:Backpropagation",
    "last-layer": "creditbench.baselines.rules.last_layer:LastLayer",
    "fa": "creditbench.baselines.rules.fa:FeedbackAlignment",
    "dfa": "creditbench.baselines.rules.dfa:DirectFeedbackAlignment",
    "sign-symmetry": "creditbench.baselines.rules.sign_symmetry:SignSymmetry",
    "kolen-pollack": "creditbench.baselines.rules.kolen_pollack:KolenPollack",
    "weight-mirror": "creditbench.baselines.rules.weight_mirror:WeightMirror",
    "sdfa": "creditbench.baselines.rules.dfa:SignDirectFeedbackAlignment",
    "drtp": "creditbench.baselines.rules.drtp:DirectRandomTargetProjection",
    "burstprop": "creditbench.baselines.rules.burstprop:Burstprop",
    "segregated-dendrites": "creditbench.baselines.rules.segregated_dendrites:SegregatedDendrites",
    "pred": "creditbench.baselines.rules.local_losses:LocalPrediction",
    "sim": "creditbench.baselines.rules.local_losses:LocalSimilarity",
    "predsim": "creditbench.baselines.rules.local_losses:PredictionAndSimilarity",
    "pred-bpf": "creditbench.baselines.rules.local_losses:PlausiblePrediction",
    "sim-bpf": "creditbench.baselines.rules.local_losses:PlausibleSimilarity",
    "predsim-bpf": "creditbench.baselines.rules.local_losses:PlausiblePredictionAndSimilarity",
    "greedy": "creditbench.baselines.rules.greedy:GreedyLayerwise",
    "decoupled-greedy": "creditbench.baselines.rules.greedy:DecoupledGreedy",
    "dni": "creditbench.baselines.rules.synthetic_gradients:SyntheticGradients",
    "phsic": "creditbench.baselines.rules.phsic:PlausibleKernelBottleneck",
    "noprop": "creditbench.baselines.rules.noprop:NoProp",
    "sigprop": "creditbench.baselines.rules.sigprop:SignalPropagation",
}
