// What the page can do better with a script; without it, everything is a link or a form.
"use strict";
(() => {
  const search = document.getElementById("search");
  const box = document.getElementById("q");

  // Fields that say nothing stay out of the URL.
  search.addEventListener("formdata", (event) => {
    for (const [key, value] of [...event.formData]) {
      if (value === "") event.formData.delete(key);
    }
  });

  // A choice is made at once; what is typed waits for Enter.
  for (const select of document.querySelectorAll(".filters select, .filters input[type=checkbox]")) {
    select.addEventListener("change", () => search.requestSubmit());
  }

  // Keys: `/` to the box, j and k along the rows, n and p along the pages, Escape out of the box.
  const links = () => [...document.querySelectorAll("table.rows tbody tr, .siblings li, .examples dt")]
    .map((row) => row.querySelector("a")).filter(Boolean);
  const step = (by) => {
    const all = links();
    if (all.length === 0) return;
    const row = document.activeElement.closest("tr, li, dt");
    const at = row ? all.findIndex((link) => row.contains(link)) : -1;
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  const follow = (rel) => document.querySelector(`a[rel=${rel}]`)?.click();
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const does = {
      "/": () => { box.focus(); box.select(); },
      j: () => step(1),
      k: () => step(-1),
      n: () => follow("next"),
      p: () => follow("prev"),
    }[event.key];
    if (does) {
      event.preventDefault();
      does();
    }
  });

  // Times in the zone of who reads them, where they want that; the choice stays in this browser.
  const zone = document.getElementById("zone");
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  let isLocal = false;
  try {
    isLocal = localStorage.getItem("zone") === "local";
  } catch {
    // Nothing is kept here: the choice holds for this page.
  }
  /** A moment as text of ISO 8601 whose digits are those of the zone. */
  const digits = (ms) => {
    const moment = new Date(ms);
    return new Date(ms - (isLocal ? moment.getTimezoneOffset() * 60_000 : 0)).toISOString();
  };
  /** Round moments of the zone between two, in seconds; a step is of seconds, or of months where it ends in m. */
  const ticks = (from, to, step) => {
    const all = [];
    const size = parseInt(step, 10);
    if (step.endsWith("m")) {
      const start = new Date(from * 1000);
      let month = start.getFullYear() * 12 + start.getMonth();
      for (month -= month % size; all.length < 20; month += size) {
        const at = new Date(2000, 0, 1);
        at.setFullYear(Math.floor(month / 12), month % 12, 1);
        if (at / 1000 > to) break;
        if (at / 1000 >= from) all.push(at / 1000);
      }
      return all;
    }
    const offset = (at) => -60 * new Date(at * 1000).getTimezoneOffset();
    for (let i = Math.ceil((from + offset(from)) / size); all.length < 20; i += 1) {
      const at = i * size - offset(i * size - offset(from));
      if (at > to) break;
      all.push(at);
    }
    return all;
  };
  /** Draws an axis anew, and shows of its labels those that have room. */
  const drawn = new WeakMap();
  const draw = (axis) => {
    if (!drawn.has(axis)) drawn.set(axis, [...axis.cloneNode(true).childNodes]);
    axis.replaceChildren(...drawn.get(axis).map((part) => part.cloneNode(true)));
    const { from, span, step } = axis.dataset;
    if (!isLocal) return;
    const make = (name, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      return made;
    };
    const grid = axis.querySelector("#grid");
    grid.replaceChildren();
    axis.querySelectorAll("text").forEach((text) => text.remove());
    let before = "";
    const labels = [];
    for (const at of ticks(Number(from), Number(from) + Number(span), step)) {
      const x = (at - from) / span * 100;
      grid.append(make("line", { class: "tick", x1: `${x}%`, x2: `${x}%`, y1: 0, y2: "100%" }));
      const text = digits(at * 1000);
      const size = parseInt(step, 10);
      let parts = [text.slice(11, size < 60 ? 19 : 16), text.slice(0, 10)];
      if (step.endsWith("m")) parts = [text.slice(0, size < 12 ? 7 : 4), ""];
      else if (size >= 86_400) parts = [text.slice(5, 10), text.slice(0, 4)];
      const date = parts[1] === before ? "" : parts[1];
      before = parts[1];
      const anchor = x < 15 ? "start" : x > 85 ? "end" : "middle";
      const pair = [parts[0], date].map((content, line) => {
        const made = make("text", { class: "shown", x: `${x}%`, y: 11 + 12 * line, "text-anchor": anchor });
        made.textContent = content;
        return made;
      });
      axis.append(...pair);
      labels.push({ pair, date });
    }
    const room = axis.getBoundingClientRect();
    const taken = [];
    for (const { pair } of labels.sort((a, b) => (a.date === "") - (b.date === ""))) {
      const boxes = pair.map((text) => text.getBoundingClientRect()).filter((box) => box.width > 0);
      const [left, right] = [Math.min(...boxes.map((box) => box.left)), Math.max(...boxes.map((box) => box.right))];
      const fits = left >= room.left - 6 && right <= room.right + 6;
      if (fits && taken.every(([start, end]) => right + 8 <= start || end + 8 <= left)) taken.push([left, right]);
      else pair.forEach((text) => text.remove());
    }
  };
  const tell = () => {
    zone.setAttribute("aria-pressed", isLocal);
    document.querySelectorAll(".zone").forEach((name) => { name.textContent = isLocal ? "local" : "UTC"; });
    for (const time of document.querySelectorAll("time")) {
      const ms = Date.parse(time.dateTime);
      const text = Number.isNaN(ms) ? "" : digits(ms);
      if (text.length !== 24) continue;
      const clock = time.querySelector(".clock");
      if (clock) [time.firstChild.data, clock.textContent] = [`${text.slice(0, 10)} `, text.slice(11, 19)];
      else time.textContent = time.classList.contains("day") ? text.slice(0, 10) : text.slice(0, 19).replace("T", " ");
    }
    document.querySelectorAll("svg.axis").forEach(draw);
  };
  zone.hidden = false;
  zone.title = `Times in the zone of this browser, ${here}, not in UTC`;
  zone.addEventListener("click", () => {
    isLocal = !isLocal;
    try {
      localStorage.setItem("zone", isLocal ? "local" : "utc");
    } catch {
      // As above.
    }
    tell();
  });
  window.addEventListener("resize", () => { if (isLocal) document.querySelectorAll("svg.axis").forEach(draw); });
  if (isLocal) tell();

  // The status is looked at again while it is being looked at.
  const live = document.querySelector("main[data-live]");
  if (live) {
    setInterval(async () => {
      if (document.hidden || live.contains(document.activeElement) && document.activeElement !== live) return;
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" } });
        if (!answer.ok) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const open = [...live.querySelectorAll("details")].map((details) => details.open);
        live.replaceChildren(...fresh.querySelector("main").childNodes);
        live.querySelectorAll("details").forEach((details, i) => { if (i in open) details.open = open[i]; });
        document.querySelector("footer").replaceChildren(...fresh.querySelector("footer").childNodes);
        if (isLocal) tell();
      } catch {
        // The daemon is away: what is shown stays, with the time it was true of.
      }
    }, 5000);
  }
})();
