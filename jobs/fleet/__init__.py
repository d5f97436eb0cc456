"""A dataset for each group of a source: the rows are read once, summed by group, and only the sums travel."""
