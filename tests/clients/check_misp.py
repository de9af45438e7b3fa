"""MISP's enrichment server against a daemon over testdata/clients: matrix rows 8 and 9. Silent when all is well."""

import base64
import sys

import requests
from pymisp import MISPObject

misp, url, guarded, token = sys.argv[1:5]
UUID = "5b582e17-fee8-4d3c-b1a2-5a2f950d210f"


def query(module, kind, value, **config):
    attribute = {"type": kind, "value": value, "uuid": UUID, "category": "Network activity"}
    body = {"module": module, "attribute": attribute, "config": config}
    return requests.post(misp + "/query", json=body, timeout=60).json()


def fields(one):
    """The values of an object by their relation."""
    found = {}
    for attribute in one["Attribute"]:
        found.setdefault(attribute["object_relation"], []).append(attribute["value"])
    return found


def rows(answer):
    """The rows of an answer; each is what the template of MISP allows and demands."""
    assert "results" in answer, answer
    found = []
    for one in answer["results"]["Object"]:
        checked = MISPObject("passive-dns", strict=True)
        checked.from_dict(**one)
        assert one["ObjectReference"][0]["referenced_uuid"] == UUID, one
        has = fields(one)
        found.append((has["rrname"][0], has["rrtype"][0], ",".join(has["rdata"])))
    return sorted(found)


modules = {module["name"]: module for module in requests.get(misp + "/modules", timeout=60).json()}
assert modules["dnsledger"]["mispattributes"]["format"] == "misp_standard", modules["dnsledger"]
assert modules["dnsledger"]["meta"]["config"] == ["url", "token", "limit"]

# The module that is there.


def stock(kind, value, **config):
    return query("farsight_passivedns", kind, value, apikey="anything", server=url, **config)


www = [
    ("www.example.com.", "A", "192.0.2.10"),
    ("www.example.com.", "A", "192.0.2.11"),
    ("www.example.com.", "AAAA", "2001:db8::10"),
]
pointer = ("10.2.0.192.in-addr.arpa.", "PTR", "www.example.com.")
assert rows(stock("hostname", "www.example.com")) == [pointer] + www
assert rows(stock("domain", "www.example.com")) == [pointer] + www
assert rows(stock("ip-dst", "192.0.2.77")) == [
    ("blog.example.com.", "A", "192.0.2.77"),
    ("cdn.example.net.", "A", "192.0.2.77"),
]
assert rows(stock("ip-src", "2001:db8::10")) == www[2:]
assert len(rows(stock("ip-dst", "203.0.113.7"))) == 10
assert len(rows(stock("ip-dst", "203.0.113.7", limit="50"))) == 50
times = fields(stock("ip-dst", "192.0.2.25")["results"]["Object"][0])
assert times["time_first"] == times["time_last"] == ["2026-01-02T03:05:05+00:00"], times
# Types that it always asks for by pattern, and names where it is told to.
flexible = stock("text", "spf1")["results"]["Object"]
assert [fields(one)["rdata"] for one in flexible] == [['"v=spf1 -all"']], flexible
flexible = stock("email", "x@nothing.example")
assert flexible["error"].startswith("Empty results"), flexible
flexible = stock("hostname", "mail.example.com", flex_queries=True)["results"]["Object"]
assert len(flexible) > 2, flexible
broken = stock("url", "http://a(b")
assert "error" in broken and "look in the server logs" not in broken["error"], broken
empty = stock("hostname", "nothing.example")
assert empty["error"].startswith("Empty results on Farsight DNSDB for the hostname"), empty

# The module of our own.


def own(kind, value, **config):
    return query("dnsledger", kind, value, url=url, **config)


found = own("hostname", "www.example.com")
assert rows(found) == sorted((n.rstrip("."), t, d.rstrip(".")) for n, t, d in [pointer] + www)
first = next(o for o in found["results"]["Object"] if "192.0.2.10" in fields(o)["rdata"])
has = fields(first)
assert has["count"] == [3] and has["sensor_id"] == ["default"] and has["origin"] == [url], has
assert has["time_first"] == ["2026-01-02T03:04:05+00:00"] and has["time_last"] == ["2026-03-04T05:06:07+00:00"], has
sightings = next(a["Sighting"] for a in first["Attribute"] if a["object_relation"] == "rdata")
assert [s["date_sighting"] for s in sightings] == ["1767323045", "1772600767"], sightings
assert first["first_seen"] == has["time_first"][0]
alias = next(o for o in own("ip-dst", "192.0.2.77")["results"]["Object"] if "text" in fields(o))
assert fields(alias)["rrname"] == ["blog.example.com"], alias
assert len(rows(own("domain|ip", "cdn.example.net|192.0.2.25"))) == 3
assert len(rows(own("ip-src|port", "192.0.2.25|53"))) == 1
assert rows(own("hostname", "zone.example.org"))[0][1] == "TYPE65534"
cut = own("ip-dst", "203.0.113.7", limit="7")
assert len(rows(cut)) == 7 and "more than 7" in cut["results"]["Object"][0]["comment"], cut
assert own("hostname", "nothing.example") == {"error": "dnsledger has never seen nothing.example."}
assert "a label is empty" in own("hostname", "a..b")["error"]
assert "missing" in query("dnsledger", "hostname", "x.example")["error"]
assert own("md5", "0" * 32)["error"].endswith("not supported.")
assert "127.0.0.1" in query("dnsledger", "hostname", "x.example", url="http://127.0.0.1:1")["error"]

# What feeds say is bad, and was met: the ledger watches for one name, one domain that was only asked for, and one address.
texts = [a for a in own("hostname", "www.example.com")["results"]["Attribute"] if a["type"] == "text"]
assert [a["comment"] for a in texts] == ["dnsledger: feed bad"] and not texts[0]["to_ids"], texts
said = texts[0]["value"]
assert said.startswith("Hit: domain www.example.com of feed bad, by 10.2.0.192.in-addr.arpa, www.example.com. "), said
assert "First seen 2026-01-02T03:04:05" in said, said
assert "first noted 20" in said and "last noted 20" in said, said
above = [a["value"] for a in own("domain", "example.com")["results"]["Attribute"] if a["type"] == "text"]
assert said in above, above
address = [a["value"] for a in own("ip-dst", "192.0.2.77")["results"]["Attribute"] if a["type"] == "text"]
assert len(address) == 1 and "address 192.0.2.77 of feed bad, by blog.example.com" in address[0], address
assert not [a for a in own("hostname", "mail.example.com")["results"]["Attribute"] if a["type"] == "text"]

# With tokens, both need one.
asked = ("hostname", "mail.example.com")
assert len(rows(query("farsight_passivedns", *asked, apikey=token, server=guarded))) == 2
denied = query("farsight_passivedns", *asked, apikey="anything", server=guarded)
assert "a token is needed" in denied["error"], denied
assert len(rows(query("dnsledger", *asked, token=token, url=guarded))) == 2
denied = query("dnsledger", *asked, token="anything", url=guarded)
assert "a token is needed" in denied["error"], denied

# The export as a file of the Common Output Format.
types = "A,AAAA,CNAME,NS,MX,TXT,SOA,PTR,SRV,DS"
export = requests.get(url + "/api/v1/export", params={"type": types}, timeout=60)
body = {"module": "cof2misp", "data": base64.b64encode(export.content).decode(), "config": {}}
imported = requests.post(misp + "/query", json=body, timeout=60).json()["results"]["Object"]
assert len(imported) == len(export.text.splitlines()) == 137, len(imported)
by_name = {fields(one)["rrname"][0]: fields(one) for one in imported}
assert by_name["mail.example.com"]["rdata"] == ["192.0.2.25"]
texts = [fields(one)["rdata"] for one in imported if fields(one)["rrtype"] == ["TXT"]]
assert texts == [['"v=spf1 -all"']], texts
