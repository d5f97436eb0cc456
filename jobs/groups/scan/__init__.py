"""Read a source once on many tasks, and add up the moments of each group.

In: fragments of a source and their layout.
Out: partial moments (or the encoded rows) of each group.
Imported by: jobs/groups.
"""
