"""What a training task does with a dataset too large for memory, by minibatches: reads it again in every epoch."""

from __future__ import annotations

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import stream_training
from jobs.engines.trials import BlockResult
from jobs.groups.scan.partial import Partial, merge
from jobs.groups.scan.stream import RowStream, Source
from jobs.groups.scan.trainable import Trainable
from jobs.groups.training import GroupsSpec, PartResult, train_groups


def train_streamed(source: Source, spec: GroupsSpec, *partials: Partial) -> PartResult:
    """Return the dataset of the source trained at every grid point; the partials are of all of its rows."""
    settings = spec.recipe.settings

    def engine(groups: Trainable, hyper: Hyperparameters, want_curves: bool) -> BlockResult:
        stream = RowStream(source, spec.layout, groups.column_d, settings.bias, settings.seed, settings.torch_dtype)
        result = stream_training.train(stream, groups.moments, groups.held_out, hyper, settings)
        return result if want_curves else result.last_epoch_only()

    return train_groups(spec, merge(partials), engine)
