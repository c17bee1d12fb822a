from .plan import BatchPlan as BatchPlan
from .plan import plan_batch as plan_batch
from .progress import BatchProgress as BatchProgress
from .progress import BatchSummary as BatchSummary
from .running import run_batch as run_batch
