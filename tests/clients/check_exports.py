"""Exports of hits, as those who made the formats check them: stix2-validator and PyMISP. Says nothing when all is well.

    check_exports.py BUNDLE EVENT VALUE...

Each VALUE must be in both.
"""

import json
import sys

from pymisp import MISPEvent
from stix2validator import ValidationOptions, validate_file

bundle, event, values = sys.argv[1], sys.argv[2], sys.argv[3:]

checked = validate_file(bundle, ValidationOptions(version="2.1"))
if not checked.is_valid:
    print("the bundle is not valid:", checked.object_results)
for result in checked.object_results or []:
    for error in list(result.errors) + list(result.warnings):
        # 103 wants UUIDs of version 4. STIX 2.1 (2.9) allows version 5 in a namespace of one's own, so that an export made again has the same ids.
        if "{103}" not in str(error):
            print("the bundle:", error)
objects = json.load(open(bundle))["objects"]
observed = {thing.get("value") for thing in objects}

misp = MISPEvent()
misp.load_file(event)
attributes = {attribute.value for attribute in misp.attributes}
for value in values:
    for what, found in (("bundle", observed), ("event", attributes)):
        if value not in found:
            print(f"{value} is not in the {what}: {sorted(map(str, found))}")
kinds = [thing["type"] for thing in objects]
if kinds.count("sighting") != kinds.count("observed-data") or "indicator" not in kinds:
    print("each sighting is of an indicator by what was observed:", kinds)
