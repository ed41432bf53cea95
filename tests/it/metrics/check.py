"""Reads a page of metrics with Prometheus's own parser and prints a line for each thing that is wrong with it, by the
rules that `promtool check metrics` has; then, for each family, its name, type, labels and number of samples."""

import sys

from prometheus_client.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(open(sys.argv[1]).read()))
wrong = []
seen = set()
for family in families:
    # The parser takes the suffix of a counter away.
    name = f"{family.name}_total" if family.type == "counter" else family.name
    if not family.documentation:
        wrong.append(f"{name}: no HELP")
    if family.type not in ("counter", "gauge", "histogram"):
        wrong.append(f"{name}: no TYPE")
    if not family.samples:
        wrong.append(f"{name}: no samples")
    if family.type == "counter" and any(sample.name != name for sample in family.samples):
        wrong.append(f"{name}: a counter without _total")
    if family.type != "counter" and name.endswith(("_total", "_count", "_sum", "_bucket")):
        wrong.append(f"{name}: the suffix of another type")
    if any(unit in name for unit in ("_ms", "milliseconds", "minutes", "kilobytes")):
        wrong.append(f"{name}: no base unit")
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key in seen:
            wrong.append(f"{key}: twice")
        seen.add(key)
        if family.type != "gauge" and not sample.value >= 0:
            wrong.append(f"{key}: {sample.value}")
    if family.type == "histogram":
        last, counts = {}, {}
        for sample in family.samples:
            labels = dict(sample.labels)
            bound = labels.pop("le", None)
            group = tuple(sorted(labels.items()))
            if sample.name.endswith("_bucket"):
                at = (float(bound), sample.value)
                if group in last and not (last[group][0] < at[0] and last[group][1] <= at[1]):
                    wrong.append(f"{name}{labels}: {last[group]} before {at}")
                last[group] = at
            elif sample.name.endswith("_count"):
                counts[group] = (float("inf"), sample.value)
        if last != counts:
            wrong.append(f"{name}: {last} and {counts}")
for one in wrong:
    print("wrong:", one)
for family in families:
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    print(family.name, family.type, ",".join(labels), len(family.samples))
