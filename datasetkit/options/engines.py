"""Options of engines: where the tasks of long work run, and on how many workers. Owns the registry of engines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from datasetkit.core.errors import RecipeError
from datasetkit.options.base import Commas, Options, Typed
from datasetkit.runtime.engines.here import Here
from datasetkit.runtime.engines.protocol import Engine, Seat
from datasetkit.runtime.engines.shards import Shard
from datasetkit.runtime.machine import processor_count
from datasetkit.runtime.packages import RAY
from datasetkit.runtime.registry import Builtin, Registry, is_dotted

ARRAY = "array"
PROCESSES = "processes"
# What a process does in the time that another one takes to start.
_ITEMS_PER_PROCESS = 500

ENGINES = Registry(
    "engine",
    {
        PROCESSES: Builtin("datasetkit.runtime.engines.processes:Processes"),
        "ray": Builtin("datasetkit.runtime.engines.ray:Ray", packages=(RAY,)),
    },
)


def _read_shard(value: object) -> object:
    return Shard.read(value) if isinstance(value, str) else value


class WorkerOptions(Options):
    """How many workers, and where they run."""

    panel: ClassVar[str | None] = "Workers"

    engine: Annotated[str, Typed("NAME")] = PROCESSES
    """Engine that runs the workers: processes (on this machine), ray (on a Ray cluster), a plug-in by name, or
    package.module:Class."""
    workers: int = Field(default_factory=processor_count, ge=1)
    """Number of workers. No more are started than there is work for: one per part or shard and, unless `--engine` is
    given, one per 250 images. A single one is this process itself, which builds with N threads.  [default: one per
    processor]"""
    ray_address: str | None = None
    """Ray cluster of `--engine ray`: HOST:PORT, or auto for the one that this machine belongs to.  [default: Ray is
    started on this machine]"""

    @field_validator("engine")
    @classmethod
    def _check_engine(cls, name: str) -> str:
        known = (*ENGINES.names, *cls._more_engines())
        if name not in known and not is_dotted(name):
            raise ValueError(f"give {', '.join(known)}, or a class as package.module:Class")
        return name

    @classmethod
    def _more_engines(cls) -> tuple[str, ...]:
        return ()

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        if self.ray_address is not None and self.engine != "ray":
            raise ValueError(f"--ray-address is for the engine ray, and the engine is {self.engine}; give --engine ray")
        return self

    @property
    def is_named(self) -> bool:
        """Whether an engine was named; otherwise a single worker is this process itself."""
        return "engine" in self.model_fields_set

    def seats(self, tasks: int, items: int, threads: int = 1) -> tuple[Seat, ...]:
        """Return the seats of workers without models.

        Args:
            tasks: number of tasks; no more workers are started.
            items: number of items in all tasks; unless the engine was named, no more workers are started than there is
                work for, since a process takes seconds to start.
            threads: number of threads of each worker, if there are several.

        """
        count = min(self.workers, max(tasks, 1))
        if not self.is_named:
            count = min(count, max(items // _ITEMS_PER_PROCESS, 1))
        if count == 1 and self.engine in {PROCESSES, ARRAY}:
            return (Seat(0, threads=self.workers),)
        return tuple(Seat(number, threads=threads) for number in range(count))

    def open(self, seats: Sequence[Seat]) -> Engine:
        """Return the engine, which starts its workers when it is told to.

        Raises:
            MissingPackageError: a package that the engine needs does not work here.
            PluginError: the engine is a plug-in that cannot be imported.

        """
        if len(seats) == 1 and not self.is_named:
            return Here(seats[0])
        name = PROCESSES if self.engine == ARRAY else self.engine
        make: Callable[..., Engine] = ENGINES.load(name)
        return make(seats, address=self.ray_address) if name == "ray" else make(seats)


class EngineOptions(WorkerOptions):
    """Where a build runs."""

    panel: ClassVar[str | None] = "Workers"

    engine: Annotated[str, Typed("NAME")] = PROCESSES
    """Engine that runs the workers: processes (on this machine), ray (on a Ray cluster), array (on this machine, as one
    job of many that share OUT; see `--shard`), a plug-in by name, or package.module:Class."""
    devices: Annotated[tuple[str, ...] | None, Commas, Typed("N,...|all")] = None
    """GPUs for the models, by number, or all; each has a worker of its own, and `--workers` is the number of processors
    that prepare images for all of them. Leave it out with Ray, where `--workers` is the number of workers, each with a
    GPU.  [default: one worker, on `--device`]"""
    shard: Annotated[Shard | None, BeforeValidator(_read_shard), Typed("I/N")] = None
    """Build only one of N shares of the parts, that of number I, from 0. Other jobs build the others in the same OUT,
    at the same time or later, and the last one publishes the dataset.  [default with `--engine array`: from the
    variables of Slurm, torchrun or MPI]"""
    finish: bool = False
    """Publish what jobs with `--shard` have built, and build nothing. Fails if parts are missing."""

    @classmethod
    def _more_engines(cls) -> tuple[str, ...]:
        return (ARRAY,)

    @model_validator(mode="after")
    def _check_shard(self) -> Self:
        if self.shard is not None and self.engine not in {ARRAY, PROCESSES}:
            raise ValueError(f"a shard is built by processes, not by {self.engine}; leave --engine or --shard out")
        if self.finish and self.shard is not None:
            raise ValueError("--finish publishes all shards; leave --shard out")
        return self

    @property
    def own_shard(self) -> Shard | None:
        """The shard to build; None for all parts.

        Raises:
            RecipeError: the engine is ``array``, and nothing says which shard this is.

        """
        if self.shard is None and self.engine == ARRAY and not self.finish:
            return Shard.of_environment(os.environ)
        return self.shard

    def model_seats(self, device: str, tasks: int) -> tuple[Seat, ...]:
        """Return the seats of workers with models, one per device; Ray assigns devices itself.

        Args:
            device: the device if ``devices`` names none.
            tasks: number of tasks; no more workers are started.

        Raises:
            RecipeError: ``devices`` names a device twice, is ``all`` and there are none, or is for Ray; nothing says
                how many workers of Ray load the models.

        """
        if self.engine == "ray":
            if self.devices is not None or "workers" not in self.model_fields_set:
                raise RecipeError(
                    "Ray assigns devices itself; give the number of workers that load the models, such as the number "
                    "of GPUs, as --workers, and leave out --devices"
                )
            return tuple(Seat(number, device) for number in range(min(self.workers, max(tasks, 1))))
        if self.devices is None:
            return (Seat(0, device, threads=self.workers),)
        names = [f"cuda:{name}" if name.isdecimal() else name for name in self.devices]
        if names == ["all"]:
            import torch

            names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
            if not names:
                raise RecipeError("--devices all: torch finds no CUDA device here; leave it out, or give --device cpu")
        if len({*names}) < len(names):
            raise RecipeError(f"--devices {','.join(self.devices)} names a device twice; give each of them once")
        names = names[: max(tasks, 1)]
        return tuple(Seat(number, name, max(self.workers // len(names), 1)) for number, name in enumerate(names))
