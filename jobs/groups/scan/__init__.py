"""Read a source once with many tasks, and sum the moments of each group.

In: fragments of a source and their layout.
Out: partial moments (or the encoded rows) of each group.
Imported by: jobs/prediction, jobs/groups.
"""
