from .gathering import FootprintsJob as FootprintsJob
from .gathering import gather as gather
