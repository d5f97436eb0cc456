"""What a training task does with a dataset too large for memory, by minibatches: reads it again in every epoch."""

from __future__ import annotations

from jobs.engines import stream_training
from jobs.trials import BlockResult, Hyperparameters

from .groups import Trainable
from .partial import Partial, merge
from .stream import RowStream, Source
from .training import FleetSpec, PartResult, train_groups


def train_streamed(source: Source, spec: FleetSpec, *partials: Partial) -> PartResult:
    """Return the dataset of the source trained at every grid point; the partials are of all of its rows."""
    settings = spec.recipe.settings

    def engine(groups: Trainable, hyper: Hyperparameters, want_curves: bool) -> BlockResult:
        stream = RowStream(source, spec.layout, groups.column_d, settings.bias, settings.seed, settings.torch_dtype)
        result = stream_training.train(stream, groups.moments, groups.held_out, hyper, settings)
        return result if want_curves else result.last_epoch_only()

    return train_groups(spec, merge(partials), engine)
