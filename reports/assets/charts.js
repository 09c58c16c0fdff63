"use strict";
// Score against cost, and learning curves, by Observable Plot. What a record says goes into attributes and text
// nodes alone, never into HTML.
const ALONG = {
  epochs: "epochs",
  seconds: "seconds of training steps",
  modelled: "joules of arithmetic, modelled",
  measured: "joules, measured",
};

const charts = (() => {
  const SYMBOLS = ["circle", "triangle", "square", "diamond", "times"];
  const DASHES = ["none", "6 3", "2 3", "8 3 2 3", "1 4"];
  const COLOURS = 7;
  const CROWDED = 14; // points beyond which only those on the front bear their names
  const TIP = { ariaHidden: "true", lineWidth: 24, fill: "var(--paper)", stroke: "var(--quiet)" };
  const UNHEARD = { ariaHidden: "true" };

  // The same rule looks the same on every page: its place among all rules of the site decides.
  function look(rule, rules) {
    if (rule === "bp") return { colour: "var(--ink)", symbol: "star", dash: "none" };
    if (rule === "last-layer") return { colour: "var(--quiet)", symbol: "plus", dash: "2 3" };
    const place = Math.max(rules.filter((name) => name !== "bp" && name !== "last-layer").indexOf(rule), 0);
    const lap = Math.floor(place / COLOURS) % SYMBOLS.length;
    return { colour: `var(--c${place % COLOURS})`, symbol: SYMBOLS[lap], dash: DASHES[lap] };
  }

  function empty(box, words) {
    const note = document.createElement("p");
    note.className = "empty";
    note.textContent = words;
    box.replaceChildren(note);
  }

  const size = (box) => ({
    width: Math.max(Math.min(box.clientWidth || 640, 760), 300),
    height: 340, marginLeft: 48, marginBottom: 44, marginTop: 24,
  });

  // Three digits and a prefix, for axes and tips.
  function prefixed(value) {
    for (const [unit, letter] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
      if (Math.abs(value) >= unit) return `${+(value / unit).toPrecision(3)}${letter}`;
    }
    return String(+value.toPrecision(3));
  }

  // Points that no other beats in both; those that share both with one on it are on it, too.
  function front(points) {
    const on = [];
    for (const own of [...points].sort((a, b) => a.cost - b.cost || b.score - a.score)) {
      const last = on.at(-1);
      if (!last || own.score > last.score || (own.score === last.score && own.cost === last.cost)) on.push(own);
    }
    return on;
  }

  // points: {name, rule, score [%], low, high, cost, words, href, sound}; sound: false where the cost is a lower
  // bound. fronted: whether the costs compare at all. Returns the points on the front.
  function pareto(box, points, { label, rules, fronted }) {
    if (!points.length) {
      empty(box, "No cell of this view has both a score and this cost.");
      return [];
    }
    const line = fronted ? front(points.filter((own) => own.sound)) : [];
    const styled = points.map((own) => ({ ...own, ...look(own.rule, rules) }));
    const costs = points.map((own) => own.cost);
    const logarithmic = Math.min(...costs) > 0;
    const named = (own) => styled.length <= CROWDED || line.some((other) => other.name === own.name);
    const short = (name) => (name.length > 26 ? `${name.slice(0, 25)}…` : name);
    const at = { x: "cost", y: "score" };
    const drawn = (labels) => Plot.plot({
      ...size(box), marginRight: 80,
      ariaLabel: `Test score against ${label}: ${points.length} points; the table has the same figures`,
      x: {
        type: logarithmic ? "log" : "linear", label: `${label} →`, grid: true, ticks: 5, tickFormat: prefixed,
        domain: logarithmic ? [Math.min(...costs) * 0.8, Math.max(...costs) * 1.25] : undefined,
      },
      y: { label: "↑ test score, %", nice: true, grid: true },
      symbol: { type: "identity" },
      marks: [
        Plot.line(line, { ...at, ...UNHEARD, curve: "step-after", stroke: "var(--quiet)", strokeDasharray: "4 3" }),
        Plot.ruleX(styled.filter((own) => own.low != null), {
          ...UNHEARD, x: "cost", y1: "low", y2: "high", stroke: "colour", strokeWidth: 1.5, strokeOpacity: 0.55,
        }),
        ...labels.map(({ own, ...offset }) => Plot.text([own], {
          ...at, ...UNHEARD, ...offset, text: (one) => short(one.name),
          fill: "var(--ink)", stroke: "var(--paper)", strokeWidth: 4,
        })),
        Plot.dot(styled, {
          ...at, symbol: "symbol", r: 5.5, stroke: "colour", strokeWidth: 1.5,
          fill: (own) => (own.sound ? own.colour : "var(--paper)"), href: "href", ariaLabel: "words",
        }),
        Plot.tip(styled, Plot.pointer({ ...at, ...TIP, title: "words" })),
      ],
    });
    // Once without names, to know where the points come to lie.
    const bare = drawn([]);
    const spots = styled.map((own) => ({ own, x: bare.scale("x").apply(own.cost), y: bare.scale("y").apply(own.score) }));
    place(box, drawn(labelled(spots, named, short)));
    return line;
  }

  // For each name the first place beside its point where it covers no point and no other name; right if none.
  function labelled(spots, named, short) {
    const taken = spots.map(({ x, y }) => ({ left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 }));
    const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return spots.filter(({ own }) => named(own)).map(({ own, x, y }) => {
      const wide = 6.6 * short(own.name).length;
      const places = [
        { dx: 10, dy: 0, textAnchor: "start" }, { dx: -10, dy: 0, textAnchor: "end" },
        { dx: 0, dy: -14, textAnchor: "middle" }, { dx: 0, dy: 15, textAnchor: "middle" },
        { dx: 8, dy: -14, textAnchor: "start" }, { dx: 8, dy: 15, textAnchor: "start" },
        { dx: -8, dy: -14, textAnchor: "end" }, { dx: -8, dy: 15, textAnchor: "end" },
      ];
      const boxes = places.map(({ dx, dy, textAnchor }) => {
        const left = x + dx - (textAnchor === "end" ? wide : textAnchor === "middle" ? wide / 2 : 0);
        return { left, right: left + wide, top: y + dy - 6, bottom: y + dy + 6 };
      });
      const free = boxes.findIndex((one) => one.left > 48 && !taken.some((other) => meets(one, other)));
      const chosen = Math.max(free, 0);
      taken.push(boxes[chosen]);
      return { own, ...places[chosen] };
    });
  }

  // curves: {name, rule, cell, curve}; along: which of the curve's arrays stands on the x axis. Returns how many
  // of them could be drawn.
  function learning(box, curves, { along, label, scale, rules }) {
    const error = scale === "error";
    const turned = (score) => (error ? Math.max(100 * (1 - score), 1e-3) : 100 * score);
    const points = [];
    const lost = [];
    for (const { name, rule, curve, cell } of curves) {
      const own = { name, cell, ...look(rule, rules) };
      (curve[along] ?? []).forEach((x, place) => {
        const bounds = curve.low ? { low: turned(curve.low[place]), high: turned(Math.min(curve.high[place], 1)) } : {};
        points.push({ ...own, ...bounds, x, y: turned(curve.mean[place]), epoch: curve.epochs[place] });
      });
      for (const seed of along === "epochs" ? curve.lost : []) {
        for (const [x, score] of seed.points) {
          lost.push({ ...own, cell: `${cell} ${seed.seed}`, x, y: turned(score), status: seed.status });
        }
      }
    }
    if (!points.length && !lost.length) {
      empty(box, "No cell of this view has a learning curve against this.");
      return 0;
    }
    const words = (own) =>
      `${own.name}, epoch ${own.epoch}: ${error ? "error" : "score"} ${own.y.toFixed(2)} %`
      + (own.low == null ? "" : ` ± ${Math.abs(own.y - own.low).toFixed(2)}`)
      + (along === "epochs" ? "" : `\n${prefixed(own.x)} ${label}`);
    const dashes = [...new Set(points.map((own) => own.dash))];
    const at = { x: "x", y: "y", z: "cell" };
    place(box, Plot.plot({
      ...size(box), marginRight: 20,
      ariaLabel: `Validation ${error ? "error" : "score"} against ${label}: ${curves.length} cells`,
      x: {
        label: `${label} →`, grid: true, ticks: 6,
        tickFormat: (value) => (along !== "epochs" ? prefixed(value) : Number.isInteger(value) ? `${value}` : ""),
      },
      y: {
        label: `↑ validation ${error ? "error" : "score"}, %`, type: error ? "log" : "linear", nice: true, grid: true,
        ticks: 6, tickFormat: (value) => String(+value.toPrecision(3)),
      },
      marks: [
        Plot.areaY(points.filter((own) => own.low != null), {
          ...UNHEARD, x: "x", y1: "low", y2: "high", z: "cell", fill: "colour", fillOpacity: 0.16,
        }),
        ...dashes.map((dash) => Plot.line(points.filter((own) => own.dash === dash), {
          ...at, ...UNHEARD, stroke: "colour", strokeWidth: 1.75, strokeDasharray: dash === "none" ? undefined : dash,
        })),
        Plot.line(lost, { ...at, ...UNHEARD, stroke: "colour", strokeWidth: 0.9, strokeOpacity: 0.8 }),
        Plot.text(lost.filter((own, number) => lost[number + 1]?.cell !== own.cell), {
          ...UNHEARD, x: "x", y: "y", text: "status", dx: 4, textAnchor: "start",
          fill: "var(--trouble)", stroke: "var(--paper)", strokeWidth: 3,
        }),
        Plot.tip(points, Plot.pointer({ ...TIP, x: "x", y: "y", title: words })),
      ],
    }));
    return new Set(points.map((own) => own.cell)).size;
  }

  // Shows a chart. Its points are links, which bear the words of their marks, so that the keyboard finds them.
  function place(box, chart) {
    chart.setAttribute("role", "group");
    for (const link of chart.querySelectorAll("a")) {
      const mark = link.querySelector("[aria-label]");
      if (!mark) continue;
      link.setAttribute("aria-label", mark.getAttribute("aria-label"));
      mark.removeAttribute("aria-label");
    }
    box.replaceChildren(chart);
  }

  // What a rule looks like, for a legend.
  function sample(rule, rules) {
    const { colour, symbol, dash } = look(rule, rules);
    const shapes = {
      circle: d3.symbolCircle, triangle: d3.symbolTriangle, square: d3.symbolSquare, diamond: d3.symbolDiamond,
      times: d3.symbolTimes, star: d3.symbolStar, plus: d3.symbolPlus,
    };
    const svg = d3.create("svg").attr("width", 30).attr("height", 12).attr("aria-hidden", "true");
    svg.append("path").attr("d", "M1 6H29").attr("stroke", colour).attr("stroke-width", 1.75)
      .attr("stroke-dasharray", dash === "none" ? null : dash);
    svg.append("path").attr("d", d3.symbol(shapes[symbol], 45)()).attr("transform", "translate(15,6)")
      .attr("fill", colour).attr("stroke", colour);
    return svg.node();
  }

  return { pareto, learning, sample };
})();
