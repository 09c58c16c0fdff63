"use strict";
// One table, and the charts of what it shows. Every choice of the reader's is in the address after the #.
const creditbench = (() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const place = new Map(page.columns.map((column, number) => [column.key, number]));
  const value = (row, key) => row.v[place.get(key)];
  const text = (row, key) => row.t[place.get(key)] ?? String(value(row, key) ?? "");
  const ABSENT = "–";
  const MOST_CURVES = 12;

  const COSTS = {
    energy: { words: "energy, modelled", label: "training nJ / sample, modelled", scale: 1e-3, bounded: true },
    macs: { words: "operations", label: "training MACs / sample", scale: 1, bounded: true },
    ratio: { words: "time, relative to bp", label: "training step, × bp" },
    step: { words: "time", label: "training step, ms", scale: 1e3, timed: true },
    memory: { words: "memory", label: "peak memory of a step, MB", scale: 1e-6 },
    joules: { words: "energy, measured", label: "training step, J measured", timed: true },
  };
  const FILTERS = { track: "track", task: "task", network: "network", device: "device", status: "status" };

  // ------------------------------------------------------------------------------ the state of the view

  const DEFAULTS = {
    track: null, task: "", network: "", device: "", status: "", q: "", sort: "task:asc,network:asc,score:desc",
    columns: "", group: "", cost: "energy", along: "epochs", scale: "score", hide: "",
  };
  const state = { ...DEFAULTS };

  // The anchor of a section is no state: it has no "=".
  function fromAddress() {
    const given = location.hash.includes("=") ? new URLSearchParams(location.hash.slice(1)) : new URLSearchParams();
    for (const key of Object.keys(DEFAULTS)) state[key] = given.get(key) ?? DEFAULTS[key];
  }

  function toAddress() {
    const given = new URLSearchParams();
    for (const [key, own] of Object.entries(state)) if (own !== DEFAULTS[key]) given.set(key, own);
    const hash = given.size ? `#${given}` : "#";
    byId("permalink").href = hash;
    if (given.size || location.hash.includes("=")) history.replaceState(null, "", hash);
  }

  // ---------------------------------------------------------------------------------------- the filters

  const form = byId("filters");
  const counted = (key) => {
    const found = new Map();
    for (const row of page.rows) for (const own of parts(row, key)) found.set(own, (found.get(own) ?? 0) + 1);
    return found;
  };
  const parts = (row, key) => {
    const own = value(row, key) ?? "";
    return key === "device" ? own.split("; ") : key === "status" ? [own.includes(" ok") ? "partly ok" : own] : [own];
  };

  // Tracks are never in one table, so of them one is always chosen: the first, or the only one.
  const tracks = [...counted("track").keys()];
  DEFAULTS.track = tracks.includes("tuned") ? "tuned" : tracks[0] ?? "";
  for (const [name, key] of Object.entries(FILTERS)) {
    const select = form.elements[name];
    const found = [...counted(key)].filter(([own]) => own && own !== ABSENT);
    if (name !== "track") {
      select.append(new Option("all", ""));
      found.sort(([a], [b]) => a.localeCompare(b));
    }
    for (const [own, count] of found) select.append(new Option(`${own} (${count})`, own));
    if (found.length < 2 && name !== "track") select.closest("label").hidden = true;
  }

  const wanted = (row) => Object.entries(FILTERS).every(([name, key]) => !state[name] || parts(row, key).includes(state[name]));

  // ------------------------------------------------------------------------------------------- the table

  function element(tag, words, options = {}) {
    const made = document.createElement(tag);
    if (words) made.textContent = words;
    for (const [key, own] of Object.entries(options)) made.setAttribute(key, own);
    return made;
  }

  function link(words, href) {
    return element("a", words, { href });
  }

  const cellPage = (row) => `${page.root}cells/${row.cell}.html`;

  // Each seed a dot, their mean a stroke, bp's mean dotted, on the axis that the rows of one table share.
  function strip(row) {
    if (!row.axis || !row.scores.length) return document.createTextNode(ABSENT);
    const [low, high, reference] = row.axis;
    const at = (score) => 4 + 112 * Math.min(Math.max((100 * score - low) / (high - low), 0), 1);
    const mean = value(row, "score");
    const svg = d3.create("svg").attr("class", "strip").attr("width", 120).attr("height", 18).attr("role", "img")
      .attr("aria-label", `seeds ${text(row, "spread")} %, on an axis from ${low} to ${high} %`);
    svg.append("path").attr("class", "track").attr("d", "M4 9H116");
    if (reference != null && 100 * reference >= low) svg.append("path").attr("class", "bp").attr("d", `M${at(reference)} 0V18`);
    if (100 * mean < low) {
      svg.append("path").attr("class", "below").attr("d", "M12 5L5 9L12 13");
    } else {
      if (row.std != null) svg.append("path").attr("class", "whisker").attr("d", `M${at(mean - row.std)} 9H${at(mean + row.std)}`);
      for (const score of row.scores) svg.append("circle").attr("cx", at(score)).attr("cy", 9).attr("r", 2.6);
      svg.append("path").attr("class", "mean").attr("d", `M${at(mean)} 3V15`);
    }
    return svg.node();
  }

  const shown = {
    task: (row) => (row.pages[0] ? link(text(row, "task"), `${page.root}tasks/${row.pages[0]}.html`) : text(row, "task")),
    rule: (row) => {
      const box = element("span");
      box.append(row.pages[1] ? link(value(row, "rule"), `${page.root}rules/${row.pages[1]}.html`) : value(row, "rule"));
      const more = [row.variant, row.settings].filter(Boolean).join(", ");
      if (more) box.append(element("small", more));
      return box;
    },
    score: (row) => {
      const [mean, spread = ""] = text(row, "score").split(/ (?=±)/);
      if (!row.cell) return ABSENT;
      const box = link(mean, cellPage(row));
      if (spread) box.append(" ", element("span", spread, { class: "std" }));
      return box;
    },
    spread: strip,
    status: (row) => {
      const own = value(row, "status");
      const box = element("span", own, { class: own === "ok" || own === "skipped" ? "quiet" : "trouble" });
      if (!row.reasons.length) return box;
      const both = element("span");
      both.append(box, element("small", row.reasons.join("; ")));
      return both;
    },
  };
  // DataTables reads what is searched as HTML where it holds an "&", to turn entities into letters.
  const escaped = (words) => words.replace(/[&<>]/g, (letter) => `&#${letter.charCodeAt(0)};`);


  // What has no value stays at the end, whichever way a column is sorted.
  const compare = (sign) => (a, b) => (a == null || b == null ? (a == null) - (b == null) : sign * (a - b));
  DataTable.ext.type.order["figure-asc"] = compare(1);
  DataTable.ext.type.order["figure-desc"] = compare(-1);

  function asColumn(column, number) {
    return {
      title: column.title,
      name: column.key,
      className: column.kind === "figure" ? `n ${column.key}` : `words ${column.key}`,
      type: column.kind === "figure" ? "figure" : "string",
      orderSequence: column.kind === "figure" ? ["desc", "asc"] : ["asc", "desc"],
      orderable: column.key !== "spread",
      visible: picked().has(column.key),
      searchable: column.kind !== "figure", // figures are sorted, not searched: a large table opens in half the time
      data: null,
      render: (_, kind, row) => {
        if (kind === "sort" || kind === "type") return column.kind === "figure" ? row.v[number] ?? null : row.v[number] ?? "";
        if (kind === "filter") return escaped(column.key === "rule" ? `${row.v[number]} ${row.variant} ${row.settings}` : text(row, column.key));
        if (shown[column.key]) return shown[column.key](row);
        return document.createTextNode(text(row, column.key) || ABSENT);
      },
      createdCell: (cell, _, row) => {
        const exact = row.v[number];
        if (column.kind === "figure" && exact != null) cell.title = String(exact);
      },
    };
  }

  const order = () => state.sort.split(",").map((one) => one.split(":")).filter(([key]) => place.has(key))
    .map(([key, way]) => [place.get(key), way === "desc" ? "desc" : "asc"]);
  const pickedByDefault = page.columns.filter((column) => column.shown).map((column) => column.key);
  const picked = () => new Set(state.columns ? state.columns.split(",") : pickedByDefault);

  function save(name, kind, content) {
    const address = URL.createObjectURL(new Blob([content], { type: kind }));
    const made = element("a", "", { href: address, download: name });
    made.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  // The rows and columns of the view, with exact values.
  function view() {
    const keys = page.columns.filter((column) => picked().has(column.key)).map((column) => column.key);
    return rowsShown().map((row) => ({
      ...Object.fromEntries(keys.map((key) => [key, key === "spread" ? text(row, key) : value(row, key) ?? null])),
      variant: row.variant, cell: row.cell, reasons: row.reasons.join("; "),
    }));
  }

  fromAddress();
  choose();
  DataTable.ext.search.push((settings, searched, number, row) => wanted(row));
  let restoring = true;
  const table = new DataTable("#board", {
    data: page.rows,
    columns: page.columns.map(asColumn),
    order: order(),
    search: { search: state.q },
    pageLength: 50,
    lengthMenu: [10, 25, 50, 100, 500, { label: "all", value: -1 }],
    deferRender: true,
    autoWidth: false,
    createdRow: (tr, row) => {
      tr.classList.toggle("reference", value(row, "rule") === "bp" || value(row, "rule") === "last-layer");
      tr.classList.toggle("lost", value(row, "score") == null);
    },
    layout: {
      topStart: {
        buttons: [
          { extend: "colvis", text: "Columns" },
          { text: "CSV of this view", action: () => save("view.csv", "text/csv", d3.csvFormat(view())) },
          { text: "JSON of this view", action: () => save("view.json", "application/json", JSON.stringify(view(), null, 1)) },
        ],
      },
      topEnd: "search",
      bottomStart: "info",
      bottomEnd: ["pageLength", "paging"],
    },
    language: { search: "Search ", info: "_START_ to _END_ of _TOTAL_ cells", infoFiltered: "(of _MAX_)", lengthMenu: "_MENU_ a page",
      emptyTable: "No results.", zeroRecords: "Nothing matches: change the filters or the search." },
  });
  const rowsShown = () => table.rows({ search: "applied", order: "applied" }).data().toArray();

  // ------------------------------------------------------------------------------------------ the charts

  const groupBox = byId("group");
  const name = (row) => (row.variant ? `${value(row, "rule")} (${row.variant})` : value(row, "rule"));
  const loaded = new Map();

  for (const group of [...new Set(page.rows.map((row) => row.group))].sort()) groupBox.append(new Option(group, group));
  for (const [key, cost] of Object.entries(COSTS)) {
    const option = new Option(cost.words, key);
    option.disabled = !page.rows.some((row) => value(row, key) != null);
    byId("cost").append(option);
  }
  for (const [key, words] of Object.entries(ALONG)) byId("along").append(new Option(words, key));

  function fetchCurves(group) {
    if (!page.curves[group] || loaded.has(group)) return;
    loaded.set(group, null);
    const script = element("script", "", { src: `${page.root}data/curves/${page.curves[group]}.js` });
    script.addEventListener("error", () => {
      loaded.set(group, {});
      drawCharts();
    });
    document.head.append(script);
  }

  function curves([group, own]) {
    loaded.set(group, own);
    drawCharts();
  }

  const hidden = () => new Set(state.hide ? state.hide.split(",").map(decodeURIComponent) : []);
  const listed = (names) => (names.length > 6 ? `${names.slice(0, 6).join(", ")} and ${names.length - 6} more` : names.join(", "));

  function drawCharts() {
    const rows = rowsShown();
    const present = new Set(rows.map((row) => row.group));
    const group = present.has(state.group) ? state.group : rows[0]?.group ?? state.group;
    for (const option of groupBox.options) option.disabled = !present.has(option.value);
    groupBox.value = group;
    const mine = rows.filter((row) => row.group === group);
    const away = hidden();
    drawLegend(mine, away);
    const kept = mine.filter((row) => !away.has(value(row, "rule")));
    drawPareto(kept);
    drawLearning(kept, group);
  }

  function drawPareto(rows) {
    const cost = COSTS[state.cost] ?? COSTS.energy;
    const key = COSTS[state.cost] ? state.cost : "energy";
    byId("cost").value = key;
    const scored = rows.filter((row) => value(row, "score") != null && row.share);
    const errors = rows.filter((row) => value(row, "score") != null && !row.share);
    const placed = scored.filter((row) => value(row, key) != null);
    const machines = new Set(placed.map((row) => row.machine));
    const fronted = !(cost.timed && machines.size > 1);
    const points = placed.map((row) => {
      const score = 100 * value(row, "score");
      const spread = row.std == null ? null : 100 * row.std;
      return {
        name: name(row), rule: value(row, "rule"), score, low: spread == null ? null : score - spread,
        high: spread == null ? null : score + spread, cost: value(row, key) * (cost.scale ?? 1),
        words: `${name(row)}: ${text(row, "score")} %, ${text(row, key)} ${cost.label}`, href: cellPage(row),
        sound: row.complete || !cost.bounded,
      };
    });
    const front = charts.pareto(byId("pareto"), points, { label: cost.label, rules: page.rules, fronted });
    const notes = [];
    if (front.length) notes.push(`On the front: ${listed(front.map((own) => own.name))}.`);
    if (!fronted) notes.push(`Timed on ${machines.size} machines: no front, since their times do not compare.`);
    const without = scored.filter((row) => value(row, key) == null);
    if (without.length) notes.push(`Left out, without this figure: ${listed(without.map(name))}.`);
    const bounds = points.filter((own) => !own.sound);
    if (bounds.length) notes.push(`Hollow, and not on the front, since their counts are lower bounds: ${listed(bounds.map((own) => own.name))}.`);
    if (errors.length) notes.push(`Left out, scored by an error and not by a share: ${listed(errors.map(name))}.`);
    const lost = rows.filter((row) => value(row, "score") == null);
    if (lost.length) notes.push(`No score: ${listed(lost.map((row) => `${name(row)} (${value(row, "status")})`))}.`);
    byId("pareto-note").textContent = notes.join(" ");
  }

  function drawLearning(rows, group) {
    fetchCurves(group);
    const own = loaded.get(group);
    const box = byId("curves");
    const all = own ? rows.filter((row) => own[row.cell]) : [];
    for (const option of byId("along").options) option.disabled = own != null && !all.some((row) => own[row.cell][option.value]?.length);
    byId("along").value = ALONG[state.along] ? state.along : "epochs";
    byId("scale").value = state.scale === "error" ? "error" : "score";
    if (own === null) {
      byId("curves-note").textContent = "Fetching the curves.";
      return;
    }
    const few = all.slice(0, MOST_CURVES);
    const along = byId("along").value || "epochs";
    const drawn = few.map((row) => ({ name: name(row), rule: value(row, "rule"), cell: row.cell, curve: own[row.cell] }));
    charts.learning(box, drawn, { along, label: ALONG[along], scale: byId("scale").value, rules: page.rules });
    const notes = ["Mean over seeds, band ± one standard deviation."];
    if (all.length > few.length) notes.push(`The first ${few.length} of ${all.length} cells in the order of the table.`);
    const without = drawn.filter((one) => !one.curve[along]?.length && one.curve.epochs.length);
    if (without.length) notes.push(`Left out, without this figure: ${listed(without.map((one) => one.name))}.`);
    const lost = drawn.flatMap((one) => one.curve.lost.map((seed) => `${one.name} seed ${seed.seed} (${seed.status})`));
    if (lost.length) notes.push(`Not in a mean: ${listed(lost)}.`);
    byId("curves-note").textContent = notes.join(" ");
  }

  function drawLegend(rows, away) {
    const rules = [...new Set(rows.map((row) => value(row, "rule")))].sort();
    const focused = document.activeElement?.dataset?.rule;
    byId("legend").replaceChildren(...rules.map((rule) => {
      const button = element("button", "", { type: "button", "aria-pressed": String(!away.has(rule)) });
      button.dataset.rule = rule;
      button.append(charts.sample(rule, page.rules), rule);
      return button;
    }));
    if (focused != null) [...byId("legend").children].find((own) => own.dataset.rule === focused)?.focus();
  }

  // ------------------------------------------------------------------------------- what the reader does

  // The choices of the state in the form's own fields; what no field offers falls back.
  function choose() {
    for (const filter of Object.keys(FILTERS)) {
      form.elements[filter].value = state[filter];
      if (form.elements[filter].value !== state[filter]) state[filter] = form.elements[filter].value = DEFAULTS[filter];
    }
  }

  function restore() {
    restoring = true;
    choose();
    const keep = picked();
    page.columns.forEach(({ key }, number) => {
      const column = table.column(number);
      if (column.visible() !== keep.has(key)) column.visible(keep.has(key), false);
    });
    table.search(state.q).order(order()).draw();
    restoring = false;
    toAddress();
    drawCharts();
  }

  function changed() {
    if (restoring) return;
    toAddress();
    drawCharts();
  }

  form.addEventListener("change", (event) => {
    state[event.target.name] = event.target.value;
    table.draw();
  });
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    Object.assign(state, DEFAULTS);
    restore();
  });
  for (const key of ["group", "cost", "along", "scale"]) {
    byId(key).addEventListener("change", (event) => {
      state[key] = event.target.value;
      changed();
    });
  }
  byId("legend").addEventListener("click", (event) => {
    const rule = event.target.closest("button")?.dataset.rule;
    if (rule === undefined) return;
    const away = hidden();
    if (!away.delete(rule)) away.add(rule);
    state.hide = [...away].map(encodeURIComponent).join(",");
    changed();
  });
  table.on("draw", () => {
    if (restoring) return;
    state.q = table.search();
    state.sort = table.order().map(([number, way]) => `${page.columns[number].key}:${way}`).join(",");
    changed();
  });
  table.on("column-visibility", () => {
    if (restoring) return;
    const seen = page.columns.filter((_, number) => table.column(number).visible()).map((column) => column.key);
    state.columns = seen.join() === pickedByDefault.join() ? "" : seen.join();
    toAddress();
  });
  window.addEventListener("hashchange", () => {
    if (location.hash && !location.hash.includes("=")) return;
    fromAddress();
    restore();
  });
  let narrow = 0;
  window.addEventListener("resize", () => {
    clearTimeout(narrow);
    narrow = setTimeout(drawCharts, 150);
  });
  // On paper there are no further pages of a table.
  let length = 50;
  window.addEventListener("beforeprint", () => {
    length = table.page.len();
    table.page.len(-1).draw(false);
  });
  window.addEventListener("afterprint", () => table.page.len(length).draw(false));

  const scrolling = document.querySelector(".dt-layout-table > .dt-layout-cell");
  if (scrolling) for (const [key, own] of [["tabindex", "0"], ["role", "region"], ["aria-label", "Table of results"]]) scrolling.setAttribute(key, own);

  restoring = false;
  toAddress();
  drawCharts();
  return { curves };
})();
