// Keeps a page as it is now: elements come by their ids, as the server wrote them. No data stays here.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const address = document.body.dataset.live;
  let source = null;
  let heard = performance.now();

  const alive = () => {
    heard = performance.now();
    document.body.classList.remove("stale");
    at("stale").hidden = true;
  };

  const elements = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return [...template.content.children];
  };

  // What has the focus keeps it: one link a row.
  const put = (next) => {
    const old = at(next.id);
    if (!old || old.isEqualNode(next)) return;
    if (old.tagName === "IMG") {
      old.src = next.src;
    } else if (old.getAttribute("role") === "status") {
      // One that stays is read out.
      old.className = next.className;
      document.title = next.dataset.title;
      if (old.textContent !== next.textContent) old.replaceChildren(...next.childNodes);
    } else {
      const hadFocus = old.contains(document.activeElement);
      old.replaceWith(next);
      if (hadFocus) next.querySelector("a")?.focus({ preventScroll: true });
    }
  };

  // Rows that are on the page now, in their order; those that were not there before came just ahead.
  let fresh = new Map();
  const order = (ids) => {
    const focus = document.activeElement;
    at("rows").replaceChildren(...ids.map((id) => fresh.get(id) ?? at(id)).filter(Boolean));
    fresh = new Map();
    if (focus && focus.isConnected && focus !== document.activeElement) focus.focus({ preventScroll: true });
    const none = at("none");
    if (none) none.hidden = ids.length > 0;
  };

  const close = () => {
    source?.close();
    source = null;
  };

  const open = () => {
    close();
    source = new EventSource(address);
    source.addEventListener("part", (event) => {
      alive();
      for (const next of elements(event.data)) put(next);
    });
    source.addEventListener("row", (event) => {
      // A row is only one within a table.
      for (const next of elements(`<table><tbody>${event.data}</tbody></table>`)[0].tBodies[0].children) {
        if (at(next.id)) put(next); else fresh.set(next.id, next);
      }
    });
    source.addEventListener("order", (event) => order(event.data.split(" ").filter(Boolean)));
    source.onerror = () => {
      // A refusal closes it for good; whoever is busy now may have room later.
      if (source?.readyState === EventSource.CLOSED) setTimeout(() => document.hidden || open(), 10000);
    };
  };

  document.addEventListener("visibilitychange", () => {
    close();
    if (!document.hidden) {
      heard = performance.now();
      open();
    }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());

  setInterval(() => {
    const silent = Math.floor((performance.now() - heard) / 1000);
    if (silent < 10 || document.hidden) return;
    document.body.classList.add("stale");
    at("stale").hidden = false;
    at("stale").lastChild.textContent = ` for ${silent} s`;
  }, 1000);

  if (!document.hidden) open();
})();
