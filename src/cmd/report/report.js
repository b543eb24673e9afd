/* report.js - draws a recording (docs/recording.md) with Chart.js.
 * The recording is in the page, a line of JSON for each thing seen; times are nanoseconds, sizes bytes. */
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const lines = $("recording").textContent.split("\n").filter((l) => l.startsWith("{")).map((l) => JSON.parse(l));
  const rows = (key) => lines.filter((l) => key in l);
  const head = lines[0] || {};
  const end = rows("end").pop() || { end: 0, how: "cut off", status: -1, lost: 0 };
  const samples = rows("sample");
  const cycles = rows("cycle");
  const censuses = rows("census").filter((c) => c.cells.length > 0);
  const histograms = rows("histogram");
  const sites = rows("site");
  const collected = head.face !== "malloc";
  const counted = samples.length > 1 && samples.every((s) => "allocated" in s);

  /* ── numbers as text ── */

  const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
  const digits = (v) => (v === 0 ? "0" : v < 10 ? v.toFixed(v < 1 ? 2 : 1) : v.toFixed(0));
  function bytes(v) {
    let i = 0;
    while (v >= 1000 && i < 4) { v /= 1024; i++; }
    return (i === 0 ? v.toFixed(0) : v < 100 ? v.toFixed(1) : v.toFixed(0)) + " " + UNITS[i];
  }
  function duration(ns) {
    if (ns < 1e3) return ns.toFixed(0) + " ns";
    if (ns < 1e6) return digits(ns / 1e3) + " µs";
    if (ns < 1e9) return digits(ns / 1e6) + " ms";
    if (ns < 120e9) return digits(ns / 1e9) + " s";
    if (ns < 7200e9) return (ns / 60e9).toFixed(ns < 600e9 ? 1 : 0) + " min";
    return (ns / 3600e9).toFixed(ns < 36000e9 ? 1 : 0) + " h";
  }
  const count = (n) => n.toLocaleString("en-US");
  const counting = (n, word) => count(n) + " " + word + (n === 1 ? "" : "s");
  const percent = (v) => (100 * v).toFixed(v < 0.1 ? 1 : 0) + " %";
  /* The unit in which the largest of a chart's sizes has one to four digits. */
  function unitFor(max) {
    let i = 0;
    while (max >= 2048 && i < 4) { max /= 1024; i++; }
    return { name: UNITS[i], size: 1024 ** i };
  }
  const most = (list, of) => list.reduce((a, v) => Math.max(a, of(v)), 0);
  const sum = (list, of) => list.reduce((a, v) => a + of(v), 0);

  const lastNs = Math.max(end.end, most(samples, (s) => s.sample), 1);
  const [xTitle, xNs] = lastNs >= 7200e9 ? ["hours", 3600e9] : lastNs > 600e9 ? ["minutes", 60e9] : ["seconds", 1e9];
  const toX = (ns) => ns / xNs;

  /* ── colours: the page's own, of whichever theme is on ── */

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const fade = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
  const PHASES = {
    sweep: ["#8b5cf6", "sweeping what was left"], stopping: ["#f97316", "waiting for threads to stop"],
    arm: ["#0ea5e9", "arming the barrier"], roots: ["#06b6d4", "roots"], mark: ["#16a34a", "marking"],
    term: ["#84cc16", "ending the mark"], closed: ["#a3a3a3", "closed"], clear: ["#eab308", "weak references, finalizers"],
    flip: ["#ec4899", "turning over"],
  };
  const CLASS_COLORS = ["#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#14b8a6", "#ec4899", "#84cc16", "#f97316",
    "#06b6d4", "#a16207", "#6366f1"];
  const OTHER = "#94a3b8";

  /* A cycle as [phase, from, to] in nanoseconds, and whether the world stood still. */
  function cycleEnd(c) {
    return c.start + c.sweep + Math.max(c.beside, c.pause);
  }
  function segments(c) {
    const until = cycleEnd(c), out = [];
    if (c.sweep > 0) out.push(["sweep", c.start, c.start + c.sweep]);
    if (c.stopping > 0) out.push(["stopping", c.start + c.sweep, c.start + c.sweep + c.stopping]);
    const at = Object.entries(c.phases);
    at.forEach(([phase, ns], i) => out.push([phase, ns, i + 1 < at.length ? at[i + 1][1] : Math.max(until, ns)]));
    return out;
  }

  /* ── the head, and the run in numbers ── */

  function percentile(h, p) {
    const total = sum(h.buckets, (b) => b[2]);
    let seen = 0;
    for (const b of h.buckets) {
      seen += b[2];
      if (seen >= total * p) return b[1];
    }
    return 0;
  }
  const histogram = (name) => histograms.find((h) => h.histogram === name) || { buckets: [] };

  function tile(value, text) {
    const div = document.createElement("div");
    div.className = "tile";
    const b = document.createElement("b"), span = document.createElement("span");
    b.textContent = value;
    span.textContent = text;
    div.append(b, span);
    $("numbers").append(div);
  }

  function showHead() {
    const how = { exit: "ended with status " + end.status, killed: "was killed (status " + end.status + ")",
      vanished: end.status >= 0 ? "ended with status " + end.status + " without leaving through exit" : "ended",
      stopped: "was still running" }[end.how] || "its recording was cut off";
    document.title = (head.command || "") + " - mallocgc report";
    $("command").textContent = head.command || "";
    $("about").textContent = `${head.face} face · process ${head.pid} ${how} · ${duration(lastNs)} recorded · ` +
      `${head.date} · ${counting(head.cpus, "processor")}`;
    $("made").textContent = `Made by mallocgc ${head.version} from ${counting(samples.length, "sample")}, ` +
      `${counting(cycles.length, "collection")} and ${censuses.length === 1 ? "1 census" : count(censuses.length) + " censuses"}` +
      (end.lost ? `; ${counting(end.lost, "collection")} went by unseen` : "") + ". Drawn by Chart.js " + Chart.version + ".";
  }

  function showNumbers() {
    const last = samples[samples.length - 1] || {};
    tile(bytes(most(samples, (s) => s.rss)), "most resident");
    if (!collected) {
      tile(bytes(most(samples, (s) => s.pages)), "most in use, in pages");
      tile(bytes(last.pages || 0), "in use at the end");
      if (counted) {
        const nbytes = last.allocated - samples[0].allocated, ns = last.sample - samples[0].sample;
        tile(bytes(nbytes), `allocated, ${bytes(ns > 0 ? (nbytes * 1e9) / ns : 0)} each second`);
      }
      tile(bytes(last.scavenged || 0), "given back to the system");
      return;
    }
    const pauses = histogram("pauses"), snapshots = histogram("snapshots");
    tile(bytes(Math.max(most(samples, (s) => s.heap), most(cycles, (c) => c.before + c.born))), "largest heap");
    tile(bytes(last.allocated || 0), `allocated, ${bytes((last.allocated || 0) / (lastNs / 1e9))} each second`);
    tile(count(last.cycles || 0), last.cycles === 1 ? "collection" : "collections");
    const cpu = sum(cycles, (c) => c.cpu + c.sweep);
    tile(duration(cpu), `of processor time for them: ${percent(cpu / (lastNs * head.cpus))} of what there was`);
    if (pauses.buckets.length > 0) {
      tile(duration(most(cycles, (c) => c.pause)), "longest stop of the world");
      tile("≤ " + duration(percentile(pauses, 0.99)), "99 % of the stops");
    } else {
      tile("none", "stops of the world");
    }
    if (snapshots.buckets.length > 0) tile("≤ " + duration(percentile(snapshots, 0.99)), "99 % of the threads' snapshots");
  }

  /* ── charts over time ── */

  /* At most so many points: of each piece the first, the lowest and the highest. */
  function thin(points, limit = 1600) {
    if (points.length <= limit) return points;
    const out = [], step = Math.ceil((3 * points.length) / limit);
    for (let i = 0; i < points.length; i += step) {
      let lo = i, hi = i;
      for (let k = i; k < Math.min(i + step, points.length); k++) {
        if (points[k].y < points[lo].y) lo = k;
        if (points[k].y > points[hi].y) hi = k;
      }
      [...new Set([i, lo, hi])].sort((a, b) => a - b).forEach((k) => out.push(points[k]));
    }
    return out;
  }

  const charts = [];
  function chart(id, config) {
    const made = new Chart(typeof id === "string" ? $(id) : id, config);
    charts.push(made);
    return made;
  }
  function axis(title, extra = {}) {
    return { title: { display: title !== "", text: title, color: color("soft") }, ticks: { color: color("soft"), maxRotation: 0 },
      grid: { color: color("line") }, border: { color: color("line") }, ...extra };
  }
  function timeAxis() {
    return axis(xTitle, { type: "linear", min: 0, max: toX(lastNs) });
  }
  function line(label, points, name, extra = {}) {
    return { label, data: thin(points), borderColor: color(name), backgroundColor: fade(color(name), 0.12), borderWidth: 1.6,
      pointRadius: 0, pointHitRadius: 8, tension: 0, ...extra };
  }
  function options(scales, tooltip, extra = {}) {
    return { animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
      interaction: { mode: "nearest", axis: "x", intersect: false }, scales,
      plugins: { legend: { labels: { color: color("text"), boxWidth: 14, boxHeight: 2, usePointStyle: false } },
        tooltip: { callbacks: tooltip } }, ...extra };
  }

  /* Collections as bands behind the lines, their phases on the floor. Where many share a pixel it is painted once, or a long
   * run would be one dark block. */
  const bands = {
    id: "bands",
    beforeDatasetsDraw(c) {
      const { ctx, chartArea: a, scales: { x } } = c;
      ctx.save();
      ctx.beginPath();
      ctx.rect(a.left, a.top, a.right - a.left, a.bottom - a.top);
      ctx.clip();
      const painted = {}, stop = color("stop");
      for (const g of cycles) {
        const from = x.getPixelForValue(toX(g.start)), to = x.getPixelForValue(toX(cycleEnd(g)));
        if (to < a.left || from > a.right) continue;
        const tone = g.pause > g.beside ? stop : PHASES.mark[0], right = Math.max(to, from + 0.7);
        const left = Math.max(from, painted[tone] ?? from);
        ctx.fillStyle = fade(tone, 0.14);
        if (right > left) ctx.fillRect(left, a.top, right - left, a.bottom - a.top);
        painted[tone] = Math.max(left, right);
        for (const [phase, lo, hi] of segments(g)) {
          const left = x.getPixelForValue(toX(lo));
          ctx.fillStyle = PHASES[phase][0];
          ctx.fillRect(left, a.bottom - 7, Math.max(x.getPixelForValue(toX(hi)) - left, 0.7), 7);
        }
      }
      ctx.restore();
    },
  };

  /* Drag along a chart to look closer, a double click shows all; the charts over time move together. */
  const timed = [];
  function zoomTo(min, max) {
    for (const c of timed) {
      Object.assign(c.options.scales.x, { min, max });
      c.update("none");
    }
  }
  const zoom = {
    id: "zoom",
    afterInit(c) {
      const box = c.canvas;
      box.addEventListener("pointerdown", (e) => {
        if (e.pointerType === "mouse" && e.button === 0) c.dragFrom = c.dragTo = e.offsetX;
      });
      box.addEventListener("pointermove", (e) => {
        if (c.dragFrom === undefined) return;
        c.dragTo = e.offsetX;
        c.draw();
      });
      addEventListener("pointerup", () => {
        if (c.dragFrom === undefined) return;
        const [lo, hi] = [c.dragFrom, c.dragTo].sort((a, b) => a - b).map((px) => c.scales.x.getValueForPixel(px));
        const far = Math.abs(c.dragTo - c.dragFrom) > 8;
        c.dragFrom = c.dragTo = undefined;
        if (far) zoomTo(Math.max(lo, 0), Math.min(hi, toX(lastNs)));
      });
      box.addEventListener("dblclick", () => zoomTo(0, toX(lastNs)));
    },
    afterDraw(c) {
      if (c.dragFrom === undefined) return;
      const { ctx, chartArea: a } = c;
      ctx.fillStyle = fade(color("accent"), 0.2);
      ctx.fillRect(Math.min(c.dragFrom, c.dragTo), a.top, Math.abs(c.dragTo - c.dragFrom), a.bottom - a.top);
    },
  };

  /* The saw's teeth are the collections' own numbers: samples alone would cut them off. */
  function heapPoints() {
    const points = samples.filter((s) => "heap" in s).map((s) => [s.sample, s.heap]);
    for (const c of cycles) points.push([c.start, c.before], [cycleEnd(c), c.live + c.born]);
    return points.sort((a, b) => a[0] - b[0]);
  }
  function goalPoints() {
    const known = (v) => v < 2 ** 60; /* else collections are off */
    const points = samples.filter((s) => "goal" in s && known(s.goal)).slice(0, 1).map((s) => [0, s.goal]);
    for (const c of cycles) if (known(c.goal)) points.push([cycleEnd(c), c.goal]);
    if (points.length > 0) points.push([lastNs, points[points.length - 1][1]]);
    return points;
  }

  function drawHeap() {
    const heap = heapPoints(), goal = goalPoints();
    const unit = unitFor(Math.max(most(heap, (p) => p[1]), most(samples, (s) => s.rss)));
    const scaled = (list) => list.map(([ns, v]) => ({ x: toX(ns), y: v / unit.size }));
    const sets = [];
    if (collected) {
      sets.push(line("heap", scaled(heap), "heap", { fill: true, order: 1 }));
      sets.push(line("goal", scaled(goal), "goal", { stepped: "before", borderDash: [5, 4], order: 0 }));
    }
    const of = (key) => scaled(samples.map((s) => [s.sample, s[key]]));
    sets.push(line("pages of objects", of("pages"), "pages", { order: 2, fill: !collected }));
    sets.push(line("resident (whole process)", of("rss"), "rss", { order: 3 }));
    timed.push(chart("heap", { type: "line", data: { datasets: sets }, plugins: [bands, zoom],
      options: options({ x: timeAxis(), y: axis(unit.name, { beginAtZero: true }) },
        { title: (i) => `${i[0].parsed.x.toFixed(3)} ${xTitle}`,
          label: (i) => `${i.dataset.label}: ${bytes(i.parsed.y * unit.size)}` }) }));
    $("heap").setAttribute("aria-label", "Heap, goal and resident memory over time");
    $("heap-note").textContent = (cycles.length > 0 ? "A band is a collection: green beside the program, red with the world " +
      "stopped; on the floor its phases. " : "") +
      (matchMedia("(any-pointer: fine)").matches ? "Drag to look closer, double-click for all of it." : "");
    const used = new Set(cycles.flatMap((c) => segments(c).map((s) => s[0])));
    legend($("phase-legend"), Object.entries(PHASES).filter(([k]) => used.has(k)).map(([, v]) => v));
  }

  function legend(list, entries) {
    list.replaceChildren(...entries.map(([background, text]) => {
      const li = document.createElement("li"), i = document.createElement("i");
      i.style.background = background;
      li.append(i, text);
      return li;
    }));
  }

  /* Rates over windows of equal length, so that a sample that came late is no peak. */
  function windows(n) {
    const out = [], width = lastNs / n;
    let i = 0, before = collected ? { sample: 0, allocated: 0 } : samples[0]; /* malloc's may have begun long before */
    for (let w = 1; w <= n; w++) {
      while (i < samples.length && samples[i].sample <= w * width) i++;
      const now = i > 0 ? samples[i - 1] : before;
      if (now.sample > before.sample)
        out.push([(before.sample + now.sample) / 2, (Math.max(now.allocated - before.allocated, 0) * 1e9) / (now.sample - before.sample)]);
      if (now.sample > before.sample) before = now;
    }
    return out;
  }
  function shares(n) {
    const width = lastNs / n, taken = new Array(n).fill(0);
    for (const c of cycles) taken[Math.min(n - 1, Math.floor(c.start / width))] += c.cpu + c.sweep;
    return taken.map((ns, i) => ({ x: toX((i + 0.5) * width), y: (100 * ns) / (width * head.cpus) }));
  }

  function drawRate() {
    const n = Math.max(2, Math.min(120, Math.floor(samples.length / 3)));
    const rate = windows(n), unit = unitFor(most(rate, (p) => p[1]));
    timed.push(chart("rate", { type: "line", plugins: [zoom],
      data: { datasets: [
        line("allocated each second", rate.map(([ns, v]) => ({ x: toX(ns), y: v / unit.size })), "heap",
          { fill: true, yAxisID: "y", pointRadius: rate.length > 1 ? 0 : 3 }), /* one point makes no line */
        ...(collected ? [line("processor time of collecting", shares(n), "stop", { yAxisID: "share" })] : [])] },
      options: options({ x: timeAxis(), y: axis(unit.name + "/s", { beginAtZero: true }), ...(collected && {
        share: axis("% of all processors", { position: "right", beginAtZero: true, suggestedMax: 10, grid: { display: false } }) }) },
      { title: (i) => `${i[0].parsed.x.toFixed(2)} ${xTitle}`,
        label: (i) => (i.dataset.yAxisID === "y" ? `allocated: ${bytes(i.parsed.y * unit.size)}/s` : `collecting: ${i.parsed.y.toFixed(1)} %`) }) }));
    $("rate").setAttribute("aria-label", "Allocation rate and share of processor time for collecting, over time");
  }

  function drawCycles() {
    const step = Math.ceil(cycles.length / 160), shown = [];
    for (let i = 0; i < cycles.length; i += step)
      shown.push(cycles.slice(i, i + step).reduce((a, c) => (cycleEnd(c) - c.start > cycleEnd(a) - a.start ? c : a)));
    const long = most(shown, (c) => cycleEnd(c) - c.start), div = long > 2e9 ? 1e9 : long > 2e6 ? 1e6 : 1e3;
    const took = (c, phase) => sum(segments(c).filter((s) => s[0] === phase), (s) => s[2] - s[1]) / div;
    const used = Object.keys(PHASES).filter((p) => shown.some((c) => took(c, p) > 0));
    const facts = (c) => [`heap ${bytes(c.before)} → ${bytes(c.live)}, next at ${bytes(c.goal)}`,
      c.pause > 0 ? `world stopped ${duration(c.pause)}` : `longest snapshot ${duration(c.snapshot)}`,
      `${count(c.objects)} objects, ${c.workers} marking, ${c.threads} threads`,
      `processor time ${duration(c.cpu)}` + (c.assist > 0 ? `, of it assists ${duration(c.assist)}` : "")];
    chart("cycles", { type: "bar",
      data: { labels: shown.map((c) => c.cycle), datasets: used.map((p) => ({ label: PHASES[p][1], backgroundColor: PHASES[p][0],
        data: shown.map((c) => took(c, p)), barPercentage: 1, categoryPercentage: 0.86 })) },
      options: options({ x: axis("collection", { stacked: true, grid: { display: false } }),
        y: axis(div === 1e9 ? "s" : div === 1e6 ? "ms" : "µs", { stacked: true, beginAtZero: true }) },
      { title: (i) => { const c = shown[i[0].dataIndex]; return `collection ${c.cycle}${c.forced ? ", asked for" : ""}${c.young ? ", young" : ""} at ${duration(c.start)}`; },
        label: (i) => `${i.dataset.label}: ${duration(i.parsed.y * div)}`, afterBody: (i) => facts(shown[i[0].dataIndex]) },
      { parsing: true, interaction: { mode: "index", intersect: false } }) });
    $("cycles").setAttribute("aria-label", "Duration of each collection by phase");
    $("cycles-note").textContent = step === 1 ? "By phases; marking beside the program holds nobody up."
      : `By phases; each bar is the longest of ${step} collections.`;
  }

  /* ── durations ── */

  /* The bucket behind the one that begins at ns: four to each doubling, as the library counts them. */
  const nextFloor = (ns) => (ns < 4 ? ns + 1 : ns + 2 ** (Math.floor(Math.log2(ns)) - 2));
  function everyBucket(h) {
    const out = [], byFloor = new Map(h.buckets.map((b) => [b[0], b[2]])), last = h.buckets[h.buckets.length - 1][0];
    let at = h.buckets[0][0];
    while (h.buckets.length + out.length < 400 && at <= last) {
      out.push({ from: at, to: nextFloor(at), n: byFloor.get(at) || 0 });
      at = nextFloor(at);
    }
    while (out.length < 8) {
      out.push({ from: at, to: nextFloor(at), n: 0 });
      at = nextFloor(at);
    }
    return out;
  }
  const PERCENTILES = [[0.5, "50"], [0.99, "99"], [0.999, "99.9"], [1, "all"]];
  function marks(h, buckets) {
    const found = new Map();
    for (const [p, text] of PERCENTILES) {
      const at = percentile(h, p), i = buckets.findIndex((b) => b.to === at);
      found.set(i, found.has(i) ? found.get(i) + ", " + text : text);
    }
    return {
      id: "marks",
      afterDatasetsDraw(c) {
        const { ctx, chartArea: a, scales: { x } } = c, half = x.width / buckets.length / 2;
        ctx.save();
        ctx.font = "11px system-ui, sans-serif";
        let row = 0;
        for (const [i, text] of found) {
          const px = Math.min(x.getPixelForValue(i) + half, a.right - 1), label = text.replace(/(\d)$/, "$1 %");
          ctx.strokeStyle = color("text");
          ctx.setLineDash([3, 3]);
          ctx.beginPath();
          ctx.moveTo(px, a.top + 13 * row);
          ctx.lineTo(px, a.bottom);
          ctx.stroke();
          const wide = ctx.measureText(label).width, left = px + 4 + wide > a.right, top = a.top + 13 * row;
          ctx.fillStyle = fade(color("card"), 0.8);
          ctx.fillRect(left ? px - 5 - wide : px + 2, top, wide + 3, 13);
          ctx.fillStyle = color("text");
          ctx.textAlign = left ? "right" : "left";
          ctx.fillText(label, px + (left ? -4 : 4), top + 10);
          row++;
        }
        ctx.restore();
      },
    };
  }

  const WAITS = { pauses: ["Stops of the world", "stop", "nobody runs"],
    snapshots: ["Snapshots", "pages", "one thread copies its own stack"],
    handshakes: ["Handshakes", "heap", "until every thread has answered"] };
  function drawWaits() {
    const box = $("waits");
    box.replaceChildren();
    for (const [name, [title, tone, text]] of Object.entries(WAITS)) {
      const h = histogram(name);
      if (h.buckets.length === 0) continue;
      const div = document.createElement("div"), h3 = document.createElement("h3"), note = document.createElement("p");
      const inner = document.createElement("div"), canvas = document.createElement("canvas");
      h3.textContent = title;
      note.className = "note";
      note.textContent = `${counting(sum(h.buckets, (b) => b[2]), "time")}; ${text}. ` +
        `50 % ≤ ${duration(percentile(h, 0.5))}, 99 % ≤ ${duration(percentile(h, 0.99))}, all ≤ ${duration(percentile(h, 1))}`;
      inner.className = "chart";
      canvas.id = "wait-" + name;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", title + " by duration: " + note.textContent);
      inner.append(canvas);
      div.append(h3, note, inner);
      box.append(div);
      const buckets = everyBucket(h);
      chart(canvas, { type: "bar", plugins: [marks(h, buckets)],
        data: { labels: buckets.map((b) => duration(b.from)), datasets: [{ data: buckets.map((b) => b.n || null),
          backgroundColor: fade(color(tone), 0.8), barPercentage: 1, categoryPercentage: 0.94, minBarLength: 2 }] },
        options: { ...options({ x: axis("", { grid: { display: false }, ticks: { color: color("soft"), maxRotation: 0, autoSkipPadding: 14 } }),
          y: axis("", { type: "logarithmic", min: 0.7, ticks: { color: color("soft"), callback: (v) => (Number.isInteger(Math.log10(v)) ? count(v) : "") } }) },
        { title: (i) => { const b = buckets[i[0].dataIndex]; return `${duration(b.from)} to ${duration(b.to)}`; }, label: (i) => counting(i.parsed.y, "time") },
        { parsing: true, layout: { padding: { top: 6 } } }) } }).options.plugins.legend.display = false;
    }
    charts.filter((c) => c.canvas.id.startsWith("wait-")).forEach((c) => c.update("none"));
    $("waits-card").hidden = box.children.length === 0;
  }

  /* ── the map and the classes ── */

  const keyOf = (c) => (c.slot === 0 ? "large" : c.slot + " B") + (c.type ? " " + c.type : "");
  const weight = new Map();
  for (const c of censuses) for (const k of c.classes) weight.set(keyOf(k), Math.max(weight.get(keyOf(k)) || 0, k.pages));
  const ranked = [...weight.entries()].sort((a, b) => b[1] - a[1]).map((e) => e[0]);
  const classColor = (key) => CLASS_COLORS[ranked.indexOf(key)] || OTHER;
  /* At first the fullest one: at the end a program may have freed all. */
  const pagesOf = (c) => sum(c.classes, (k) => k.pages);
  let shownCensus = censuses.reduce((best, c, i) => (pagesOf(c) >= pagesOf(censuses[best]) ? i : best), 0);

  function mapShape(c) {
    const width = $("map-box").clientWidth;
    let columns = 128;
    while (columns > 16 && width / columns < 8) columns /= 2;
    while (columns > 16 && columns * 3 > c.cells.length) columns /= 2;
    const size = Math.min(22, Math.floor(width / columns));
    return { columns, size, n: Math.ceil(c.cells.length / columns) };
  }

  function drawMap() {
    const c = censuses[shownCensus], { columns, size, n } = mapShape(c), canvas = $("map"), ratio = devicePixelRatio || 1;
    canvas.style.width = columns * size + "px";
    canvas.style.height = n * size + "px";
    canvas.width = columns * size * ratio;
    canvas.height = n * size * ratio;
    const ctx = canvas.getContext("2d"), gap = size > 9 ? 1 : 0.5, inner = size - gap;
    ctx.scale(ratio, ratio);
    const free = color("free"), released = color("released"), tones = c.classes.map((k) => classColor(keyOf(k)));
    c.cells.forEach(([klass, pages, used, dirty, clean, , huge], i) => {
      const x = (i % columns) * size, y = Math.floor(i / columns) * size;
      let at = y + inner;
      const part = (nbytes, fill) => {
        if (nbytes <= 0) return;
        const h = (inner * nbytes) / c.cell;
        ctx.fillStyle = fill;
        ctx.fillRect(x, at - h, inner, h);
        at -= h;
      };
      const tone = tones[klass] || OTHER, full = Math.min(used, pages);
      part(full, tone);
      part(pages - full, fade(tone, 0.3));
      part(dirty, free);
      part(clean, released);
      if (huge > 0) { /* a rail at the side, as high as huge pages are in it */
        const h = (inner * huge) / c.cell;
        ctx.fillStyle = color("huge");
        ctx.fillRect(x, y + inner - h, Math.max(1.5, inner / 6), h);
      }
    });
    const perRow = columns * c.cell;
    ctx.fillStyle = color("soft");
    for (let row = 1; row < n; row++)
      if ((row * perRow) % head.arena === 0) ctx.fillRect(0, row * size - gap, columns * size, gap);
    const here = new Set(c.classes.map(keyOf));
    const named = ranked.slice(0, CLASS_COLORS.length).filter((k) => here.has(k)).map((k) => [classColor(k), k]);
    if (ranked.length > CLASS_COLORS.length) named.push([OTHER, "other classes"]);
    if (c.huge > 0) named.push([color("huge"), "in huge pages (at a square's left side)"]);
    legend($("map-legend"), [...named, [free, "free, still resident"], [released, "free, given back or never touched"]]);
    $("map-note").textContent = `Each square is ${bytes(c.cell)} of addresses, a row ${bytes(perRow)}, from left to right and down. ` +
      "Its colour is the class that has most of it; it is filled as far as slots are taken, pale where they are empty." +
      ("resident" in c ? ` ${bytes(c.resident)} of it are in memory` + ("huge" in c ? `, ${bytes(c.huge)} in huge pages.` : ".") : "");
  }

  function tellCell(event) {
    const c = censuses[shownCensus], { columns, size } = mapShape(c);
    const i = Math.floor(event.offsetY / size) * columns + Math.floor(event.offsetX / size), cell = c.cells[i];
    if (cell === undefined || event.offsetX >= columns * size) return;
    const [klass, pages, used, dirty, clean, resident, huge] = cell, at = (BigInt(c.base) + BigInt(i) * BigInt(c.cell)).toString(16);
    const what = pages > 0 && c.classes[klass] ? `${keyOf(c.classes[klass])}: ${bytes(Math.min(used, pages))} of ${bytes(pages)} taken` : "no objects";
    $("cell").textContent = `0x${at}  ${what}` + (dirty ? ` · ${bytes(dirty)} free` : "") + (clean ? ` · ${bytes(clean)} given back or untouched` : "") +
      ("resident" in c ? ` · ${bytes(resident)} in memory` : "") + (huge ? `, ${bytes(huge)} of it in huge pages` : "");
  }

  let classChart = null;
  function drawClasses() {
    const c = censuses[shownCensus], shown = c.classes.slice(0, 14);
    const unit = unitFor(most(shown, (k) => k.pages)), used = (k) => Math.min(k.bytes, k.pages);
    $("classes-box").style.height = 74 + 21 * shown.length + "px";
    const data = { labels: shown.map(keyOf), datasets: [
      { label: "taken", data: shown.map((k) => used(k) / unit.size), backgroundColor: shown.map((k) => classColor(keyOf(k))) },
      { label: "empty slots and rests of pages", data: shown.map((k) => (k.pages - used(k)) / unit.size),
        backgroundColor: shown.map((k) => fade(classColor(keyOf(k)), 0.3)) }] };
    for (const d of data.datasets) Object.assign(d, { barPercentage: 0.92, categoryPercentage: 0.9 });
    if (classChart === null)
      classChart = chart("classes", { type: "bar", data, options: options(
        { x: axis(unit.name, { stacked: true, beginAtZero: true }), y: axis("", { stacked: true, grid: { display: false } }) },
        {}, { indexAxis: "y", parsing: true, interaction: { mode: "index", axis: "y", intersect: false } }) });
    classChart.data = data;
    classChart.options.scales.x.title.text = unit.name;
    classChart.options.plugins.legend.display = false;
    classChart.options.plugins.tooltip.callbacks = { label: (i) => `${i.dataset.label}: ${bytes(i.parsed.x * unit.size)}`,
      afterBody: (i) => { const k = shown[i[0].dataIndex]; return `${count(k.taken)} of ${count(k.slots)} slots in ${count(k.spans)} spans`; } };
    classChart.update("none");
    $("classes").setAttribute("aria-label", "Memory by class of objects, taken and empty");
    const cells = c.classes.map((k) => [keyOf(k), count(k.spans), bytes(k.pages), bytes(used(k)), percent(used(k) / k.pages), bytes(k.pages - used(k))]);
    const row = (tag, values) => {
      const tr = document.createElement("tr");
      tr.append(...values.map((v) => { const td = document.createElement(tag); td.textContent = v; return td; }));
      return tr;
    };
    $("class-table").replaceChildren(row("th", ["class", "spans", "pages", "taken", "full", "waste"]), ...cells.map((v) => row("td", v)));
  }

  function showCensus(i) {
    shownCensus = i;
    $("when").value = i;
    $("when-text").textContent = duration(censuses[i].census);
    drawMap();
    drawClasses();
  }

  /* ── stacks ── */

  const lineOf = (s, i) => (s.lines && s.lines[i]) || "";
  function showSites(key) {
    const total = rows("sites").pop() || { rate: 0 }, live = key === "live_bytes", whole = sum(sites, (s) => s[key]);
    const all = total[key] || whole, list = sites.filter((s) => s[key] > 0).sort((a, b) => b[key] - a[key]).slice(0, 25);
    $("by-live").setAttribute("aria-pressed", live);
    $("by-all").setAttribute("aria-pressed", !live);
    $("sites-note").textContent = `${bytes(all)} ${live ? "live" : "allocated"}, by one sample in ${bytes(total.rate)}; ` +
      `the first ${list.length} of ${count(total.sites || sites.length)} stacks. Open one to see all of it.`;
    $("sites").replaceChildren(...list.map((s) => {
      const d = document.createElement("details"), summary = document.createElement("summary"), bar = document.createElement("div");
      const fill = document.createElement("i"), amount = document.createElement("div"), frames = document.createElement("div");
      const callers = document.createElement("span"), ol = document.createElement("ol");
      d.className = "site";
      bar.className = "bar";
      fill.style.width = Math.max(1, (100 * s[key]) / list[0][key]) + "%";
      bar.append(fill);
      bar.title = percent(s[key] / all);
      amount.className = "amount";
      amount.textContent = bytes(s[key]);
      frames.className = "frames";
      callers.textContent = s.stack.slice(1, 5).map((f) => " ← " + f).join("");
      const at = document.createElement("span");
      at.textContent = lineOf(s, 0) ? ` ${lineOf(s, 0)}` : "";
      frames.append(s.stack[0] || "?", at, callers);
      summary.append(bar, amount, frames);
      ol.append(...s.stack.map((f, i) => {
        const li = document.createElement("li"), at = document.createElement("span");
        at.textContent = lineOf(s, i);
        li.append(f, " ", at);
        return li;
      }));
      const note = document.createElement("p");
      note.className = "note";
      note.textContent = `${percent(s[key] / all)}; ${count(live ? s.live_objects : s.objects)} objects`;
      d.append(summary, note, ol);
      return d;
    }));
  }

  /* ── all of it ── */

  function draw() {
    charts.splice(0).forEach((c) => c.destroy());
    timed.length = 0;
    classChart = null;
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    drawHeap();
    if (counted) drawRate();
    if (cycles.length > 0) drawCycles();
    drawWaits();
    if (censuses.length > 0) showCensus(shownCensus);
  }

  function begin() {
    showHead();
    showNumbers();
    $("rate-card").hidden = !counted;
    $("rate-note").hidden = collected;
    if (!collected) $("rate-title").textContent = "Allocation";
    $("cycles-card").hidden = cycles.length === 0;
    $("map-card").hidden = censuses.length === 0;
    $("sites-card").hidden = sites.length === 0;
    if (sites.length > 0) showSites(sum(sites, (s) => s.live_bytes) > 0 ? "live_bytes" : "bytes");
    $("by-live").addEventListener("click", () => showSites("live_bytes"));
    $("by-all").addEventListener("click", () => showSites("bytes"));
    $("when").max = Math.max(0, censuses.length - 1);
    $("when").addEventListener("input", (e) => showCensus(Number(e.target.value)));
    $("map").addEventListener("pointermove", tellCell);
    $("map").addEventListener("pointerdown", tellCell);
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth !== width && censuses.length > 0) drawMap();
      width = innerWidth;
    });
    $("download").addEventListener("click", () => {
      const a = document.createElement("a");
      a.href = URL.createObjectURL(new Blob([$("recording").textContent.trim() + "\n"], { type: "application/x-ndjson" }));
      a.download = `mallocgc.${head.pid}.jsonl`;
      a.click();
    });
    document.documentElement.dataset.ready = "yes";
  }

  if (head.mallocgc === "recording") begin();
  else $("about").textContent = "There is no recording in this page.";
})();
