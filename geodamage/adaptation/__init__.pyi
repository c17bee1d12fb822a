from .adapting import Adapted as Adapted
from .adapting import adapt as adapt
from .event_model import EventModel as EventModel
from .event_model import read_event_model as read_event_model
from .regrading import regrade as regrade
