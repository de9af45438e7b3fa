// How soon a page is first painted: `node paint.mjs URL...`, each opened thirty times, milliseconds from the navigation's
// start to the first contentful paint, and the bytes that came over the wire.

import { chromium } from "playwright-core";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
for (const url of process.argv.slice(2)) {
  const paints = [], answers = [];
  let bytes = 0;
  for (let i = 0; i < 30; i += 1) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    await page.goto(url);
    const figures = await page.evaluate(() => new Promise((resolve) => {
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
    paints.push(figures.paint);
    answers.push(figures.answer);
    bytes = figures.bytes;
    await context.close();
  }
  const at = (values, share) => values.sort((a, b) => a - b)[Math.floor(values.length * share)].toFixed(1);
  console.log(`${url}\n  first paint: median ${at(paints, 0.5)} ms, p90 ${at(paints, 0.9)} ms; answer: median ${at(answers, 0.5)} ms; ${bytes} bytes`);
}
await browser.close();
