"""The Python snippets of the seed documents, run as they stand: reads a list of requests from stdin, and writes what
each snippet says of them, in order. What the snippets leave out (a framework, a secret) is put around them."""

import contextlib
import io
import json
import pathlib
import sys
import types

HERE = pathlib.Path(__file__).parent / "seeds"


class App:
    def route(self, *_, **__):
        return lambda handler: handler


class Headers(dict):
    def get(self, name):
        return super().get(name.lower())


class FlaskRequest:
    def __init__(self, asked):
        self.headers = Headers(asked["headers"])
        self.json = json.loads(asked["body"])
        self.get_data = lambda as_text: asked["body"]


def run(name, given):
    exec(compile((HERE / name).read_text(), name, "exec"), given)
    return given


def seed002(asked):
    given = {
        "app": App(),
        "request": FlaskRequest(asked),
        "jsonify": lambda value: value,
        "WEBHOOK_SECRET": asked["secret"],
    }
    return run("002.py", given)["handle_webhook"]() == {"received": True}


def seed003(asked):
    done = []
    given = {"process_email_event": types.SimpleNamespace(delay=done.append)}
    request = types.SimpleNamespace(method="POST", body=asked["body"].encode())
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = run("003.py", given)["sentinmail_webhook"](request)
    return printed.getvalue().strip() if status == 200 and done == [json.loads(asked["body"])] else False


django = {"django": {}, "django.views": {}, "django.views.decorators": {}}
django["django.http"] = {"HttpResponse": lambda status: status}
django["django.views.decorators.csrf"] = {"csrf_exempt": lambda view: view}
for name, members in django.items():
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)

answers = []
for asked in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()):
        answers.append({"answer": {"seed002": seed002, "seed003": seed003}[asked["library"]](asked)})
json.dump(answers, sys.stdout)
