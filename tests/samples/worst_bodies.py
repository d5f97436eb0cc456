"""The worst requests to the collection `stores`: the benchmark of serving sends them too, and has the list."""

from benchmarks.worst_bodies import SIZE, WORST_BODIES, WorstBody

__all__ = ["SIZE", "WORST_BODIES", "WorstBody"]
