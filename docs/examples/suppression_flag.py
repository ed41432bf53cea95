#!/usr/bin/env python3
"""Keeps `do_not_mail` of your table `customers` in step. The flag and the place in the feed are committed together."""
import json, os, sqlite3, time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

URL, KEY = os.environ["WAYPOST_URL"], os.environ["WAYPOST_API_KEY"]

def get(path):
    with urlopen(Request(URL + path, headers={"Authorization": f"Bearer {KEY}"}), timeout=90) as answer:
        return json.load(answer)

def is_suppressed(address):
    try:
        return bool(get("/v1/suppressions/" + quote(address, safe="")))
    except HTTPError as error:
        if error.code in (404, 422): return False  # it is not on the list, or no address
        raise

database = sqlite3.connect(os.environ["DATABASE"])
database.execute("CREATE TABLE IF NOT EXISTS feed_place (cursor TEXT)")
after = (database.execute("SELECT cursor FROM feed_place").fetchone() or [""])[0]
while True:
    try:
        part = get(f"/v1/feed?types=email.bounced,email.complained,contact.unsubscribed&wait=30&after={after}")
        data = [event["data"] for event in part["data"]]
        told = {a for d in data for a in [d.get("to"), *d.get("recipients", []), d.get("contact", {}).get("email")] if a}
        flags = [(is_suppressed(address), address) for address in told]
    except (OSError, HTTPException) as error:  # the gateway is being restarted
        print(error, flush=True); time.sleep(1); continue
    with database:
        database.executemany("UPDATE customers SET do_not_mail = ? WHERE lower(email) = lower(?)", flags)
        database.execute("DELETE FROM feed_place")
        database.execute("INSERT INTO feed_place VALUES (?)", (after := part["cursor"],))
