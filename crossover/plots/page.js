// What the page does beyond being read: draws figures as they come into view, sorts tables, changes the theme, saves data.
"use strict";
(() => {
  const views = new Map();

  const config = JSON.parse(document.getElementById("config").textContent);

  // Data come as a header and a list per row, the style once for all.
  const unpacked = ([names, ...rows]) => rows.map((row) => Object.fromEntries(row.map((value, i) => [names[i], value])));
  const spec = (figure) => {
    const chart = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    for (const name in chart.datasets) chart.datasets[name] = unpacked(chart.datasets[name]);
    return { ...chart, config };
  };

  const rows = (chart) => chart.data.values ?? chart.datasets[chart.data.name];

  const draw = async (figure) => {
    if (views.has(figure)) return views.get(figure);
    const place = figure.querySelector(".chart");
    const chart = spec(figure);
    const parts = chart.spec ? [chart.spec] : chart.vconcat;
    const room = Math.max(200, place.clientWidth - (parts ? 95 : 20));
    if (parts) for (const part of parts) part.width = room;
    else Object.assign(chart, { width: room, autosize: { type: "fit-x", contains: "padding" } });
    const drawn = vegaEmbed(place, chart, { renderer: "svg", actions: false, ast: true, tooltip: { disableDefaultStyle: true } });
    views.set(figure, drawn.then((made) => made.view));
    await drawn;
    place.classList.add("drawn");
    // The place says in words what it shows; thousands of nameless marks are no help to a listener.
    place.querySelectorAll("svg, svg *").forEach((node) => {
      for (const name of ["role", "aria-label", "aria-roledescription"]) node.removeAttribute(name);
    });
    return views.get(figure);
  };

  // The study that was just run is asked for by name, and comes first.
  const asked = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const hero = document.querySelector(".hero");
  if (hero && asked?.matches?.(".card") && asked !== hero) {
    hero.classList.remove("hero");
    asked.classList.add("hero");
    hero.before(asked);
    addEventListener("load", () => requestAnimationFrame(() => scrollTo(0, 0)));  // after the browser's own
  }

  const figures = [...document.querySelectorAll("figure")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  figures.forEach((figure) => seen.observe(figure));

  // The rest is drawn while nobody waits, so that printing finds everything; what is folded, when it is unfolded.
  const later = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 300 }) : setTimeout(work, 50));
  const open = figures.filter((figure) => !figure.closest("details"));
  const rest = async (index) => {
    if (index === open.length) { document.documentElement.dataset.drawn = "all"; return; }
    await draw(open[index]).catch(console.error);
    later(() => rest(index + 1));
  };
  later(() => rest(0));

  // A width that changes (a turned phone) draws again.
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    const drawn = [...views];
    views.clear();
    drawn.forEach(async ([figure, view]) => { (await view).finalize(); draw(figure); });
  });

  // A card that is unfolded is as wide as the page, and so is its figure.
  document.addEventListener("toggle", ({ target }) => {
    const figure = target.parentNode.matches?.(".card:not(.hero)") && target.parentNode.querySelector(":scope > figure");
    if (!figure || !views.has(figure)) return;
    views.get(figure).then((view) => { view.finalize(); views.delete(figure); draw(figure); });
  }, true);

  const save = (name, type, text) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const quoted = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  const csv = (table) => {
    const names = [...new Set(table.flatMap((row) => Object.keys(row)))];
    return [names, ...table.map((row) => names.map((name) => row[name]))].map((line) => line.map(quoted).join(",")).join("\n") + "\n";
  };

  const sort = (header) => {
    const table = header.closest("table"), body = table.tBodies[0], column = header.cellIndex;
    const up = header.getAttribute("aria-sort") !== "ascending";
    const key = (row) => row.cells[column]?.dataset.value ?? row.cells[column]?.textContent.trim() ?? "";
    const number = (text) => parseFloat(text.replace("−", "-").replaceAll(",", "").replace(/^\[/, ""));
    const way = up ? 1 : -1;
    const compare = (a, b) => {  // what has no number comes last, either way
      const [x, y] = [number(key(a)), number(key(b))];
      if (!isNaN(x) && !isNaN(y)) return way * (x - y);
      return isNaN(x) === isNaN(y) ? way * key(a).localeCompare(key(b)) : isNaN(x) ? 1 : -1;
    };
    table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...[...body.rows].sort(compare));
  };

  const themes = ["auto", "light", "dark"];
  const theme = (button) => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % 3];
    document.documentElement.dataset.theme = next;
    button.textContent = `Theme: ${next}`;
  };

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("button"), figure = target.closest("figure");
    if (!button) return;
    if (button.dataset.does === "theme") theme(button);
    if (button.dataset.does === "sort") sort(button.closest("th"));
    if (button.dataset.does === "csv") save(`${figure.id}.csv`, "text/csv", csv(rows(spec(figure))));
    if (button.dataset.does === "svg") save(`${figure.id}.svg`, "image/svg+xml", await (await draw(figure)).toSVG());
  });
})();
