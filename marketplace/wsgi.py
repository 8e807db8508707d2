"""What a WSGI server such as gunicorn serves: `gunicorn marketplace.wsgi`."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

application = get_wsgi_application()

# What is loaded here stays. The collector is not to walk through all of it every few thousand events, a tenth of a second
# each time; and as long as it is not touched, the worker processes share its memory.
get_resolver().url_patterns  # noqa: B018  - loads every page and all that they import
gc.collect()
gc.freeze()
