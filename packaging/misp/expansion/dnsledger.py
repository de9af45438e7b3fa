"""Expansion module of misp-modules: what a dnsledger knows of a name or an address, as passive-dns objects.

One object for each row and sensor, related to the attribute that was asked about. The first and the last time that a row was
seen are sightings of its data. An attribute for each indicator of a feed that was met by it, if the ledger watches for such. See
README.md beside this file's folder.
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
    "version": "1.1",
    "author": "the dnsledger developers",
    "name": "dnsledger lookup",
    "description": "Passive DNS from a dnsledger, which follows the DNS log of Zeek.",
    "module-type": ["expansion", "hover"],
    "requirements": ["A dnsledger that can be reached"],
    "features": "Rows of a name, rows that point at it, and rows of an address, with their sensor and the time they were seen; and which feeds' indicators were met by it, and when.",
    "references": ["https://github.com/dnsledger/dnsledger"],
    "input": "A hostname, domain or IP address attribute.",
    "output": "passive-dns objects with sightings, and an attribute for each indicator that was met.",
    "logo": "",
}
moduleconfig = ["url", "token", "limit"]

DEFAULT_LIMIT = 50
TIMEOUT_SECONDS = 60
# Hits that are asked for, and names that are said of each indicator.
MAX_HITS = 1000
NAMES_SAID = 5
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
    objects, said, cut = [], [], False
    for asked in values(attribute):
        try:
            records, more = lookup(config["url"], config.get("token"), asked, limit)
            said += hits(config["url"], config.get("token"), asked)
        except (requests.RequestException, LookupFailed) as error:
            return {"error": "dnsledger: %s" % error}
        cut = cut or more
        objects += [passive_dns(record, asked, config["url"], attribute["uuid"]) for record in records]
    if not objects and not said:
        return {"error": "dnsledger has never seen %s." % attribute["value"]}
    if cut:
        for one in objects:
            one["comment"] += "; there are more than %s" % limit
    return {"results": {"Attribute": [attribute] + said, "Object": objects}}


def values(attribute):
    """What an attribute has that can be asked for."""
    first, _, second = attribute["value"].partition("|")
    return [first, second] if attribute["type"] == "domain|ip" and second else [first]


class LookupFailed(Exception):
    """The ledger answered, and not with rows."""


def lookup(url, token, asked, limit):
    """The rows of a name and those that point at it, or the rows of an address; and whether there are more."""
    # A bare name or address is one in the query language; a star or a slash would be more.
    answer = ask(url, token, "/api/v1/records", {"q": asked.strip(), "pointing": "true", "limit": limit})
    return answer["records"], answer["truncated"]


def hits(url, token, asked):
    """What feeds say is bad and was met by it, an attribute for each indicator and feed; nothing where nobody watches."""
    try:
        answer = ask(url, token, "/api/v1/hits", {"value": asked.strip(), "limit": MAX_HITS})
    except NotThere:
        return []
    found = {}
    for hit in answer["hits"]:
        for feed in feeds_of(hit):
            found.setdefault((feed, hit["kind"], hit["indicator"]), []).append(hit)
    return [met(feed, kind, indicator, some) for (feed, kind, indicator), some in sorted(found.items())]


def feeds_of(hit):
    """The feeds that had the indicator when it was met, and those that have it since; none of what is new and looks like a brand."""
    if hit["kind"].startswith("new"):
        return []
    return hit["feeds"] + [feed for feed in hit.get("feeds_now") or [] if feed not in hit["feeds"]]


def met(feed, kind, indicator, some):
    """The hits of one indicator of a feed in words."""
    names = sorted({hit["rrname"] for hit in some})
    noted = [hit["noted"] for hit in some]
    shown = ", ".join(names[:NAMES_SAID]) + (" and %d more" % (len(names) - NAMES_SAID) if len(names) > NAMES_SAID else "")
    text = "Hit: %s %s of feed %s, by %s. First seen %s, first noted %s, last noted %s." % (
        kind,
        indicator,
        feed,
        shown,
        moment(min(hit["time"] for hit in some)),
        moment(min(noted)),
        moment(max(noted)),
    )
    return {
        "uuid": str(uuid.uuid4()),
        "type": "text",
        "category": "Other",
        "value": text,
        "comment": "dnsledger: feed %s" % feed,
        "disable_correlation": True,
        "to_ids": False,
    }


class NotThere(LookupFailed):
    """What was asked has no such path, or none here: an older one, or a front end of a cluster."""


def ask(url, token, path, params):
    """What is at a path."""
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = "Bearer %s" % token
    response = requests.get(url.rstrip("/") + path, params=params, headers=headers, timeout=TIMEOUT_SECONDS)
    try:
        answer = response.json()
    except ValueError:
        raise LookupFailed("%s answered %d, and nothing that is JSON" % (url, response.status_code)) from None
    if response.status_code != 200:
        error = answer.get("error") or {}
        message = error.get("message") or "status %d" % response.status_code
        failed = NotThere if response.status_code in (404, 501) else LookupFailed
        raise failed("%s (try: %s)" % (message, error["hint"]) if error.get("hint") else message)
    return answer


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
