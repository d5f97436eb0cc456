"""Train what is not stored, block by block on Ray; each block is stored when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import torch

from jobs.cluster.chunking import chunk_by_size
from jobs.cluster.tasks import RankGroupSize, RunLimits, Task
from jobs.engines.minibatch.ranks import SingleProcess
from jobs.errors import one_line
from jobs.progress import Counting, Progress
from jobs.recipe import Recipe
from jobs.sources.dataset import Dataset
from jobs.training.checkpoints import train_block_saving
from jobs.training.datasets import TrainedDatasets, train_block
from jobs.training.resuming import Work, merge_stored, remaining, with_keys
from jobs.trials.keys import block_name
from jobs.trials.library import TrialLibrary

if TYPE_CHECKING:
    from jobs.cluster.rank_groups import RankGroupRunner
    from jobs.cluster.ray_cluster import Cluster

Join = Callable[[], "Cluster"]

BLOCK_BYTES = 64 * 2**20  # enough work to outweigh a task's few milliseconds, small enough to spread


@dataclass(frozen=True)
class Trained:
    """The datasets at every grid point, in order; the reasons of those that failed; what was computed and what reused.

    `computed` and `reused` count trials; those of failed datasets are in neither.
    """

    datasets: tuple[TrainedDatasets, ...]
    failed: Mapping[str, str]
    computed: int
    reused: int


@dataclass(frozen=True)
class Block:
    """Datasets that one Ray task trains together, by name, and the grid points that none of them has stored."""

    recipe: Recipe
    work: Mapping[str, Work]


@contextmanager
def joining(address: str | None, progress: Progress) -> Iterator[Join]:
    """Give a function that joins the cluster when it is first called; leave the cluster at the end."""
    with ExitStack() as stack:

        @cache
        def join() -> Cluster:
            from jobs.cluster.ray_cluster import connect  # Ray takes half a second to import

            progress.say("joining the cluster")
            with progress.watch.phase("join"):
                return stack.enter_context(connect(address, progress.watch.ended))

        yield join


def train(
    datasets: Sequence[Dataset],
    recipe: Recipe,
    library: TrialLibrary,
    *,
    join: Join,
    limits: RunLimits,
    progress: Progress,
) -> Trained:
    """Return the datasets trained. Trials in the library are not computed; if it has all, no cluster is joined."""
    work = remaining(datasets, recipe, library)
    trained = {each.dataset.name: merge_stored(each, None) for each in work if each.missing is None}
    failed: dict[str, str] = {}
    if len(trained) < len(work):
        cluster = join()
        with progress.counting("datasets trained", len(work) - len(trained)) as advance:
            size = recipe.size.on(cluster.resources["GPU"])
            for name, result in _Training(_task_runner(cluster, size), size, library, limits, advance).run(
                _blocks(work)
            ):
                advance(name)
                if isinstance(result, TrainedDatasets):
                    trained[name] = result
                else:
                    failed[name] = result
    done = [each for each in work if each.dataset.name in trained]
    computed = sum(len(each.missing_keys) for each in done)
    reused = sum(len(each.keys) for each in done) - computed
    return Trained(tuple(trained[each.dataset.name] for each in done), failed, computed, reused)


def _blocks(work: Sequence[Work]) -> dict[str, Block]:
    """Return the blocks by key: datasets that lack the same grid points may share one."""
    alike: dict[tuple[str, ...], list[Work]] = {}
    for each in work:
        if each.missing is not None:
            columns = each.missing.hyperparameters.columns().values()
            alike.setdefault(tuple(str(column.tolist()) for column in columns), []).append(each)
    blocks = {}
    for group in alike.values():
        by_name = {each.dataset.name: each for each in group}
        recipe = group[0].missing or group[0].recipe
        for key, datasets in make_blocks([each.dataset for each in group]).items():
            blocks[key] = Block(recipe, {name: by_name[name] for name in datasets})
    return blocks


def make_blocks(datasets: Sequence[Dataset], num_blocks_min: int = 2) -> dict[str, dict[str, Dataset]]:
    """Return the blocks by key, each with its datasets by name; small datasets share a block, in their order.

    Enough datasets make at least `num_blocks_min` blocks, so that more than one slot has work.
    """
    total = sum(_size_bytes(dataset) for dataset in datasets)
    limit = min(BLOCK_BYTES, -(-total // num_blocks_min))
    blocks = chunk_by_size(datasets, _size_bytes, limit)
    return {_key(block): {dataset.name: dataset for dataset in block} for block in blocks}


def _key(block: Sequence[Dataset]) -> str:
    return block[0].name if len(block) == 1 else f"{block[0].name} … {block[-1].name}"


def _size_bytes(dataset: Dataset) -> int:
    return int(dataset.x_nd.nbytes + dataset.y_n.nbytes)


def _task_runner(cluster: Cluster, size: RankGroupSize) -> Cluster | RankGroupRunner:
    if size.num_workers == 1:
        return cluster
    from jobs.cluster.rank_groups import RankGroupRunner  # Ray Train takes a second to import

    return RankGroupRunner(cluster, size)


@dataclass(frozen=True)
class _Training:
    """The blocks of a job on a cluster, and the library that stores their trials."""

    cluster: Cluster | RankGroupRunner
    size: RankGroupSize
    library: TrialLibrary
    limits: RunLimits
    count: Counting

    def run(self, blocks: Mapping[str, Block]) -> Iterator[tuple[str, TrainedDatasets | str]]:
        """Yield each dataset trained, or why it failed; of a block that fails, each dataset is tried alone."""
        alone: dict[str, Block] = {}
        tasks, save = self._tasks(blocks), self.library.save_checkpoint
        for outcome in self.cluster.run(tasks, self.limits, save, self.count.told):
            self.count.ended(outcome.key)
            block = blocks[outcome.key]
            if outcome.error is None:
                self.library.keep([with_keys(block.work[trained.name], trained) for trained in outcome.value])
                yield from (
                    (trained.name, merge_stored(block.work[trained.name], trained)) for trained in outcome.value
                )
            elif len(block.work) == 1:
                yield next(iter(block.work)), one_line(outcome.error)
            else:
                alone |= {name: Block(block.recipe, {name: work}) for name, work in block.work.items()}
        if alone:
            yield from self.run(alone)

    def _tasks(self, blocks: Mapping[str, Block]) -> list[Task]:
        recipes = {id(block.recipe): self.cluster.put(block.recipe) for block in blocks.values()}
        tasks = []
        for key, block in blocks.items():
            datasets = self.cluster.put(tuple(each.dataset for each in block.work.values()))
            recipe = recipes[id(block.recipe)]
            if block.recipe.engine == "closed_form":  # it takes no time worth saving
                tasks.append(self._placed(Task(key, train_block, (datasets, recipe))))
                continue
            names = [block_name(set(work.missing_keys)) for work in block.work.values()]
            arguments = (datasets, recipe, names, self.limits.checkpoint_every_s)
            saved = {name: data for name in names if (data := self.library.checkpoint(name)) is not None}
            tasks.append(self._placed(Task(key, train_block_saving, arguments, saves=True, saved=saved)))
        return tasks

    def _placed(self, task: Task) -> Task:
        """Return the task with a GPU, if it needs one and is one process; rank groups ask for their own."""
        if not self.size.use_gpu or self.size.num_workers > 1:
            return task
        function = partial(task.function, ranks=SingleProcess(torch.device("cuda")))
        return replace(task, function=function, num_gpus=self.size.gpus_per_worker)
