"""What may be concluded from trained seeds. Pure functions on arrays and frames: numpy and scipy alone.

Every random draw comes from a generator that the caller hands in: the same generator, the same figure.
`intervals.generator` makes one from names, so that no figure depends on what else is on a page. Where
nothing can be said (one seed, no record) a figure is None, never 0. docs/statistics.md has each formula with
its source.

intervals             mean, median, interquartile mean; bootstrap over seeds, stratified by problem; Student
grid                  grid(frame): methods x problems with every state; the two anchors of each problem
standings             standings(grid): normalised scores and the order of the board; ranks(grid)
comparisons           two methods on a problem or on all: permutation tests, least reachable p, detectable
                      difference, against(grid), all_pairs(grid), holm, tie_groups
critical_difference   Friedman, pairwise Wilcoxon with Holm, groups that nothing tells apart, Nemenyi
profiles              performance profiles, probability of improvement
predictions           McNemar's test on stored predictions; how far two methods err on the same samples
pareto                who is on the front of score against a cost; who is left out for want of a figure
"""
