"""Handles Waypost's events as they are committed to Redis, each at least once: docs/redis-streams.md says what it reads.

pip install redis
REDIS_URL=redis://crm:PASSWORD@localhost:6379 GROUP=crm CONSUMER=crm-1 python redis_streams.py

Every process has a CONSUMER name of its own and keeps it when it is started again. On an error it ends: have it restarted.
"""

import json
import os
import signal
import time

import redis

PARTITIONS = {f"{{wp:{number}}}:feed": f"{{wp:{number}}}:e:" for number in range(4)}
GROUP, CONSUMER = os.environ["GROUP"], os.environ["CONSUMER"]
# Longer than a batch may take: after this, others believe that whoever has an entry is dead.
CLAIM_AFTER_MS = int(os.environ.get("CLAIM_AFTER_MS", "60000"))
BATCH, BLOCK_MS, STAMP_LEN = 100, 2000, 16

db = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
stopping = False


def handle(event):
    """Yours. The same event may come again: remember event["id"]. It is done when this returns."""
    print(json.dumps(event), flush=True)


def work(stream, entries):
    """Fetches the events of these entries, handles those that are still there, and acknowledges all."""
    if not entries:
        return
    keys = [PARTITIONS[stream] + fields["id"] for _, fields in entries]
    for kept in db.mget(keys):
        # None: it has expired. A stamp alone: it was erased.
        if kept and len(kept) > STAMP_LEN:
            handle(json.loads(kept[STAMP_LEN:]))
    db.xack(stream, GROUP, *[entry_id for entry_id, _ in entries])


def work_on_own(stream):
    """What this consumer left when it last ended."""
    while own := db.xpending_range(stream, GROUP, "-", "+", BATCH, CONSUMER):
        work(stream, db.xclaim(stream, GROUP, CONSUMER, 0, [one["message_id"] for one in own]))


def work_on_left(stream):
    """What other consumers left that are dead."""
    start = None
    while start != "0-0":
        start, entries, _ = db.xautoclaim(stream, GROUP, CONSUMER, CLAIM_AFTER_MS, start or "0-0", BATCH)
        work(stream, entries)


def stop(*_):
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)
for stream in PARTITIONS:
    try:
        db.xgroup_create(stream, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    work_on_own(stream)
claim_at = 0
while not stopping:
    if time.monotonic() >= claim_at:
        for stream in PARTITIONS:
            work_on_left(stream)
        claim_at = time.monotonic() + CLAIM_AFTER_MS / 1000
    new = db.xreadgroup(GROUP, CONSUMER, dict.fromkeys(PARTITIONS, ">"), count=BATCH, block=BLOCK_MS)
    for stream, entries in dict(new).items():
        work(stream, entries)
