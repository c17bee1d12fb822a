from .folders import DATES as DATES
from .folders import DRIVERS as DRIVERS
from .folders import Pair as Pair
from .folders import find_pairs as find_pairs
from .folders import read_image as read_image
from .folders import read_split as read_split
