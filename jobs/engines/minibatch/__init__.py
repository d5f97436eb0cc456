"""The training loop: any optimizer and loss, in memory, streamed, or many datasets at once, on one or many DDP ranks.

In: rows, hyperparameters, settings, and a checkpoint to go on from.
Out: a `BlockResult`.
Imported by: jobs/cli, jobs/groups, jobs/champions, jobs/training, jobs/cluster.
"""
