"""Helpers of the course: a folder for each part, in the order in which the data flow.

simulation or cohort -> patient -> models -> course -> evidence, with evaluation and plots beside
them. Which folder may import which is drawn in CONTRIBUTING.md, and a test holds it. The modules
beside this one are commands (`python -m utils.predict`) and what every folder may use.
"""

from utils.runtime.memory import keep_freed, use_one_heap
from utils.runtime.normalisation import fuse_normalisation
from utils.runtime.tensorflow import quieten_tensorflow, use_onednn

quieten_tensorflow()
use_onednn()
fuse_normalisation()
use_one_heap()
keep_freed()
