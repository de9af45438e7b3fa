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
      } catch {
        // The daemon is away: what is shown stays, with the time it was true of.
      }
    }, 5000);
  }
})();
