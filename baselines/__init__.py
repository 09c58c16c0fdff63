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
    "sign-symmetry": "creditbench.baselines.rules.sign_symmetry:SignSymmetry",
    "kolen-pollack": "creditbench.baselines.rules.kolen_pollack:KolenPollack",
    "weight-mirror": "creditbench.baselines.rules.weight_mirror:WeightMirror",
    "sdfa": "creditbench.baselines.rules.dfa:SignDirectFeedbackAlignment",
    "drtp": "creditbench.baselines.rules.drtp:DirectRandomTargetProjection",
    "burstprop": "creditbench.baselines.rules.burstprop:Burstprop",
    "segregated-dendrites": "creditbench.baselines.rules.segregated_dendrites:SegregatedDendrites",
    "pc": "creditbench.baselines.rules.predictive_coding:PredictiveCoding",
    "pc-nudged": "creditbench.baselines.rules.predictive_coding:NudgedPredictiveCoding",
    "ipc": "creditbench.baselines.rules.predictive_coding:IncrementalPredictiveCoding",
    "z-il": "creditbench.baselines.rules.predictive_coding:ZeroDivergenceInference",
    "epc": "creditbench.baselines.rules.predictive_coding:ErrorOptimisation",
    "fw-dtp": "creditbench.baselines.rules.target_propagation:FixedWeightTargetPropagation",
    "dtp": "creditbench.baselines.rules.target_propagation:DifferenceTargetPropagation",
    "dual-propagation": "creditbench.baselines.rules.dual_propagation:DualPropagation",
    "ccl": "creditbench.baselines.rules.counter_current:CounterCurrentLearning",
    "ep": "creditbench.baselines.rules.energy:EquilibriumPropagation",
    "holomorphic-ep": "creditbench.baselines.rules.holomorphic:HolomorphicEquilibriumPropagation",
    "coupled-learning": "creditbench.baselines.rules.energy:CoupledLearning",
    "chl": "creditbench.baselines.rules.energy:ContrastiveHebbian",
    "efp": "creditbench.baselines.rules.efp:ErrorForwardPropagation",
    "sigprop": "creditbench.baselines.rules.sigprop.rule:SignalPropagation",
}
