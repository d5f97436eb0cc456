"""`python -m jobs` is `gridline`."""

from jobs.cli import main

main()
