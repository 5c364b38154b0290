"""Helpers of the course, in the order in which the data flow.

cohort -> volumes -> splits -> batches -> models -> predictions -> metrics -> figures.
No module imports one that comes later in that line.
"""

from utils.memory import keep_freed, use_one_heap
from utils.onednn import use_onednn
from utils.quiet import quieten_tensorflow

quieten_tensorflow()
use_onednn()
use_one_heap()
keep_freed()
