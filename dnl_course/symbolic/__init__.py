"""The equations in SymPy (lessons 05, 06, 07 and 08): small sizes, exact numbers, expressions that can be printed.

Rows are positions, as everywhere in the course: Q is (N, D), K is (M, D), logits and maps are (N, M), what all queries
share is a row (1, M). Import from the modules; this file loads none of them.

=============  =======================================================================================
objects        matrices of symbols, mean, centring, covariance, softmax
verify         is an expression 0 everywhere? by expansion and, apart from it, at random rational points
split          the four terms of q.k, what softmax cancels, double centring (lesson 05)
proposition    the objective as printed, its closed form; all names of the next two as well (lesson 06)
saddle         what the means are for it: stationary, in general a saddle (lesson 06)
repair         what the means do minimise and maximise (lesson 06)
gradients      products and sums of two maps, and their gradients (lesson 07)
complexity     counts of parameters and multiply-adds (lesson 08)
=============  =======================================================================================
"""
