"""Helpers of the course, in the order in which the data flow.

cohort -> volumes -> splits -> batches -> models -> predictions -> metrics -> figures.
No module imports one that comes later in that line.
"""

import os

# TensorFlow reads these once, when it is first imported: without them every notebook would
# open with pages of log lines about the processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
