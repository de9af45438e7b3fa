// The page in a real browser, against the real program over a fixed ledger. `run` in this folder sets it up.
//
// Every page that is opened is watched: an error on the console, an exception, or a request that leaves the origin fails
// the test that opened it.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { HOSTILE, writeLogs } from "./ledger.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const program = process.env.DNSLEDGER ?? join(root, "target/debug/dnsledger");
const shots = process.env.DNSLEDGER_SHOTS ?? join(root, "target/browser-shots");
const axe = readFileSync(join(here, "node_modules/axe-core/axe.min.js"), "utf8");

const SIZES = [{ width: 360, height: 780 }, { width: 900, height: 1100 }, { width: 1920, height: 1080 }];
const THEMES = ["light", "dark"];
const PAGES = {
  home: "/",
  results: "/?q=*.example.com",
  filtered: "/?q=*.example.net&first_after=2024-03-01&sensor=default",
  name: "/name/www.example.com?via=q%3A*.example.com&via=a%3A192.0.2.10",
  unanswered: "/name/gone.example.com",
  address: "/address/192.0.2.77",
  around: "/address/203.0.113.7",
  six: "/address/2001%3Adb8%3A%3A10",
  status: "/status",
  empty: "/?q=nothing.example&type=A",
  fault: "/?q=a%20b",
  nothing: "/there/is/nothing",
  hours: "/?q=198.18.0.2",
  years: "/?q=198.18.0.3",
  list: "/list",
  hostile: "/?q=198.51.100.66",
};

let folder, daemon, origin, browser;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "dnsledger-browser-"));
  const lines = writeLogs(join(folder, "logs"));
  const data = join(folder, "data");
  const args = ["run", "--logs", join(folder, "logs"), "--data", data, "--listen", "127.0.0.1:0"];
  daemon = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
  origin = await until("the daemon listens", () => `http://${readFileSync(join(data, "listen"), "utf8").trim()}`);
  await until("the log is read", async () => {
    const status = await (await fetch(`${origin}/api/v1/status`)).json();
    return status.totals.lines_read === lines && status.caught_up;
  });
  mkdirSync(shots, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
});

after(async () => {
  await browser?.close();
  if (daemon && daemon.exitCode === null) {
    daemon.kill("SIGTERM");
    await new Promise((resolve) => daemon.once("exit", resolve));
  }
  if (folder) rmSync(folder, { recursive: true });
});

/** Waits for an answer, at most a minute. */
async function until(what, ask) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch {
      // Not yet.
    }
    assert.ok(Date.now() < deadline, `waited in vain until ${what}`);
    await pause(20);
  }
}

/** Opens pages for one test, and looks at the end what went wrong on them. */
async function visit(options, use) {
  const home = options.baseURL ?? origin;
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, baseURL: home, ...options });
  const faults = [];
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== home) faults.push(`left the origin: ${request.url()}`);
  });
  context.on("console", (message) => {
    // What a page with an error status says of itself.
    const expected = options.faulty && /status of 40[04]/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !expected) faults.push(`console: ${message.text()}`);
  });
  context.on("weberror", (error) => faults.push(`exception: ${error.error()}`));
  const page = await context.newPage();
  try {
    await use(page);
  } finally {
    await context.close();
  }
  assert.deepEqual(faults, []);
}

const texts = (page, selector) => page.locator(selector).allInnerTexts();
const query = (page) => new URL(page.url()).searchParams;

async function fitsItsWidth(page) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(over <= 0, `${page.url()} is ${over} px too wide`);
}

/** Opens a page, takes a picture of it, and looks whether everybody can use it. */
async function inShape(page, name, path, form) {
  await page.goto(path);
  await fitsItsWidth(page);
  await page.screenshot({ path: join(shots, `${name}-${form}.png`), fullPage: true });
  await accessible(page, name);
}

/** Looks whether everybody can use a page. */
async function accessible(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run());
  const serious = found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const told = serious.map(({ id, nodes }) => `${name}: ${id}: ${nodes.map((node) => node.html).join("\n")}`);
  assert.deepEqual(told, []);
}

describe("the page", () => {
  test("finds what is typed into the box", () => visit({}, async (page) => {
    await page.goto("/");
    await page.fill("#q", "192.0.2.77");
    await page.press("#q", "Enter");
    await page.waitForURL("**/?q=192.0.2.77");
    assert.equal(await page.title(), "192.0.2.77 · dnsledger");
    assert.deepEqual(
      (await texts(page, "td.name")).sort(),
      ["blog.example.com", "cdn.example.net", "shop.example.com"],
    );
    assert.deepEqual((await texts(page, "td .mark")), ["alias", "alias"]);
    const label = await page.locator("td.time svg").first().getAttribute("aria-label");
    assert.match(label, /^seen on 13 of 25 days, 2024-03-06 to 2024-03-30$/);
  }));

  test("draws days without a sighting as gaps on one axis", () => visit({}, async (page) => {
    await page.goto("/?q=www.example.com&type=AAAA");
    const days = page.locator("td.time rect.day");
    assert.equal(await days.count(), 2);
    const [late, early] = [await days.nth(0).boundingBox(), await days.nth(1).boundingBox()];
    assert.ok(early.x + early.width + 5 < late.x, "the gap is to be seen");
    await page.goto("/?q=*.example.com");
    const axes = await page.locator(".axis").count();
    assert.equal(axes, 1);
  }));

  test("leads from name to address and back, and shows the way", () => visit({}, async (page) => {
    await page.goto("/?q=*.example.com");
    await page.click("td.data a:text-is('192.0.2.10')");
    assert.equal(await page.locator("h1").innerText(), "192.0.2.10");
    await page.click("td.name a:text-is('www.example.com') >> nth=0");
    assert.equal(await page.locator("h1").innerText(), "www.example.com");
    assert.deepEqual(await texts(page, ".crumbs a"), ["*.example.com", "192.0.2.10"]);
    const now = page.locator("section", { hasText: "Addresses last seen" }).locator("td.data");
    assert.deepEqual((await now.allInnerTexts()).sort(), ["198.51.100.7", "2001:db8::10"]);
    const before = page.locator("section", { hasText: "Addresses before" }).locator("td.data");
    assert.deepEqual((await before.allInnerTexts()).sort(), ["192.0.2.10", "192.0.2.11"]);
    assert.match((await texts(page, ".questions .split")).join("; "), /answered 33, server failed 1/);
    assert.ok((await texts(page, ".siblings a")).includes("shop.example.com"));
    await page.click(".crumbs a >> nth=0");
    assert.equal(await page.locator("h1").innerText(), "*.example.com");
    assert.equal(await page.locator(".crumbs").count(), 0);
  }));

  test("asks for what is pasted, one click from all about it", () => visit({}, async (page) => {
    await page.goto("/");
    await page.fill("#q", "hxxps://www[.]example[.]com:8443/gate.php?id=1");
    await page.press("#q", "Enter");
    await page.waitForURL("**/?q=hxxps**");
    assert.match(await page.locator("main").innerText(), /Asked for www\.example\.com\./);
    await page.click("text=All about www.example.com");
    assert.equal(await page.locator("h1").innerText(), "www.example.com");
  }));

  test("lists what is new, the newest first", () => visit({}, async (page) => {
    await page.goto("/");
    const link = page.locator("a:text-is('New within 7 days')");
    assert.equal(await link.getAttribute("href"), "/?q=%2A&first_after=7d&sort=-first");
    await page.goto("/?q=%2A&first_after=2024-04-01&sort=-first");
    const first = await page.locator("td[data-label=First] time").evaluateAll((all) => all.map((time) => time.dateTime));
    assert.ok(first.length > 5);
    assert.deepEqual(first, [...first].sort().reverse());
  }));

  test("takes a list, and links each line of its summary", () => visit({}, async (page) => {
    await page.goto("/list");
    await page.fill("#list", "# of today\nhxxps://www[.]example[.]com/x\n203.0.113.256\ngone.example.com\n");
    await page.click("button:text-is('Ask')");
    assert.match(await page.locator("p[role=status]").innerText(), /^2 indicators, 1 seen, 1 line that is not a query/);
    assert.match(await page.locator("main").innerText(), /NXDOMAIN 7/);
    await fitsItsWidth(page);
    await page.click("td.name a:text-is('www.example.com')");
    assert.equal(await page.locator("h1").innerText(), "www.example.com");
  }));

  test("hunts for what is pasted, by the keyboard too", () => visit({}, async (page) => {
    await page.goto("/list");
    await page.fill("#list", "The loader asks for hxxps://www[.]example[.]com/x and for never[.]example, not for 10.0.0.1.\n");
    await page.focus("button:text-is('Hunt')");
    await page.keyboard.press("Enter");
    assert.match(await page.locator("div[role=status] strong").innerText(), /^2 taken: 1 in the ledger, 1 not/);
    assert.match(await page.locator("main").innerText(), /1 not taken: 1 a private or reserved address/);
    await fitsItsWidth(page);
    await accessible(page, "hunt");
    await page.click("td.name a:text-is('www.example.com')");
    assert.equal(await page.locator("h1").innerText(), "www.example.com");
  }));

  test("offers only types that a query can have", () => visit({}, async (page) => {
    const offered = async (path) => {
      await page.goto(path);
      return texts(page, ".filters select[name=type] option");
    };
    // An address of IPv4 may be in an AAAA, too.
    assert.deepEqual(await offered("/?q=192.0.2.77"), ["all", "A", "AAAA"]);
    assert.deepEqual(await offered("/?q=2001%3Adb8%3A%3A%2F32"), ["all", "AAAA"]);
    assert.deepEqual(await offered("/?q=rdata%3A*.example.net"), ["all", "CNAME", "NS", "MX", "PTR", "SRV", "SOA"]);
    const all = await offered("/?q=www.example.com");
    assert.ok(all.includes("TXT") && !all.includes("HTTPS") && !all.includes("CAA"));
    // What was typed into the URL stays to be seen.
    assert.ok((await offered("/?q=www.example.com&type=CAA")).includes("CAA"));
  }));

  test("keeps a type and its mark in one line", () => visit({}, async (page) => {
    for (const width of [360, 721, 900, 1100, 1280, 1920]) {
      await page.setViewportSize({ width, height: 800 });
      await page.goto("/?q=six.example.edu&type=AAAA");
      const cell = page.locator("td.type");
      assert.equal(await cell.innerText(), "AAAA alias");
      const mark = await cell.locator(".mark").boundingBox();
      const box = await cell.boundingBox();
      const line = await cell.evaluate((td) => {
        const range = document.createRange();
        range.selectNodeContents(td.firstChild);
        const { top, bottom } = range.getBoundingClientRect();
        return { top, bottom };
      });
      assert.ok(mark.y < line.bottom && mark.y + mark.height > line.top, `${width}: one line`);
      assert.ok(mark.x + mark.width <= box.x + box.width, `${width}: within its cell`);
      await fitsItsWidth(page);
    }
  }));

  /** The labels of an axis that are seen, each with its box; some may be of two lines. */
  const labels = (page) => page.locator("svg.axis").first().locator("text").evaluateAll((all) => all.map((text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    return { text: text.textContent, left, right, top, bottom };
  }).filter(({ left, right }) => right > left));

  /** Waits until a change of the size is drawn. */
  const painted = (page) => page.evaluate(() => new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(done));
  }));

  for (const timezoneId of ["UTC", "Asia/Kolkata", "America/Los_Angeles"]) {
    test(`has labels with their date on an axis that never collide, in ${timezoneId}`, () => visit({ timezoneId }, async (page) => {
      await page.goto("/");
      if (timezoneId !== "UTC") await page.click("#zone");
      for (const path of ["/?q=198.18.0.1", "/?q=198.18.0.2", "/?q=198.18.0.3", "/?q=*.example.com", "/name/www.example.com"]) {
        await page.goto(path);
        for (let width = 360; width <= 1920; width += 60) {
          await page.setViewportSize({ width, height: 800 });
          await painted(page);
          const shown = await labels(page);
          const where = `${path} at ${width} px: ${JSON.stringify(shown)}`;
          for (const a of shown) {
            for (const b of shown) {
              const apart = a === b || a.right < b.left || b.right < a.left || a.bottom <= b.top + 3 || b.bottom <= a.top + 3;
              assert.ok(apart, where);
            }
          }
          const axis = await page.locator("svg.axis").first().boundingBox();
          if (axis.width >= 180) assert.match(shown.map(({ text }) => text).join(" "), /20\d\d/, where);
          assert.ok(shown.every(({ left, right }) => left >= axis.x - 8 && right <= axis.x + axis.width + 8), where);
        }
      }
    }));
  }

  test("shows times in the zone of its reader by a switch that stays", () => visit({ timezoneId: "Asia/Kolkata", viewport: { width: 1920, height: 1080 } }, async (page) => {
    await page.goto("/?q=198.18.0.2");
    const first = () => page.locator("td[data-label=First]").last().innerText();
    const heads = async () => (await texts(page, "th.when")).map((text) => text.trim());
    assert.equal(await first(), "2024-03-01 12:00:00");
    assert.deepEqual(await heads(), ["First (UTC)", "Last (UTC) ↓"]);
    assert.ok((await labels(page)).some(({ text }) => text === "00:00"));
    await page.click("#zone");
    assert.equal(await page.getAttribute("#zone", "aria-pressed"), "true");
    assert.match(await page.getAttribute("#zone", "title"), /Asia\/(Kolkata|Calcutta)/);
    assert.equal(await first(), "2024-03-01 17:30:00");
    assert.deepEqual(await heads(), ["First (local)", "Last (local) ↓"]);
    // The first tick of the day there is five and a half hours earlier.
    const places = await labels(page);
    assert.ok(places.some(({ text }) => text === "00:00") && places.some(({ text }) => text === "2024-03-02"));
    await page.goto("/name/www.example.com");
    assert.match(await page.locator(".lede").innerText(), /^Seen from 2024-03-01 17:3\d:\d\d to .* local/);
    assert.match(await page.locator("footer").innerText(), /local/);
    await page.goto("/status");
    assert.match(await page.locator("main").innerText(), /Newest \(local\)/);
    await page.click("#zone");
    await page.goto("/?q=198.18.0.2");
    assert.equal(await first(), "2024-03-01 12:00:00");
    assert.deepEqual(await heads(), ["First (UTC)", "Last (UTC) ↓"]);
  }));

  test("has a page where there is nothing", () => visit({ faulty: true }, async (page) => {
    const answer = await page.goto("/there/is/nothing");
    assert.equal(answer.status(), 404);
    assert.equal(await page.locator("h1").innerText(), "There is nothing here");
    await page.fill("#q", "192.0.2.77");
    await page.press("#q", "Enter");
    await page.waitForURL("**/?q=192.0.2.77");
  }));

  test("mirrors filters in the URL, and the URL in the filters", () => visit({}, async (page) => {
    await page.goto("/?q=*.example.com");
    const all = await page.locator("tbody tr").count();
    await page.selectOption(".filters select[name=type]", "CNAME");
    await page.waitForURL("**type=CNAME**");
    assert.deepEqual([...query(page)], [["q", "*.example.com"], ["type", "CNAME"]]);
    assert.deepEqual(await texts(page, "td.type"), ["CNAME", "CNAME"]);
    await page.click("text=Clear");
    assert.equal(await page.locator("tbody tr").count(), all);
    await page.goto("/?q=*.example.com&direct=true&last_after=2024-04-01");
    assert.equal(await page.isChecked("[name=direct]"), true);
    assert.equal(await page.inputValue("[name=last_after]"), "2024-04-01");
    assert.equal(await page.locator("tbody tr").count(), 2);
  }));

  test("sorts by any column, both ways", () => visit({}, async (page) => {
    await page.goto("/?q=*.example.com");
    const counts = async () => (await texts(page, "td[data-label=Count]")).map(Number);
    await page.click("th a:has-text('Count')");
    const falling = await counts();
    assert.deepEqual(falling, [...falling].sort((a, b) => b - a));
    assert.equal(await page.locator("th[aria-sort=descending]").innerText(), "Count ↓");
    await page.click("th a:has-text('Count')");
    assert.deepEqual(await counts(), [...falling].reverse());
  }));

  for (const order of ["", "&sort=name"]) {
    test(`turns pages to the end without loss${order && " when sorted"}`, () => visit({}, async (page) => {
      await page.goto(`/?q=*.example.net&limit=25${order}`);
      const rows = [];
      for (;;) {
        rows.push(...await page.locator("tbody tr").evaluateAll((all) => all.map((row) => row.querySelector(".name").innerText)));
        const next = page.locator("a[rel=next]");
        if (await next.count() === 0) break;
        await next.click();
      }
      assert.equal(rows.length, 121);
      assert.equal(new Set(rows).size, 121);
      await page.click("text=First page");
      assert.equal(await page.locator("a[rel=next]").count(), 1);
    }));
  }

  test("exports just this result in three formats", () => visit({ acceptDownloads: true }, async (page) => {
    await page.goto("/?q=www.example.com&type=A,PTR");
    const shown = await page.locator("tbody tr").count();
    assert.equal(shown, 4);
    const download = async (format, extension) => {
      const [file] = await Promise.all([page.waitForEvent("download"), page.click(`.exports a:text-is('${format}')`)]);
      assert.equal(file.suggestedFilename(), `dnsledger-www.example.com.${extension}`);
      return readFileSync(await file.path(), "utf8");
    };
    const cof = (await download("COF", "jsonl")).trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(cof.length, shown);
    assert.ok(cof.every((row) => Array.isArray(row.rdata) && row.time_first > 0));
    assert.equal((await download("CSV", "csv")).trim().split("\n").length, shown + 1);
    assert.equal(JSON.parse(await download("JSON", "json")).records.length, shown);
  }));

  test("shows the block around an address, and leads into it", () => visit({}, async (page) => {
    await page.goto("/address/203.0.113.7");
    assert.equal(await page.locator(".block a").count(), 120);
    assert.equal(await page.locator("rect.here").count(), 1);
    await page.click(".block a[aria-label^='203.0.113.14:']");
    assert.equal(await page.locator("h1").innerText(), "203.0.113.14");
  }));

  test("tells how the daemon is doing", () => visit({}, async (page) => {
    await page.goto("/status");
    const facts = await page.locator("main").innerText();
    assert.match(facts, /Caught up\s+yes/);
    assert.match(facts, /without an answer; the question is counted: \d+/);
    assert.doesNotMatch(facts, /no_answer|lineage|pending|\bruns?\b/i);
    assert.equal(await page.locator(".graph svg").count(), 2);
    assert.equal((await texts(page, ".state"))[0], "following");
    assert.deepEqual(await texts(page, "td.path"), ["dns.log"]);
    const [lines, counted, skipped, malformed] = (await texts(page, ".source td.number")).slice(1).map(Number);
    assert.equal(lines, counted + skipped + malformed);
  }));

  test("says when there is nothing, and what to try", () => visit({}, async (page) => {
    await page.goto("/?q=nothing.example&type=A");
    assert.equal(await page.locator(".empty h2").innerText(), "Nothing found");
    assert.match(await page.locator(".empty").innerText(), /not asked within these filters/);
    await page.click("text=All about what was asked");
    assert.match(await page.locator(".lede").innerText(), /^Never seen/);
  }));

  test("never shows an error as an empty answer", () => visit({ faulty: true }, async (page) => {
    const answer = await page.goto("/?q=a%20b");
    assert.equal(answer.status(), 400);
    assert.equal(await page.locator("[role=alert]").count(), 1);
    assert.equal(await page.locator(".empty").count(), 0);
    assert.equal(await page.inputValue("#q"), "a b");
  }));

  test("can be used by keys alone", () => visit({}, async (page) => {
    await page.goto("/?q=*.example.net&limit=25");
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "q");
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    const focused = await page.evaluate(() => document.activeElement.innerText);
    assert.equal(focused, (await texts(page, "td.name"))[0]);
    await page.keyboard.press("n");
    await page.waitForURL("**page=2**");
    await page.keyboard.press("j");
    const name = await page.evaluate(() => document.activeElement.innerText);
    await page.keyboard.press("Enter");
    await page.waitForURL("**/name/**");
    assert.equal(await page.locator("h1").innerText(), name);
  }));

  test("works without a script", () => visit({ javaScriptEnabled: false }, async (page) => {
    await page.goto("/");
    await page.fill("#q", "*.example.net");
    await page.click("button:text-is('Search')");
    assert.equal(await page.locator("tbody tr").count(), 50);
    await page.click("a[rel=next]");
    assert.equal(await page.locator("tbody tr").count(), 50);
    await page.selectOption("[name=type]", "NS");
    await page.click("button:text-is('Apply')");
    assert.equal(await page.locator(".empty").count(), 1);
    await page.click("text=The same without filters");
    await page.click("td.name a >> nth=0");
    assert.match(page.url(), /\/name\//);
    await page.click("nav a:text-is('Status')");
    assert.equal(await page.locator("h1").innerText(), "Status");
  }));

  for (const [at, name] of HOSTILE.entries()) {
    test(`takes hostile name ${at + 1} for text`, () => visit({}, async (page) => {
      for (const size of [{ width: 360, height: 780 }, { width: 1280, height: 800 }]) {
        await page.setViewportSize(size);
        await page.goto("/?q=198.51.100.66&sort=first");
        assert.equal(await page.locator("td.name").count(), HOSTILE.length);
        assert.equal(await page.locator("h1").count(), 1);
        await fitsItsWidth(page);
        const link = page.locator("td.name a").nth(at);
        const shown = await link.innerText();
        // What is plain ASCII is shown as it is, the rest by escapes that are ASCII too.
        if (/^[\x21-\x7e]*$/.test(name) && !name.includes("\\")) assert.equal(shown, name);
        assert.match(shown, /^[\x21-\x7e]+$/);
        await link.click();
        assert.equal((await page.locator("h1").innerText()).replace(/\s/g, ""), shown);
        assert.equal(await page.locator("h1").count(), 1);
        assert.deepEqual(await texts(page, "td.data"), ["198.51.100.66"]);
        await fitsItsWidth(page);
        await page.click("text=As a search");
        // What could be taken for something else is escaped; it finds the row all the same.
        assert.ok((await texts(page, "td.name")).includes(shown));
        assert.equal(await page.evaluate(() => [window.hostile, document.images.length, document.scripts.length].join()), ",0,1");
      }
    }));
  }

  test("shows text records as text", () => visit({}, async (page) => {
    await page.goto("/?q=text.example.org");
    assert.match(await page.locator("td.data").innerText(), /<script>window\.hostile=5<\/script>/);
    assert.equal(await page.evaluate(() => window.hostile), undefined);
  }));

  test("prints rows and bars, not controls", () => visit({}, async (page) => {
    await page.goto("/?q=*.example.com");
    await page.emulateMedia({ media: "print" });
    assert.equal(await page.locator("#search").isVisible(), false);
    assert.equal(await page.locator(".filters").isVisible(), false);
    assert.equal(await page.locator("td.time svg").first().isVisible(), true);
    await page.pdf({ path: join(shots, "results.pdf"), format: "A4", landscape: true });
  }));

  for (const size of SIZES) {
    for (const theme of THEMES) {
      test(`is accessible and in shape at ${size.width} px, ${theme}`, () =>
        visit({ viewport: size, colorScheme: theme, faulty: true }, async (page) => {
          for (const [name, path] of Object.entries(PAGES)) await inShape(page, name, path, `${size.width}-${theme}`);
        }));
    }
  }
});

/** A daemon that hands out lines of logs, over the same logs, to who has a token for that. */
describe("evidence", () => {
  let guarded, home;
  const tokens = {};
  const path = "/evidence?q=www.example.com&type=A&rdata=192.0.2.10";
  const as = (scope) => ({ baseURL: home, httpCredentials: { username: "any", password: tokens[scope] } });
  const status = async (scope, path) => {
    const headers = scope ? { Authorization: `Bearer ${tokens[scope]}` } : {};
    return (await fetch(home + path, { headers })).status;
  };

  before(async () => {
    const config = join(folder, "guarded.toml");
    const data = join(folder, "guarded");
    writeFileSync(config, `data_dir = "${data}"
[http]
listen = "127.0.0.1:0"
tokens_file = "${join(folder, "tokens")}"
[evidence]
http = true
[[source]]
logs = "${join(folder, "logs")}"
`);
    for (const scope of ["read", "evidence", "admin"]) {
      tokens[scope] = execFileSync(program, ["token", "new", scope, "--scope", scope, "--config", config]).toString().trim();
    }
    guarded = spawn(program, ["run", "--config", config], { stdio: ["ignore", "ignore", "ignore"] });
    home = await until("the daemon listens", () => `http://${readFileSync(join(data, "listen"), "utf8").trim()}`);
    await until("the log is read", async () => {
      const headers = { Authorization: `Bearer ${tokens.read}` };
      return (await (await fetch(`${home}/api/v1/status`, { headers })).json()).caught_up;
    });
  });

  after(async () => {
    if (guarded && guarded.exitCode === null) {
      guarded.kill("SIGTERM");
      await new Promise((resolve) => guarded.once("exit", resolve));
    }
  });

  test("leads from a row to the lines behind it, with who asked and where that is written", () =>
    visit({ ...as("evidence"), acceptDownloads: true }, async (page) => {
      await page.goto("/?q=www.example.com&type=A");
      const row = page.locator("tbody tr", { hasText: "192.0.2.10" });
      const headers = { Authorization: `Bearer ${tokens.read}` };
      const answer = await fetch(`${home}/api/v1/records?q=www.example.com&type=A`, { headers });
      const { count } = (await answer.json()).records.find(({ rdata }) => rdata === "192.0.2.10");
      await row.locator("a.evidence").click();
      assert.equal(query(page).get("rdata"), "192.0.2.10");
      const lines = page.locator("table.lines tbody tr");
      assert.equal(await lines.count(), count);
      const cells = await lines.first().locator("td").allInnerTexts();
      assert.equal(cells[0].slice(0, 10), "2024-03-12");
      assert.equal(cells[1], "192.0.2.200 40000");
      assert.match(cells.at(-1), /dns\.log:\d+$/);
      const [file] = await Promise.all([page.waitForEvent("download"), page.locator(".exports a").first().click()]);
      const exported = readFileSync(await file.path(), "utf8").trim().split("\n").map((line) => JSON.parse(line));
      assert.equal(exported.length, count + 1);
      assert.equal(exported.at(-1).end.complete, true);
      await page.goBack();
      assert.equal(await row.locator("a.evidence").count(), 1);
    }));

  test("takes hostile names for text", () => visit(as("evidence"), async (page) => {
    await page.goto("/evidence?q=198.51.100.66");
    assert.equal(await page.locator("table.lines tbody tr").count(), HOSTILE.length);
    assert.equal(await page.evaluate(() => window.hostile), undefined);
    assert.equal(await page.locator("h1").count(), 1);
  }));

  test("is for tokens of its scope alone", async () => {
    for (const wanted of [path, `/api/v1${path}`]) {
      assert.equal(await status(undefined, wanted), 401, wanted);
      assert.equal(await status("read", wanted), 403, wanted);
      assert.equal(await status("admin", wanted), 403, wanted);
      assert.equal(await status("evidence", wanted), 200, wanted);
    }
    for (const scope of ["read", "admin"]) {
      await visit({ ...as(scope), faulty: true }, async (page) => {
        await page.goto("/?q=www.example.com");
        assert.ok(await page.locator("tbody tr").count() > 0);
        assert.equal(await page.locator("a.evidence").count(), 0);
      });
    }
  });

  for (const size of SIZES) {
    for (const theme of THEMES) {
      test(`is accessible and in shape at ${size.width} px, ${theme}`, () =>
        visit({ ...as("evidence"), viewport: size, colorScheme: theme }, async (page) => {
          await inShape(page, "evidence", path, `${size.width}-${theme}`);
        }));
    }
  }
});

/** A daemon that watches for what a feed names, over the same logs, with tokens to read and to acknowledge. */
describe("hits", () => {
  let guarded, home;
  const tokens = {};
  const as = (scope) => ({ baseURL: home, httpCredentials: { username: "any", password: tokens[scope] } });

  before(async () => {
    const config = join(folder, "watching.toml");
    const data = join(folder, "watching");
    const feed = { title: "Loader campaign <b>", names: ["example.edu", "cdn.example.net"] };
    const bundle = { type: "bundle", id: "bundle--1", objects: feed.names.map((name, at) => ({
      type: "indicator", id: `indicator--${at}`, name: feed.title, description: "a <script>window.hostile=6</script> of the loader",
      pattern: `[domain-name:value LIKE '%.${name}' OR domain-name:value = '${name}']`, pattern_type: "stix", valid_from: "2020-01-01T00:00:00Z",
    })) };
    writeFileSync(join(folder, "bundle.json"), JSON.stringify(bundle));
    writeFileSync(join(folder, "list.txt"), "198.51.100.66\n");
    writeFileSync(config, `data_dir = "${data}"
[http]
listen = "127.0.0.1:0"
tokens_file = "${join(folder, "watch-tokens")}"
[[source]]
logs = "${join(folder, "logs")}"
[[feed]]
name = "loader"
file = "${join(folder, "bundle.json")}"
[[feed]]
name = "addresses"
file = "${join(folder, "list.txt")}"
`);
    for (const scope of ["read", "watch"]) {
      tokens[scope] = execFileSync(program, ["token", "new", scope, "--scope", scope, "--config", config]).toString().trim();
    }
    guarded = spawn(program, ["run", "--config", config], { stdio: ["ignore", "ignore", "ignore"] });
    home = await until("the daemon listens", () => `http://${readFileSync(join(data, "listen"), "utf8").trim()}`);
    const headers = { Authorization: `Bearer ${tokens.read}` };
    await until("all is looked through", async () => {
      const hits = await (await fetch(`${home}/api/v1/hits?limit=1000`, { headers })).json();
      return hits.hits.filter(({ kind }) => kind === "address").length >= HOSTILE.length && hits.hits.some(({ rrname }) => rrname.endsWith("example.edu"));
    });
  });

  after(async () => {
    if (guarded && guarded.exitCode === null) {
      guarded.kill("SIGTERM");
      await new Promise((resolve) => guarded.once("exit", resolve));
    }
  });

  test("acknowledges what is ticked, and shows who did so and when", () => visit(as("watch"), async (page) => {
    await page.goto("/hits");
    const rows = page.locator("tbody tr");
    const all = await rows.count();
    assert.ok(all > 10);
    await page.getByRole("link", { name: "loader" }).click();
    assert.equal(query(page).get("feed"), "loader");
    const name = page.locator("tbody tr").first().locator("td.dns a").first();
    const shown = await name.innerText();
    await page.getByRole("checkbox", { name: `Acknowledge the hit of ${shown}` }).first().check();
    await page.getByRole("button", { name: "Acknowledge" }).click();
    assert.equal(query(page).get("feed"), "loader", "it leads back to the page it was on");
    assert.match(await rows.first().innerText(), /by watch/);
    await page.getByRole("link", { name: "Only those that nobody has acknowledged" }).click();
    assert.deepEqual([query(page).get("feed"), query(page).get("open")], ["loader", "true"]);
    assert.equal(await page.getByText("by watch").count(), 0);
    await page.getByRole("link", { name: "All hits" }).click();
    assert.equal(await page.getByText("by watch").count(), 1);
    await name.click();
    assert.match(await page.locator("[role=status]").first().innerText(), /Listed: .* by loader/);
  }));

  test("takes hostile names and hostile words of feeds for text", () => visit(as("read"), async (page) => {
    await page.goto("/hits");
    assert.equal(await page.evaluate(() => window.hostile), undefined);
    assert.equal(await page.locator("h1").count(), 1);
    assert.equal(await page.getByText("Loader campaign <b>").count() > 0, true);
    // Who only reads has nothing to tick.
    assert.equal(await page.locator("input[type=checkbox][name=hit]").count(), 0);
    assert.equal(await page.getByRole("button", { name: "Acknowledge" }).count(), 0);
  }));

  test("can be acknowledged by keys alone, without a script", () => visit({ ...as("watch"), javaScriptEnabled: false }, async (page) => {
    await page.goto("/hits?feed=addresses&open=true");
    const before = await page.locator("tbody tr").count();
    await page.locator("input[name=hit]").first().focus();
    await page.keyboard.press("Space");
    await page.locator("form[action='/hits'] button").focus();
    await page.keyboard.press("Enter");
    await page.waitForURL(/open=true/);
    await until("it is gone", async () => (await page.locator("tbody tr").count()) === before - 1);
  }));

  for (const size of SIZES) {
    for (const theme of THEMES) {
      test(`is accessible and in shape at ${size.width} px, ${theme}`, () =>
        visit({ ...as("watch"), viewport: size, colorScheme: theme }, async (page) => {
          await inShape(page, "hits", "/hits", `${size.width}-${theme}`);
        }));
    }
  }
});
