"""Expert demonstrations: what they are, how they are read, and how they are made."""

from l2l_gail.demos.demonstrations import Demonstrations
from l2l_gail.demos.embedded import embedded
from l2l_gail.demos.endings import Endings

__all__ = ["Demonstrations", "Endings", "embedded"]
