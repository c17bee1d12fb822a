from .answers import NO_BUILDING as NO_BUILDING
from .answers import UNCLEAR as UNCLEAR
from .answers import read_answers as read_answers
