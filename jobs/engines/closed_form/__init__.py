"""Full-batch gradient descent on squared error, computed from the spectrum of the Hessian without a loop.

In: moments, hyperparameters and settings.
Out: a `BlockResult`, a certificate, and the inverse cross-product for standard errors.
Imported by: jobs/plan.py, jobs/groups, jobs/champions, jobs/training, jobs/trials, jobs/groups/scan,
jobs/engines/minibatch.
"""
