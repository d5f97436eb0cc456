"""Train the datasets of a job block by block, and store each block when it ends.

In: datasets and a recipe.
Out: `TrainedDatasets` (of one) for each dataset, or the reason why it failed.
Imported by: jobs/cli, jobs/run.py, jobs/reports, jobs/plan.py, jobs/groups, jobs/champions.
"""
