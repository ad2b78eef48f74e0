"""More than one process, by mpi4py: gradients added up, and events of stretches put together.

``tinynn.fit`` takes the communicator itself: :doc:`/how/many-machines` shows how to start a job.
"""

from tinynn.distributed.detection import detect
from tinynn.distributed.ranks import sum_gradients

__all__ = ["detect", "sum_gradients"]
