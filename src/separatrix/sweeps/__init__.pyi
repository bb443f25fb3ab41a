from .collecting import collect
from .config import Config
from .outcome import Failure, Sweep
from .running import resume, sweep
from .runstore import Store
from .tasks import task

__all__ = ["Config", "Failure", "Store", "Sweep", "collect", "resume", "sweep", "task"]
