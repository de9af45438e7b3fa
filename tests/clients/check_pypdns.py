"""pypdns, CIRCL's library, against a daemon over testdata/clients: matrix row 7. Silent when all is well."""

import sys

from pypdns import PyPDNS
from pypdns.errors import PDNSError, UnauthorizedError

url = sys.argv[1] + "/pdns/query"
clients = [
    PyPDNS(url=url, basic_auth=("user", "anything")),
    PyPDNS(url=url, auth_token="Bearer anything"),
    PyPDNS(url=url, auth_header=("X-API-KEY", "anything"), disable_active_query=True),
]


def raises(expected, call):
    try:
        call()
    except expected as error:
        return error
    raise AssertionError("no %s" % expected.__name__)


for client in clients:
    rows = client.rfc_query("www.example.com")
    assert [row.rdata for row in rows] == ["2001:db8::10", "192.0.2.11", "192.0.2.10"], rows  # by time_last
    assert (rows[2].rrname, rows[2].rrtype, rows[2].count) == ("www.example.com", "A", 3)
    assert (rows[2].time_first, rows[2].time_last) == (1767323045, 1772600767)
    assert rows[2].origin.startswith("http://127.0.0.1:"), rows[2].origin
    assert client.rfc_query("nothing.example") == []

client = clients[0]
# An unknown type arrives as a number, and has a name in the library.
assert [row.rrtype for row in client.rfc_query("zone.example.org")] == ["TYPE65534"]
assert sorted({row.rrtype for row in client.rfc_query("example.com")}) == ["MX", "NS", "SOA", "TXT"]
assert [row.rdata for row in client.rfc_query("example.com", filter_rrtype="TXT")] == ['"v=spf1 -all"']
nothing, errors = client.rfc_query("example.com", filter_rrtype="BOGUS", with_errors=True)
assert nothing == [] and "rrtype" in errors, errors

# More rows than a page has: each once, and an end.
whole = client.rfc_query("203.0.113.7")
paged = [row.rrname for row in client.iter_query("203.0.113.7")]
assert len(paged) == 120 and sorted(paged) == sorted(row.rrname for row in whole), len(paged)
assert len({row.rrname for row in whole}) == 120
# Exactly one page, and none.
assert len(list(client.iter_query("www.example.com"))) == 3
assert list(client.iter_query("nothing.example")) == []
assert len(list(client.iter_query("192.0.2.0,24", filter_rrtype="A"))) == 5
# Names have no alias rows, addresses have.
assert [row.rrtype for row in client.rfc_query("blog.example.com")] == ["CNAME"]
assert len(client.rfc_query("192.0.2.77")) == 2
assert len(client.rfc_query("192.0.2.0/24")) == 5

raises(PDNSError, lambda: client.rfc_query("192.0.2.0,33"))
# With tokens, the password or the key is one.
guarded, token = sys.argv[2] + "/pdns/query", sys.argv[3]
for right, wrong in (
    ({"basic_auth": ("user", token)}, {"basic_auth": ("user", "anything")}),
    ({"auth_token": "Bearer " + token}, {"auth_token": "Bearer anything"}),
    ({"auth_header": ("X-API-KEY", token)}, {}),
):
    assert len(PyPDNS(url=guarded, **right).rfc_query("www.example.com")) == 3
    raises(UnauthorizedError, lambda: PyPDNS(url=guarded, **wrong).rfc_query("www.example.com"))
