"""Whether a document is OpenAPI 3.1, whether its examples are of their schemas, and whether recorded events are of that
of an event's data: reads the document, and the events a line each, and prints a line for each that is not."""

import json
import sys

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator


def errors(document, schema, value):
    # The whole document stands around each schema, for it to find those that have a name.
    whole = {"components": document["components"], "allOf": [schema]}
    found = Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def examples(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            for media in operation.get("requestBody", {}).get("content", {}).values():
                if "example" in media:
                    yield f"{method} {path}", media["schema"], media["example"]


document = json.load(open(sys.argv[1]))
wrong = [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()]
seen = 0
for where, schema, example in examples(document):
    seen += 1
    wrong += [f"{where}: {error}" for error in errors(document, schema, example)]
if seen < 10:
    wrong.append(f"only {seen} examples")
data = document["components"]["schemas"]["Data"]
for line in open(sys.argv[2]):
    wrong += errors(document, data, json.loads(line)["data"])
print("\n".join(wrong), end="")
