"""Expansion module of misp-modules: what a dnsledger knows of a name or an address, as passive-dns objects.

One object for each row and sensor, related to the attribute that was asked about. The first and the last time that a row was
seen are sightings of its data. See README.md beside this file's folder.
"""

import json
import uuid
from datetime import datetime, timezone

import requests

misperrors = {"error": "Error"}
mispattributes = {
    "input": [
        "hostname",
        "domain",
        "hostname|port",
        "domain|ip",
        "ip-src",
        "ip-dst",
        "ip-src|port",
        "ip-dst|port",
    ],
    "format": "misp_standard",
}
moduleinfo = {
    "version": "1.0",
    "author": "the dnsledger developers",
    "name": "dnsledger lookup",
    "description": "Passive DNS from a dnsledger, which follows the DNS log of Zeek.",
    "module-type": ["expansion", "hover"],
    "requirements": ["A dnsledger that can be reached"],
    "features": "Rows of a name, rows that point at it, and rows of an address, with their sensor and the time they were seen.",
    "references": ["https://github.com/dnsledger/dnsledger"],
    "input": "A hostname, domain or IP address attribute.",
    "output": "passive-dns objects with sightings.",
    "logo": "",
}
moduleconfig = ["url", "token", "limit"]

DEFAULT_LIMIT = 50
TIMEOUT_SECONDS = 60
TEMPLATE = {
    "name": "passive-dns",
    "meta-category": "network",
    "template_uuid": "b77b7b1c-66ab-4a41-8da4-83810f6d2d6c",
    "template_version": "5",
    "description": "Passive DNS records as expressed in draft-dulaunoy-dnsop-passive-dns-cof-07.",
}
# The type that an attribute of the template has, where it is not text.
TYPES = {"count": "counter", "time_first": "datetime", "time_last": "datetime"}


def introspection():
    return mispattributes


def version():
    moduleinfo["config"] = moduleconfig
    return moduleinfo


def handler(q=False):
    return False if q is False else dict_handler(json.loads(q))


def dict_handler(request):
    attribute = request.get("attribute") or {}
    if not all(attribute.get(key) for key in ("type", "value", "uuid")):
        return {"error": "dnsledger: an attribute with a type, a value and a uuid is needed."}
    if attribute["type"] not in mispattributes["input"]:
        return {"error": "dnsledger: attributes of the type %s are not supported." % attribute["type"]}
    config = request.get("config") or {}
    if not config.get("url"):
        return {"error": "dnsledger: the setting `url` is missing, such as http://127.0.0.1:8081"}
    limit = config.get("limit") or DEFAULT_LIMIT
    objects, cut = [], False
    for asked in values(attribute):
        try:
            records, more = lookup(config["url"], config.get("token"), asked, limit)
        except (requests.RequestException, LookupFailed) as error:
            return {"error": "dnsledger: %s" % error}
        cut = cut or more
        objects += [passive_dns(record, asked, config["url"], attribute["uuid"]) for record in records]
    if not objects:
        return {"error": "dnsledger has never seen %s." % attribute["value"]}
    if cut:
        for one in objects:
            one["comment"] += "; there are more than %s" % limit
    return {"results": {"Attribute": [attribute], "Object": objects}}


def values(attribute):
    """What an attribute has that can be asked for."""
    first, _, second = attribute["value"].partition("|")
    return [first, second] if attribute["type"] == "domain|ip" and second else [first]


class LookupFailed(Exception):
    """The ledger answered, and not with rows."""


def lookup(url, token, asked, limit):
    """The rows of a name and those that point at it, or the rows of an address; and whether there are more."""
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = "Bearer %s" % token
    # A bare name or address is one in the query language; a star or a slash would be more.
    params = {"q": asked.strip(), "pointing": "true", "limit": limit}
    response = requests.get(
        url.rstrip("/") + "/api/v1/records", params=params, headers=headers, timeout=TIMEOUT_SECONDS
    )
    try:
        answer = response.json()
    except ValueError:
        raise LookupFailed("%s answered %d, and nothing that is JSON" % (url, response.status_code)) from None
    if response.status_code != 200:
        error = answer.get("error") or {}
        message = error.get("message") or "status %d" % response.status_code
        raise LookupFailed("%s (try: %s)" % (message, error["hint"]) if error.get("hint") else message)
    return answer["records"], answer["truncated"]


def passive_dns(record, asked, url, related):
    """One row as an object of the passive-dns template."""
    first, last = moment(record["time_first"]), moment(record["time_last"])
    one = dict(TEMPLATE)
    one.update(
        uuid=str(uuid.uuid4()),
        comment="dnsledger about %s" % asked,
        first_seen=first,
        last_seen=last,
        ObjectReference=[{"referenced_uuid": related, "relationship_type": "related-to"}],
    )
    one["ObjectReference"][0]["object_uuid"] = one["uuid"]
    fields = {
        "rrname": record["rrname"],
        "rrtype": record["rrtype"],
        "rdata": record["rdata"],
        "count": record["count"],
        "time_first": first,
        "time_last": last,
        "sensor_id": record["sensor"],
        "origin": url,
    }
    if record.get("alias") and not record.get("direct"):
        fields["text"] = "Seen through a chain of CNAMEs only."
    one["Attribute"] = [
        {
            "uuid": str(uuid.uuid4()),
            "object_relation": relation,
            "type": TYPES.get(relation, "text"),
            "value": value,
            "category": "Other",
            "disable_correlation": relation not in ("rrname", "rdata"),
            "to_ids": False,
        }
        for relation, value in fields.items()
    ]
    for attribute in one["Attribute"]:
        if attribute["object_relation"] == "rdata":
            seen = sorted({record["time_first"], record["time_last"]})
            source = "dnsledger %s" % record["sensor"]
            attribute["Sighting"] = [
                {"type": "0", "date_sighting": str(time), "source": source} for time in seen
            ]
    return one


def moment(seconds):
    """Epoch seconds as MISP has times."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+00:00")
