// The logs that the browser tests look at: made up, the same every time.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const DAY = 86_400;
/** 2024-03-01T12:00:00Z */
const NOON = 1_709_294_400;

const CODES = { A: 1, NS: 2, CNAME: 5, PTR: 12, MX: 15, TXT: 16, AAAA: 28, HTTPS: 65 };

/** Labels that no page may take for anything but text. */
export const HOSTILE = [
  "<script>window.hostile=1</script>.example.org",
  "\"><img src=x onerror=window.hostile=2>.example.org",
  "'onmouseover='window.hostile=3.example.org",
  "</td></table><h1>owned</h1>.example.org",
  "&lt;b&gt;&amp;.example.org",
  "javascript:window.hostile=4.example.org",
  "a\\x1b[31mred\\x07.example.org",
  "\\xe2\\x80\\xae\\xd7\\x90bidi.example.org",
  "up/%2e%2e/%2f?q=%00&x#fragment.example.org",
  `${"m".repeat(63)}.${"m".repeat(63)}.${"m".repeat(63)}.${"m".repeat(49)}.example.org`,
];

/** Writes the logs into a folder. */
export function writeLogs(folder) {
  let serial = 0;
  const lines = [];
  const record = (ts, query, type, answers, { rcode = 0, ttl = 300 } = {}) => {
    serial += 1;
    lines.push(JSON.stringify({
      ts: ts + serial / 1e5, uid: `CB${String(serial).padStart(8, "0")}`, "id.orig_h": "192.0.2.200", "id.orig_p": 40000,
      "id.resp_h": "192.0.2.53", "id.resp_p": 53, proto: "udp", query, qclass: 1, qtype: CODES[type], qtype_name: type,
      rcode, answers, TTLs: answers?.map(() => ttl),
    }));
  };
  // One name that moves from address to address, with a gap.
  for (let day = 0; day < 40; day += 1) {
    if (day >= 18 && day < 25) continue;
    const address = day < 12 ? "192.0.2.10" : day < 18 ? "192.0.2.11" : "198.51.100.7";
    record(NOON + day * DAY, "www.example.com", "A", [address]);
    record(NOON + day * DAY + 60, "www.example.com", "AAAA", ["2001:db8::10"]);
    if (day % 3 === 0) record(NOON + day * DAY + 120, "www.example.com", "HTTPS", undefined);
    if (day % 5 === 0) record(NOON + day * DAY + 180, "gone.example.com", "A", undefined, { rcode: 3 });
  }
  for (let day = 5; day < 30; day += 2) {
    record(NOON + day * DAY, "shop.example.com", "A", ["cdn.example.net", "192.0.2.77"], { ttl: 60 });
    record(NOON + day * DAY + 30, "blog.example.com", "A", ["cdn.example.net", "192.0.2.77"], { ttl: 60 });
  }
  record(NOON, "example.com", "NS", ["ns1.example.net", "ns2.example.net"], { ttl: 86_400 });
  record(NOON + DAY, "example.com", "MX", ["mail.example.com"]);
  record(NOON + DAY, "example.com", "TXT", ["TXT 11 v=spf1 -all"]);
  record(NOON + DAY, "10.2.0.192.in-addr.arpa", "PTR", ["www.example.com"]);
  record(NOON + DAY, "www.example.com", "A", undefined, { rcode: 2 });
  // Minutes, hours, and years on an axis of their own.
  for (let i = 0; i < 5; i += 1) record(NOON + i * 300, `minute${i}.example.edu`, "A", ["198.18.0.1"]);
  for (let i = 0; i < 5; i += 1) record(NOON + i * 4 * 3600, `hour${i}.example.edu`, "A", ["198.18.0.2"]);
  for (let i = 0; i < 5; i += 1) record(NOON - i * 400 * DAY, `year${i}.example.edu`, "A", ["198.18.0.3"]);
  record(NOON, "six.example.edu", "AAAA", ["edge.example.edu", "2001:db8:6::1"]);
  // Enough names for pages, spread over one network.
  for (let i = 0; i < 120; i += 1) {
    record(NOON + (i % 35) * DAY + i, `host${String(i).padStart(3, "0")}.example.net`, "A", [`203.0.113.${(i * 7) % 256}`]);
  }
  for (const [i, name] of HOSTILE.entries()) record(NOON + i * DAY, name, "A", ["198.51.100.66"]);
  record(NOON, "text.example.org", "TXT", ["TXT 53 <script>window.hostile=5</script>\"'><svg onload=x>"]);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "dns.log"), `${lines.join("\n")}\n`);
  return lines.length;
}
