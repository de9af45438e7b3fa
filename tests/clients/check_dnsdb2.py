"""dnsdb2, Farsight's library, against a daemon over testdata/clients: matrix row 6. Silent when all is well."""

import sys

import dnsdb2

url = sys.argv[1]
client = dnsdb2.Client("anything", server=url)


def raises(expected, call):
    try:
        call()
    except expected as error:
        return error
    raise AssertionError("no %s" % expected.__name__)


def names(rows):
    return sorted({row["rrname"] for row in rows})


assert client.ping() is True
assert client.rate_limit()["rate"]["limit"] == "unlimited"

rows = list(client.lookup_rrset("www.example.com"))
assert [row["rdata"] for row in rows] == [["192.0.2.10"], ["192.0.2.11"], ["2001:db8::10"]], rows
assert set(rows[0]) == {"count", "time_first", "time_last", "rrname", "rrtype", "rdata"}, rows[0]
assert rows[0]["count"] == 3 and rows[0]["time_first"] == 1767323045 and rows[0]["time_last"] == 1772600767
assert list(client.lookup_rrset("nothing.example")) == []
assert len(list(client.lookup_rrset("*.example.com", rrtype="A", bailiwick="mail.example.com"))) == 1
assert len(list(client.lookup_rrset("www.*"))) == 3
assert len(list(client.lookup_rrset("caf\\195\\169.example.org"))) == 1
human = list(client.lookup_rrset("www.example.com", rrtype="AAAA", humantime=True, aggr=False))
assert human[0]["time_first"] == "2026-01-02T03:04:15Z", human

assert names(client.lookup_rdata_name("ns1.example.net")) == ["example.com."]
assert names(client.lookup_rdata_name("*.example.net", rrtype="NS")) == ["example.com."]
assert names(client.lookup_rdata_ip("192.0.2.77")) == ["blog.example.com.", "cdn.example.net."]
assert len(list(client.lookup_rdata_ip("192.0.2.0/24"))) == 5
assert len(list(client.lookup_rdata_ip("192.0.2.10-192.0.2.11"))) == 2
assert names(client.lookup_rdata_ip("2001:db8::/32")) == ["www.example.com."]
assert names(client.lookup_rdata_raw("c0000219")) == ["mail.example.com."]

# Fences: absolute, and relative to now.
assert len(list(client.lookup_rrset("www.example.com", time_first_after=1767323055))) == 2
assert len(list(client.lookup_rrset("www.example.com", time_last_before=-3600))) == 3
assert list(client.lookup_rrset("www.example.com", time_last_after=-1)) == []

# Limits and offsets: all pages together are the whole.
whole = list(client.lookup_rdata_ip("203.0.113.7"))
assert len(whole) == 120
paged, offset = [], 0
while True:
    try:
        for row in client.lookup_rdata_ip("203.0.113.7", limit=50, offset=offset):
            paged.append(row)
        break
    except dnsdb2.QueryLimited as limited:
        assert str(limited) == "Result limit reached", limited
        offset += 50
assert paged == whole and offset == 100
assert len(list(client.lookup_rdata_ip("203.0.113.7", limit=7, ignore_limited=True))) == 7
too_far = raises(dnsdb2.OffsetError, lambda: list(client.lookup_rrset("www.example.com", offset=10**7)))
assert "offset is at most" in str(too_far), too_far

summary = list(client.summarize_rrset("www.example.com"))
assert summary == [
    {"count": 5, "num_results": 3, "time_first": 1767323045, "time_last": 1772600767}
], summary
assert list(client.summarize_rdata_ip("203.0.113.7", max_count=30))[0]["count"] == 30
assert list(client.summarize_rdata_name("ns1.example.net"))[0]["num_results"] == 2
assert list(client.summarize_rdata_raw("c0000219"))[0]["num_results"] == 1

flex = list(client.flex_rrnames_regex(r"^www\.", verbose=False))
assert flex == [{"rrname": "www.example.com.", "rrtype": t} for t in ("A", "AAAA")], flex
assert names(client.flex_rrnames_glob("*.example.com.", rrtype="A", exclude="w*")) == ["mail.example.com."]
assert [row["rdata"] for row in client.flex_rdata_regex("v=spf1")] == ['"v=spf1 -all"']
assert list(client.flex_rdata_glob("203.0.113.*"))[0]["raw_rdata"] == "CB007107"
raises(dnsdb2.QueryLimited, lambda: list(client.flex_rrnames_regex("pages", limit=3)))
assert list(client.flex_rrnames_regex("nothing")) == []

# Unknown types are text.
assert [row["rrtype"] for row in client.lookup_rrset("zone.example.org")] == ["TYPE65534"]
assert [row["rrtype"] for row in client.lookup_rrset("signed.example.org", rrtype="ANY-DNSSEC")] == ["DS"]

# What has no meaning is an error.
for bad in (
    lambda: client.lookup_rrset("www.example.com", rrtype="BOGUS"),
    lambda: client.lookup_rdata_ip("300.1.1.1"),
    lambda: client.lookup_rdata_raw("xyz"),
    lambda: client.lookup_rrset("www.example.com", limit=-5),
    lambda: client.flex_rrnames_regex("a(b"),
):
    raises(dnsdb2.QueryError, lambda: list(bad()))

# With tokens, the key is one.
guarded, token = sys.argv[2:4]
assert len(list(dnsdb2.Client(token, server=guarded).lookup_rrset("www.example.com"))) == 3
wrong = dnsdb2.Client("anything", server=guarded)
denied = raises(dnsdb2.AccessDenied, lambda: list(wrong.lookup_rrset("www.example.com")))
assert "a token is needed" in str(denied), denied
raises(dnsdb2.AccessDenied, wrong.rate_limit)
raises(dnsdb2.AccessDenied, wrong.ping)
