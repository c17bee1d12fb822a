from .writing import PAGE_EXTENSIONS as PAGE_EXTENSIONS
from .writing import ReportOptions as ReportOptions
from .writing import add_page as add_page
from .writing import check_page as check_page
from .writing import publish as publish
from .writing import write_event_report as write_event_report
from .writing import write_report as write_report
