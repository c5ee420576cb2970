// What makes a page live: parts of it and its charts' data come as Server-Sent Events, whose id is a position in the log.
"use strict";
(() => {
  const body = document.body, byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("js");

  // -- charts ----------------------------------------------------------------------------------------------------------
  const charts = new Map();
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const tone = (name) => css("--tone-" + name);
  const SHAPES = ["▲", "■", "●", "◆", "▼", "★"];
  const together = window.uPlot && uPlot.sync("time");
  // How moments are written under a chart: the step between them, how each is written, and what is added where a day or year begins.
  const TIMES = [
    [31536e3, "{YYYY}", null, null, null, null, null, null, 1], [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1], [3600, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  ];
  const number = (value) => value == null ? "–" : value >= 10 ? value.toFixed(1) : value.toFixed(4);
  const share = (value) => value == null ? "–" : (value * 100).toFixed(1) + " %";

  // Each area stands on the one before it.
  function stacked(columns) {
    const sums = new Float64Array(columns[0].length);
    return [columns[0], ...columns.slice(1).map((column) => Array.from(column, (value, row) => sums[row] += value || 0))];
  }
  // The highest value that the axis shows: labels of one bin are few at night, and a spike would flatten all else.
  function top(columns) {
    const all = columns.slice(1).flat().filter((value) => value != null).sort((a, b) => a - b);
    return all.length ? Math.max(all[Math.floor((all.length - 1) * .985)] * 1.15, 1e-9) : 1;
  }

  function spans(data, area) {
    return (u) => {
      const { ctx } = u, box = u.bbox;
      ctx.save();
      ctx.beginPath(); ctx.rect(box.left, box.top, box.width, box.height); ctx.clip();
      for (const [since, until, , severity] of data.spans) {
        const left = u.valToPos(since, "x", true), right = u.valToPos(until == null ? u.scales.x.max : until, "x", true);
        if (right < box.left || left > box.left + box.width) continue;
        if (!area) { // colours of areas mean models: a band would change them
          ctx.fillStyle = css("--band-" + severity);
          ctx.fillRect(left, box.top, Math.max(right - left, 2 * devicePixelRatio), box.height);
        }
        ctx.fillStyle = css("--" + ({ info: "note" }[severity] || severity));
        ctx.fillRect(left, box.top, Math.max(right - left, 2 * devicePixelRatio), 3 * devicePixelRatio);
      }
      ctx.restore();
    };
  }
  function marks(data) {
    return (u) => {
      const { ctx } = u, size = 11 * devicePixelRatio;
      ctx.save();
      ctx.font = size + "px sans-serif"; ctx.textAlign = "center"; ctx.textBaseline = "middle";
      for (const [at, lane] of data.marks) {
        if (at < u.scales.x.min || at > u.scales.x.max) continue;
        const row = data.lanes.indexOf(lane);
        ctx.fillStyle = tone("area" + row);
        ctx.fillText(SHAPES[row % SHAPES.length], u.valToPos(at, "x", true), u.valToPos(row, "y", true));
      }
      ctx.restore();
    };
  }
  // In words what is near the pointer: what happened, and which incident it lies in.
  function near(chart, u) {
    const { data, said } = chart;
    if (u.cursor.left == null || u.cursor.left < 0) { said.textContent = ""; return; }
    const at = u.posToVal(u.cursor.left, "x"), reach = (u.scales.x.max - u.scales.x.min) * 8 / Math.max(u.width, 1);
    const found = data.marks.filter((one) => Math.abs(one[0] - at) <= reach).slice(0, 4).map((one) => one[2]);
    const inside = data.spans.filter(([since, until]) => at >= since - reach && at <= (until == null ? Infinity : until) + reach);
    const words = [...found, ...inside.slice(0, 2).map((one) => "incident: " + one[2])];
    said.textContent = new Date(at * 1e3).toISOString().slice(0, 16).replace("T", " ") + (words.length ? "  " + words.join("; ") : "");
  }

  function options(chart, width) {
    const { data } = chart, ink = css("--ink"), quiet = css("--quiet"), line = css("--line");
    const area = data.series.some((one) => one.kind === "area"), lanes = data.lanes.length;
    const size = Math.max(12, Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * .8));
    const font = size + "px system-ui, sans-serif", room = Math.round(size * 7.2);
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font };
    const y = lanes
      ? { ...axis, size: room, splits: () => data.lanes.map((_, row) => row), values: () => data.lanes.map((one, row) => SHAPES[row % SHAPES.length] + " " + one) }
      : { ...axis, size: room, values: (_, all) => all.map((value) => area ? Math.round(value * 100) + " %" : String(+value.toFixed(3))) };
    return {
      width, height: +getComputedStyle(chart.box).getPropertyValue("--height"),
      tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC"),
      cursor: { sync: { key: "time", scales: ["x", null] }, focus: { prox: 20 }, y: false, drag: { x: true, y: false } },
      legend: { show: !lanes, live: true },
      scales: {
        x: { time: true, range: (_, least, most) => chart.zoomed || !chart.data.until ? [least, most] : [chart.data.since, chart.data.until] },
        y: lanes ? { range: [-.6, lanes - .4], dir: -1 } : area ? { range: [0, 1] } : { range: () => [0, top(chart.data.columns)] },
      },
      axes: [{ ...axis, values: TIMES }, y],
      series: [
        { label: "until (UTC)", value: (_, at) => at == null ? "–" : new Date(at * 1e3).toISOString().slice(0, 16).replace("T", " ") },
        ...data.series.map((one, place) => ({
          label: one.label, stroke: area ? css("--paper") : tone(one.tone), width: area ? 1 : one.tone === "live" ? 2 : 1.5,
          dash: one.kind === "dashed" ? [6, 4] : one.tone === "first" ? [2, 3] : undefined,
          fill: area ? tone(one.tone) : undefined, points: { show: false }, spanGaps: true,
          paths: area ? uPlot.paths.stepped({ align: -1 }) : undefined,
          value: (_, value, __, row) => row == null ? "–" : (area ? share : number)(chart.data.columns[place + 1][row]),
        })),
      ],
      bands: area ? data.series.slice(1).map((_, place) => ({ series: [place + 2, place + 1] })) : undefined,
      hooks: {
        drawClear: area ? [] : [(u) => spans(chart.data, false)(u)],
        draw: [...(area ? [(u) => spans(chart.data, true)(u)] : []), ...(lanes ? [(u) => marks(chart.data)(u)] : [])],
        setCursor: [(u) => near(chart, u)],
        setSelect: [(u) => { chart.zoomed = u.select.width > 0 || chart.zoomed; }],
      },
    };
  }
  const values = (data) => data.lanes.length ? [[data.since || 0, data.until || 1]]
    : data.series.some((one) => one.kind === "area") ? stacked(data.columns) : data.columns;

  function draw(chart) {
    if (!window.uPlot || !chart.box.clientWidth) return;
    if (chart.plot) chart.plot.destroy();
    chart.box.textContent = "";
    const plot = document.createElement("div");
    chart.said = Object.assign(document.createElement("div"), { className: "said" });
    chart.box.append(plot, chart.said);
    chart.plot = new uPlot(options(chart, chart.box.clientWidth), values(chart.data), plot);
    chart.plot.over.addEventListener("dblclick", () => { chart.zoomed = false; });
    chart.width = chart.box.clientWidth;
    together.sub(chart.plot);
  }
  for (const box of document.querySelectorAll("[data-chart]")) {
    const name = box.dataset.chart, chart = { box, data: JSON.parse(byId("data_" + name).textContent), zoomed: false };
    charts.set(name, chart);
    draw(chart);
    if (window.ResizeObserver) new ResizeObserver(() => { if (box.clientWidth && box.clientWidth !== chart.width) draw(chart); }).observe(box);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(draw));

  function grow(chart, said, last) {
    const { from, columns, ...more } = said, old = chart.data;
    const other = more.series !== undefined, lanes = more.lanes !== undefined;
    if (from === 0 || other) chart.data = { ...old, ...more, columns };
    else {
      old.columns.forEach((column, place) => { column.length = Math.min(column.length, from); column.push(...columns[place]); });
      Object.assign(old, more);
    }
    if (other || lanes || !chart.plot) draw(chart);
    else if (last) chart.plot.setData(values(chart.data), !chart.zoomed);
  }

  // -- parts -----------------------------------------------------------------------------------------------------------
  const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";
  function swap(id, html) {
    const part = byId(id);
    if (!part) return;
    const held = part.contains(document.activeElement) ? [...part.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement) : -1;
    const open = new Set([...part.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
    const scrolled = [...part.querySelectorAll(".scroll")].map((one) => [one.scrollTop, one.scrollLeft]);
    part.innerHTML = html;
    for (const one of part.querySelectorAll("details[data-key]")) if (open.has(one.dataset.key)) one.open = true;
    [...part.querySelectorAll(".scroll")].forEach((one, place) => { if (scrolled[place]) [one.scrollTop, one.scrollLeft] = scrolled[place]; });
    if (held >= 0) { const again = part.querySelectorAll(FOCUSABLE)[held]; if (again) again.focus({ preventScroll: true }); }
  }

  // -- the stream ------------------------------------------------------------------------------------------------------
  const connection = byId("connection"), pause = byId("pause");
  let source = null, position = body.dataset.position, paused = false, again = 0, waiting = null, queued = false;
  const say = (words) => { if (connection.textContent !== words) connection.textContent = words; };
  const now = () => new Date().toISOString().slice(11, 19) + " UTC";

  function apply() {
    queued = false;
    const { parts, data } = waiting;
    waiting = null;
    for (const [id, html] of Object.entries(parts)) swap(id, html);
    for (const [name, all] of data) { const chart = charts.get(name); if (chart) all.forEach((said, place) => grow(chart, said, place === all.length - 1)); }
  }
  function take(event) {
    const said = JSON.parse(event.data);
    position = event.lastEventId || position;
    body.dataset.position = position;
    waiting = waiting || { parts: {}, data: new Map() };
    Object.assign(waiting.parts, said.parts);
    for (const [name, one] of Object.entries(said.charts || {})) { if (one.from !== 0 && waiting.data.has(name)) waiting.data.get(name).push(one); else waiting.data.set(name, [one]); }
    if (!queued) { queued = true; setTimeout(apply, 0); }
  }
  function connect() {
    clearTimeout(again);
    if (source) source.close();
    const address = body.dataset.live;
    source = new EventSource(address + (address.includes("?") ? "&" : "?") + "after=" + encodeURIComponent(position));
    source.onopen = () => say("● live");
    source.onmessage = take;
    source.onerror = () => {
      say("✕ not live: the console does not answer; trying again");
      if (source.readyState === EventSource.CLOSED) again = setTimeout(connect, 4000);
    };
  }
  function close() { clearTimeout(again); if (source) source.close(); source = null; }
  if (body.dataset.live && window.EventSource) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.textContent = paused ? "Go on" : "Pause";
      if (paused) { close(); say("‖ paused at " + now()); } else connect();
    });
    // A page that nobody sees holds no connection: browsers allow six a host.
    document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else if (!paused && !source) connect(); });
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => { if (event.persisted && !paused) connect(); });
    if (!document.hidden) connect();
  }

  // -- time travel: moving the range goes there, and nothing else ---------------------------------------------------------
  const scrub = byId("scrub"), at = "scrubbing " + location.pathname;
  if (scrub) {
    let going = 0;
    scrub.addEventListener("input", () => { byId("scrubbed").textContent = "@" + (+scrub.value).toLocaleString("en"); });
    scrub.addEventListener("change", () => { // keys change it step by step: it goes when they rest
      clearTimeout(going);
      going = setTimeout(() => { sessionStorage.setItem(at, "1"); scrub.form.requestSubmit(); }, 700);
    });
    if (sessionStorage.getItem(at)) { sessionStorage.removeItem(at); scrub.focus({ preventScroll: true }); }
  }
})();
