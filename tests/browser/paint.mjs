// How soon a page is first painted: `node paint.mjs URL...`, each opened thirty times, milliseconds from the navigation's
// start to the first contentful paint, and the bytes of the first time. "fresh" is a browser that has just been opened: a
// process without fonts, caches or compiled code. "open" is a tab that people go on clicking in. A page with one word says
// what the browser itself takes on this machine.

import { chromium } from "playwright-core";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const viewport = { width: 1280, height: 800 };

async function open(page, url) {
  await page.goto(url);
  return page.evaluate(() => new Promise((resolve) => {
    new PerformanceObserver((list, observer) => {
      observer.disconnect();
      const [navigation] = performance.getEntriesByType("navigation");
      const all = [navigation, ...performance.getEntriesByType("resource")];
      resolve({
        paint: list.getEntriesByName("first-contentful-paint")[0].startTime,
        answer: navigation.responseEnd - navigation.requestStart,
        bytes: all.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
      });
    }).observe({ type: "paint", buffered: true });
  }));
}

const at = (values, share) => values.sort((a, b) => a - b)[Math.floor(values.length * share)].toFixed(1);
const say = (what, all) => {
  const paints = all.map(({ paint }) => paint);
  const answers = all.map(({ answer }) => answer);
  console.log(`  ${what}: first paint median ${at(paints, 0.5)} ms, p90 ${at(paints, 0.9)} ms; answer median ${at(answers, 0.5)} ms`);
};

for (const url of ["data:text/html,<title>word</title><p>word", ...process.argv.slice(2)]) {
  const fresh = [], open_ = [];
  for (let i = 0; i < 30; i += 1) {
    const context = await browser.newContext({ viewport });
    fresh.push(await open(await context.newPage(), url));
    await context.close();
  }
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  await open(page, url);
  for (let i = 0; i < 30; i += 1) open_.push(await open(page, url));
  await context.close();
  console.log(`${url}, ${fresh[0].bytes} bytes`);
  say("fresh", fresh);
  say("open", open_);
}
await browser.close();
