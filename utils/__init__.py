"""Helpers of the course: a folder for each part, in the order in which the data flow.

simulation or cohort -> patient -> models -> course -> evidence, with evaluation and plots beside
them. Which folder may import which is drawn in CONTRIBUTING.md, and a test holds it. The modules
beside this one are commands (`python -m utils.predict`) and what every folder may use.
"""

from utils.runtime import (
    fuse_normalisation,
    keep_freed,
    quieten_tensorflow,
    use_one_heap,
    use_onednn,
)

quieten_tensorflow()
use_onednn()
fuse_normalisation()
use_one_heap()
keep_freed()
