"""How long to measure, and the versions that were seen on the way."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from .pool import Pool


@dataclass
class Settings:
    """What the command line asked for."""

    modes: tuple[str, ...]
    sizes: tuple[str, ...]
    rounds: int
    turn: float  # seconds a worker runs before the next has its turn
    quick: bool
    limit: float  # seconds a library may take to set a workload up, compiling included
    versions: dict[str, str] = field(default_factory=dict)
    idle: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)  # of the core, in turns on one core

    def pool(self, names: Iterable[str], mode: str) -> Pool:
        """Start workers."""
        return Pool(names, mode, self.limit)

    def note(self, pool: Pool) -> None:
        """Keep what the workers of a finished pool said."""
        threads = pool.versions.pop("PyTorch's threads", None)
        self.versions |= pool.versions
        if threads:
            self.versions[f"PyTorch's threads on {pool.mode}"] = threads
        self.idle.append(pool.idle_share())
        if pool.mode == "one-core":
            self.shares += pool.shares
