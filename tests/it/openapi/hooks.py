"""Values that no schema can tell: a text that may be a URL is none that may be called, and a cursor is handed out."""

import itertools

import schemathesis
from hypothesis import strategies

# Nobody listens there, and nothing leaves this machine.
schemathesis.openapi.format("uri", strategies.from_regex(r"https://127\.0\.0\.1:9/[a-z0-9/]{0,20}", fullmatch=True))
schemathesis.openapi.format("cursor", strategies.just(""))

clients = itertools.count()


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Each call is one of a client of its own, so that none runs out of tries with the wrong keys among them."""
    number = next(clients)
    case.headers = {**(case.headers or {}), "X-Forwarded-For": f"198.18.{number // 256 % 256}.{number % 256}"}
