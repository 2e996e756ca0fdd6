"""Expert demonstrations: what they are, and how they are read and written.

What makes them is in `l2l_gail.recording`, but for :func:`l2l_gail.demos.record.record_episodes`.
"""

from l2l_gail.demos.demonstrations import Demonstrations
from l2l_gail.demos.embedded import embedded
from l2l_gail.demos.endings import Endings

__all__ = ["Demonstrations", "Endings", "embedded"]
