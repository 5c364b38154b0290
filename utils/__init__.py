"""Helpers of the course, in the order in which the data flow.

cohort -> volumes -> splits -> batches -> models -> predictions -> metrics -> figures.
No module imports one that comes later in that line.
"""

import os

from utils.quiet import quieten_tensorflow

quieten_tensorflow()
# oneDNN's own allocator keeps all that it ever needed; the system's takes back what is freed.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
