"""What the handlers find in the application; `gateway.app` puts it there."""

from __future__ import annotations

from aiohttp import web

from gateway.api_keys import ApiKeys
from gateway.backend import Backend
from gateway.bodies import Bodies
from gateway.call_recordings import CallRecordings
from gateway.draining import Connections
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.operators import Operators
from gateway.policy import Policy
from gateway.recordings import Recordings
from gateway.settings import GatewaySettings
from gateway.uploads import Uploads

SETTINGS = web.AppKey("settings", GatewaySettings)
METRICS = web.AppKey("metrics", Metrics)
BODIES = web.AppKey("bodies", Bodies)
BACKEND = web.AppKey("backend", Backend)
CONNECTIONS = web.AppKey("connections", Connections)
API_KEYS = web.AppKey("api_keys", ApiKeys)
OPERATORS = web.AppKey("operators", Operators)
POLICY = web.AppKey("policy", Policy)
LIMITS = web.AppKey("limits", Limits)
RECORDINGS = web.AppKey("recordings", Recordings)
CALLS = web.AppKey("calls", CallRecordings)
UPLOADS = web.AppKey("uploads", Uploads)
