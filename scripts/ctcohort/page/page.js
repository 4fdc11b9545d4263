
"use strict";
(() => {
  // What the page was made with. Every text of it is inserted as text, never as markup.
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("data");
  const total = data.accessions.length;
  const numbers = new Map(data.numbers.map((measure) => [measure.column, measure]));
  const words = new Map(data.words.map((column) => [column.key, column]));
  words.set("review", { key: "review", title: "Review", ...data.review });
  const VOLUME = data.flow.length;
  const volumes = [];
  for (let i = 0; i < total; i++) if (data.reached[i] === VOLUME) volumes.push(i);
  const CARDS = 48, ROWS = 100, PRINTED = 2000, FIRST = 5;

  const $ = (id) => document.getElementById(id);
  const h = (tag, properties, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(properties || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "long") node.style.maxWidth = `${value}px`;
      else if (key === "share") node.style[value[0]] = `${100 * value[1]}%`;
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  };
  const count = (value) => value.toLocaleString("en-US");
  const of = (value, one, many) => `${count(value)} ${value === 1 ? one : many || `${one}s`}`;
  const size = (bytes) => {
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    let place = 0;
    while (Math.abs(bytes) >= 999.5 && place < units.length - 1) { bytes /= 1000; place++; }
    return `${Number(bytes.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 2 })} ${units[place]}`;
  };
  const percent = (share) => `${share > 0 && share < 0.001 ? "< 0.1" : (100 * share).toFixed(share < 0.1 && share > 0 ? 1 : 0)} %`;
  const duration = (seconds) => seconds < 90 ? `${seconds.toFixed(0)} s` : seconds < 5400 ? `${(seconds / 60).toFixed(0)} min`
    : seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} days`;
  const day = (text) => `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`;
  const plain = (value, digits) => value.toLocaleString("en-US", { maximumFractionDigits: digits });
  const small = (title) => title === "DICOM files" ? title : title.toLowerCase();
  const valued = (measure, value) => value === null ? "–" : `${plain(value, measure.digits).replace("-", "−")}${measure.unit === "°" ? "°" : measure.unit ? ` ${measure.unit}` : ""}`;
  const word = (key, i) => { const column = words.get(key); return column.known[column.codes[i]]; };
  const flagsOf = data.flags.known.map((text) => text.split(" ").filter(Boolean));
  const flags = (i) => flagsOf[data.flags.codes[i]];
  const said = new Set(data.flags_said);
  const flagword = (flag) => h("span", { class: said.has(flag) ? "flagword said" : "flagword", title: data.flag_meanings[flag] }, flag);

  // Reviews: those of reviews.csv as the page was made, and on top of them what is changed here.
  const VERDICTS = ["good", "bad"];
  const made = data.review.codes.map((code) => data.review.known[code]);
  const STORE = `ct-cohort reviews ${data.id}`;
  let changed = new Map(); // accession -> {verdict, note, saved}
  let storing = true;
  try {
    for (const [accession, change] of Object.entries(JSON.parse(localStorage.getItem(STORE) || "{}"))) changed.set(accession, change);
  } catch { storing = false; }
  const place = new Map(data.accessions.map((accession, i) => [accession, i]));
  for (const [accession, change] of changed) {
    // what was saved and has come back, or says what the table says, is no change any more
    const i = place.get(accession);
    if (i === undefined || (change.verdict === made[i] && (change.saved || !change.note))) changed.delete(accession);
  }
  const keep = () => {
    try { localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(changed))); } catch { storing = false; }
  };
  const verdict = (i) => { const change = changed.get(data.accessions[i]); return change ? change.verdict : made[i]; };
  const noteOf = (i) => changed.get(data.accessions[i])?.note || "";
  // a note alone is no review: it waits for its verdict
  const isReview = ([accession, change]) => change.verdict || made[place.get(accession)];
  const unsaved = () => [...changed].filter((entry) => isReview(entry) && !entry[1].saved).length;
  function mark(i, value, note) {
    const accession = data.accessions[i];
    const change = { verdict: value, note: note === undefined ? noteOf(i) : note };
    if (change.verdict === made[i] && !change.note) changed.delete(accession);
    else changed.set(accession, change);
    keep();
    drawMarks();
  }
  function drawMarks() {
    const open = unsaved();
    $("unsaved").textContent = open ? `${of(open, "review")} not saved` : "";
    $("save").disabled = !open && !volumes.some((i) => verdict(i));
    for (const node of document.querySelectorAll("[data-mark]")) {
      const value = verdict(Number(node.dataset.mark));
      node.textContent = value;
      node.className = `mark ${value}`;
    }
  }
  const markOf = (i) => h("span", { class: `mark ${verdict(i)}`, "data-mark": i }, verdict(i));

  // reviews.csv
  const field = (text) => /[",\r\n]|^[\s#]|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const csv = (rows) => rows.map((row) => `${row.map(field).join(",")}\n`).join("");
  function parse(text) {
    text = text.replace(/^\uFEFF/, "");
    const first = text.split(/\r?\n/).find((line) => line.trim() && !line.startsWith("#")) || "";
    const bare = first.replace(/"[^"]*"/g, "");
    const counts = [",", "|", "\t", ";"].map((mark) => bare.split(mark).length);
    const delimiter = [",", "|", "\t", ";"][counts.indexOf(Math.max(...counts))];
    const rows = [];
    let row = [], value = "", quoted = false, at = 0;
    const ends = (i) => text[i] === "\n" || text[i] === "\r" || i >= text.length;
    while (at <= text.length) {
      if (!row.length && !value && !quoted && text[at] === "#") { while (!ends(at)) at++; }
      const mark = text[at];
      if (quoted && at < text.length) {
        if (mark !== '"') value += mark;
        else if (text[at + 1] === '"') { value += '"'; at++; } else quoted = false;
      } else if (mark === '"' && !value) quoted = true; // elsewhere it is a character
      else if (mark === delimiter) { row.push(value); value = ""; }
      else if (ends(at)) {
        row.push(value); value = "";
        if (row.some((text) => text.trim())) rows.push(row);
        row = [];
        if (mark === "\r" && text[at + 1] === "\n") at++;
      } else value += mark;
      at++;
    }
    return rows;
  }
  /** The table to save: `current` is what reviews.csv holds now; without it, what the page was made with. */
  function table(current) {
    const rows = current || [["accession", "verdict", "note"], ...volumesAndOthers().map((i) => [data.accessions[i], made[i], ""])];
    const header = rows[0].map((name) => name.trim());
    for (const name of ["accession", "verdict"]) {
      if (!header.includes(name)) throw new Error(`The file has no column ${name}; it was not taken. Choose the reviews.csv of the working directory.`);
    }
    if (!header.includes("note")) header.push("note");
    const at = Object.fromEntries(["accession", "verdict", "note"].map((name) => [name, header.indexOf(name)]));
    const left = new Map(changed);
    const kept = [];
    for (const row of rows.slice(1)) {
      while (row.length < header.length) row.push("");
      const accession = row[at.accession].trim();
      const change = left.get(accession);
      left.delete(accession);
      if (change && !change.verdict) continue;
      if (change) { row[at.verdict] = change.verdict; if (change.note) row[at.note] = change.note; }
      kept.push(row);
    }
    for (const [accession, change] of left) {
      if (!change.verdict) continue;
      const row = header.map(() => "");
      row[at.accession] = accession; row[at.verdict] = change.verdict; row[at.note] = change.note || "";
      kept.push(row);
    }
    return csv([header, ...kept]);
  }
  const volumesAndOthers = () => data.accessions.map((_, i) => i).filter((i) => made[i]);
  function download(text) {
    const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "reviews.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    for (const entry of changed) if (isReview(entry)) entry[1].saved = true;
    keep();
    drawMarks();
  }
  $("save").addEventListener("click", () => {
    $("merge-error").textContent = "";
    $("merge-file").value = "";
    if (data.reviews_hold_more) $("merge").showModal();
    else download(table());
  });
  $("merge-file").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    if (!file) return;
    try {
      download(table(parse(await file.text())));
      $("merge").close();
    } catch (error) { $("merge-error").textContent = error.message; }
  });
  addEventListener("beforeunload", (event) => { if (!storing && unsaved()) event.preventDefault(); });

  // Pictures: in the page, beside it, or not made.
  let thumbnails, pictures;
  const beside = { thumbnails: new Set(data.thumbnails), pictures: new Set(data.pictures) };
  const fileName = (i) => encodeURIComponent(data.names[i] || data.accessions[i]);
  const absent = (text) => h("span", { class: "absent" }, text);
  function thumbnail(i) {
    thumbnails = thumbnails || read("thumbnails");
    const alt = `coronal and axial plane of ${data.accessions[i]}`;
    if (thumbnails[i]) return h("img", { src: `data:image/webp;base64,${thumbnails[i]}`, alt });
    if (data.reached[i] !== VOLUME) return absent(word("status", i) === "excluded" ? "no volume" : word("status", i));
    if (!beside.thumbnails.has(i)) return absent("picture not made yet");
    const image = h("img", { src: `qc/thumbnails/${fileName(i)}.webp`, loading: "lazy", alt });
    image.addEventListener("error", () => image.replaceWith(absent("picture not beside this page")));
    return image;
  }
  const oddBecause = (i) => {
    const measure = data.numbers[data.odd_by[i]];
    if (!measure || data.odd[i] === null) return "";
    const value = measure.values[i];
    return `${small(measure.title)} ${valued(measure, value)}, median ${valued(measure, measure.spread.median)}`;
  };
  const card = (i) => h("button", { type: "button", class: "card scan", "data-scan": i },
    h("span", { class: "frame" }, thumbnail(i)),
    h("span", { class: "text" },
      h("span", { class: "name" }, h("span", { class: "accession" }, data.accessions[i]), markOf(i)),
      h("span", { class: "why" }, data.reached[i] === VOLUME ? oddBecause(i) || (flags(i).length ? "" : "as the others") : word("status_reason", i) || word("status", i)),
      flags(i).map(flagword)));

  // Filters. Everything that is shown of the scans follows from `state`.
  const state = { search: "", words: { status: "included" }, flag: "", step: null, bins: {}, sort: "odd", down: true, view: "pictures", page: 0 };
  if (!volumes.length) state.words = {};
  let shown = [];
  const ALWAYS = ["status", "status_reason", "split", "manufacturer", "convolution_kernel", "review"];
  const reviewName = (value) => value || "not reviewed";
  function tests() {
    const found = [];
    for (const [key, value] of Object.entries(state.words)) {
      if (key === "review") { found.push((i) => verdict(i) === value); continue; }
      const column = words.get(key), code = column.known.indexOf(value);
      found.push((i) => column.codes[i] === code);
    }
    if (state.flag === "*") found.push((i) => flags(i).length > 0);
    else if (state.flag) {
      const has = flagsOf.map((list) => list.includes(state.flag));
      found.push((i) => has[data.flags.codes[i]]);
    }
    if (state.step !== null) found.push((i) => data.reached[i] > state.step);
    for (const [column, bin] of Object.entries(state.bins)) {
      const places = histograms.get(column).places;
      found.push((i) => places[i] === bin);
    }
    const asked = state.search.trim().toLowerCase();
    if (asked) {
      const hits = ["status", "status_reason", "manufacturer", "model", "convolution_kernel"].map((key) => {
        const column = words.get(key);
        return [column.codes, column.known.map((text) => text.toLowerCase().includes(asked))];
      });
      hits.push([data.flags.codes, data.flags.known.map((text) => text.includes(asked))]);
      found.push((i) => data.accessions[i].toLowerCase().includes(asked) || hits.some(([codes, hit]) => hit[codes[i]]));
    }
    return found;
  }
  const collator = new Intl.Collator("en", { numeric: true });
  const SORTS = [
    ["odd", "oddness", (i) => data.odd[i]],
    ["accession", "accession", null],
    ["cohort", "place in the cohort", (i) => i],
    ...data.numbers.map((measure) => [measure.column, small(measure.title), (i) => measure.values[i]]),
  ];
  function sorted(places) {
    const sign = state.down ? -1 : 1;
    if (state.sort === "accession") return places.sort((a, b) => sign * collator.compare(data.accessions[a], data.accessions[b]));
    const value = SORTS.find(([key]) => key === state.sort)[2];
    // what has no value comes last both ways; equal values stay in the cohort's order
    return places.sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return sign * (x - y) || a - b;
    });
  }
  function apply(page) {
    const all = tests();
    const places = [];
    for (let i = 0; i < total; i++) if (all.every((test) => test(i))) places.push(i);
    shown = sorted(places);
    state.page = page || 0;
    drawFound();
    drawShown();
    drawBars();
  }
  function filter(change, jump) {
    Object.assign(state, change);
    apply();
    if (jump) { $("scans").scrollIntoView(); $("scans-title").focus({ preventScroll: true }); }
  }
  /** Only this filter, and the list of what it leaves. */
  const only = (change) => filter({ search: "", words: {}, flag: "", step: null, bins: {}, ...change }, true);

  // The list
  const perPage = () => (state.view === "list" ? ROWS : CARDS);
  function chips() {
    const found = [];
    const chip = (text, change) => found.push(h("li", {}, h("button", { type: "button", "aria-label": `remove the filter ${text}`, onclick: () => filter(change) }, `${text} ×`)));
    if (state.search.trim()) chip(`“${state.search.trim()}”`, { search: "" });
    if (state.step !== null) chip(data.flow[state.step].title, { step: null });
    for (const [key, value] of Object.entries(state.words)) {
      const { [key]: _, ...rest } = state.words;
      chip(`${words.get(key).title}: ${key === "review" ? reviewName(value) : value || "none"}`, { words: rest });
    }
    if (state.flag) chip(state.flag === "*" ? "any flag" : state.flag, { flag: "" });
    for (const [column, bin] of Object.entries(state.bins)) {
      const { [column]: _, ...rest } = state.bins;
      chip(`${numbers.get(column).title}: ${histograms.get(column).bins[bin].label}`, { bins: rest });
    }
    return found;
  }
  function drawFound() {
    $("count").textContent = `${count(shown.length)} of ${of(total, "accession")}`;
    const list = chips();
    if (list.length > 1) list.push(h("li", {}, h("button", { type: "button", onclick: () => filter({ search: "", words: {}, flag: "", step: null, bins: {} }) }, "remove all")));
    $("chips").replaceChildren(...list);
    if ($("search").value !== state.search) $("search").value = state.search;
    for (const select of document.querySelectorAll("[data-word]")) {
      const value = state.words[select.dataset.word];
      select.value = value === undefined ? "all" : `=${value}`;
    }
    $("flag").value = state.flag;
    $("sort").value = state.sort;
    $("order").value = state.down ? "down" : "up";
    $("view").value = state.view;
    for (const id of ["pages", "pages-below"]) drawPages($(id));
  }
  function drawPages(node) {
    const per = perPage(), last = Math.max(0, Math.ceil(shown.length / per) - 1);
    node.hidden = !last;
    const go = (page) => { apply(page); if (node.id === "pages-below") $("scans").scrollIntoView(); };
    node.replaceChildren(
      h("button", { type: "button", disabled: !state.page, "aria-label": "page before", onclick: () => go(state.page - 1) }, "←"),
      `${count(state.page * per + 1)}–${count(Math.min(shown.length, (state.page + 1) * per))}`,
      h("button", { type: "button", disabled: state.page === last, "aria-label": "next page", onclick: () => go(state.page + 1) }, "→"));
  }
  const LISTED = ["orig_numslices", "orig_zdiff", "slice_thickness", "z_error_mm", "air_peak_hu", "npz_bytes"];
  function listOf(places, buttons) {
    const heading = (key, title, number) => {
      const by = state.sort === key;
      return h("th", { class: number && "number", scope: "col", "aria-sort": by ? (state.down ? "descending" : "ascending") : null },
        buttons && key ? h("button", { type: "button", onclick: () => filter({ sort: key, down: by ? !state.down : number }) }, title, by ? (state.down ? " ↓" : " ↑") : "") : title);
    };
    return h("table", { class: "list" },
      h("thead", {}, h("tr", {}, heading("accession", "accession"), heading("", "status"), heading("", "split"),
        LISTED.map((column) => heading(column, small(numbers.get(column).title) + (numbers.get(column).unit ? `, ${numbers.get(column).unit}` : ""), true)),
        heading("", "kernel"), heading("odd", "odd", true), heading("", "flags"), heading("", "review"))),
      h("tbody", {}, places.map((i) => h("tr", {},
        h("td", {}, buttons ? h("button", { type: "button", class: "scan accession", "data-scan": i }, data.accessions[i]) : h("span", { class: "accession" }, data.accessions[i])),
        h("td", {}, word("status_reason", i) || word("status", i)),
        h("td", {}, word("split", i)),
        LISTED.map((column) => { const value = numbers.get(column).values[i]; return h("td", { class: "number" }, value === null ? "" : plain(value, numbers.get(column).digits).replace("-", "−")); }),
        h("td", {}, word("convolution_kernel", i)),
        h("td", { class: "number" }, data.odd[i] === null ? "" : data.odd[i].toFixed(1)),
        h("td", { class: "words" }, flags(i).map(flagword)),
        h("td", {}, markOf(i))))));
  }
  function drawShown() {
    const per = perPage(), places = shown.slice(state.page * per, (state.page + 1) * per);
    const node = $("shown");
    if (!places.length) node.replaceChildren(h("p", { class: "none" }, "No accession is like that."));
    else if (state.view === "list") node.replaceChildren(h("div", { class: "scroll" }, listOf(places, true)));
    else node.replaceChildren(h("ul", { class: "cards", "aria-label": "Scans" }, places.map((i) => h("li", {}, card(i)))));
    rove(node);
  }
  addEventListener("beforeprint", () => {
    const some = shown.slice(0, PRINTED);
    $("printed").replaceChildren(
      h("p", { class: "about" }, [`${count(shown.length)} of ${of(total, "accession")}`, ...[...$("chips").querySelectorAll("li")].map((chip) => chip.textContent.replace(" ×", "")).filter((text) => text !== "remove all")].join(" · "),
        shown.length > PRINTED ? `; the first ${count(PRINTED)} are listed` : ""),
      listOf(some, false));
  });
  addEventListener("afterprint", () => $("printed").replaceChildren());

  // Keyboard: one stop per group of scans or bars, arrows inside it.
  function rove(group) {
    const items = [...group.querySelectorAll(".scan, .bin")];
    items.forEach((item, place) => { item.tabIndex = place ? -1 : 0; });
  }
  const rowLength = (items) => items.filter((item) => Math.abs(item.getBoundingClientRect().top - items[0].getBoundingClientRect().top) < 4).length || 1;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target, typing = target.matches("input:not([type=checkbox]), select, textarea");
    if (typing) return;
    if ($("viewer").open) { viewerKey(event); return; }
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "/") { event.preventDefault(); $("search").focus(); return; }
    if (event.key === "?") { openHelp(); return; }
    const item = target.closest(".scan, .bin");
    if (!item) return;
    const verdictOf = { g: "good", b: "bad", u: "" }[event.key.toLowerCase()];
    if (item.dataset.scan !== undefined && verdictOf !== undefined) { mark(Number(item.dataset.scan), verdictOf); return; }
    const group = item.closest("[data-group], ul.cards, table.list");
    const items = [...group.querySelectorAll(".scan, .bin")];
    const list = group.matches("table"), bars = group.matches("[data-group]");
    const row = list || bars ? 1 : rowLength(items);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    let next = items.indexOf(item) + step;
    if (Math.abs(step) === Infinity) next = step < 0 ? 0 : items.length - 1;
    const last = Math.ceil(shown.length / perPage()) - 1;
    if (group.closest("#shown") && next >= items.length && state.page < last) { apply(state.page + 1); $("shown").querySelector(".scan").focus(); return; }
    if (group.closest("#shown") && next < 0 && state.page) { apply(state.page - 1); [...$("shown").querySelectorAll(".scan")].pop().focus(); return; }
    const to = items[Math.max(0, Math.min(items.length - 1, next))];
    items.forEach((each) => { each.tabIndex = each === to ? 0 : -1; });
    to.focus();
  });
  document.addEventListener("click", (event) => {
    const scan = event.target.closest("[data-scan]");
    if (scan) view(Number(scan.dataset.scan), scan);
  });

  // One scan
  let viewing = { list: [], at: 0, from: null };
  function view(i, from) {
    const list = from && from.closest("#shown") ? [...shown] : from && from.closest("#first-cards") ? [...first] : [i];
    viewing = { list, at: list.indexOf(i), from };
    drawViewer();
    $("viewer").showModal();
    $("viewer-next").focus();
  }
  function drawViewer() {
    const i = viewing.list[viewing.at], name = data.accessions[i];
    $("viewer-title").textContent = name;
    $("viewer-place").textContent = viewing.list.length > 1 ? `${count(viewing.at + 1)} of ${count(viewing.list.length)}` : "";
    const image = $("viewer-picture"), note = $("viewer-note");
    pictures = pictures || read("pictures");
    thumbnails = thumbnails || read("thumbnails");
    image.alt = `axial, coronal and sagittal planes of ${name}`;
    image.hidden = false;
    image.className = "";
    note.textContent = "";
    const instead = (text) => {
      note.textContent = text;
      image.onerror = null;
      image.className = "small";
      if (thumbnails[i]) image.src = `data:image/webp;base64,${thumbnails[i]}`;
      else { image.hidden = true; image.removeAttribute("src"); }
    };
    image.onerror = null;
    if (pictures[i]) image.src = `data:image/png;base64,${pictures[i]}`;
    else if (data.reached[i] !== VOLUME) instead(`No volume: ${word("status_reason", i) || word("status", i)}.`);
    else if (!beside.pictures.has(i)) instead("The picture was not made when this page was.");
    else {
      image.onerror = () => instead("The picture is not beside this page; it is in the folder qc of the working directory.");
      image.src = `qc/${fileName(i)}.png`;
    }
    const facts = [];
    const fact = (title, ...value) => facts.push(h("dt", {}, title), h("dd", {}, ...value));
    fact("status", word("status", i));
    const reason = word("status_reason", i);
    if (reason) fact("reason", reason, data.meanings[reason] && data.meanings[reason] !== reason ? `: ${data.meanings[reason]}` : "");
    for (const flag of flags(i)) fact("flag", flagword(flag), ` ${data.flag_meanings[flag] || ""}`);
    if (data.odd[i] !== null) fact("oddness", data.odd[i].toFixed(1), oddBecause(i) ? `: ${oddBecause(i)}` : "");
    for (const column of words.values()) {
      if (["status", "status_reason", "review"].includes(column.key)) continue;
      const text = column.known[column.codes[i]];
      if (text) fact(column.title === "kV" ? "kV" : column.title.toLowerCase(), text);
    }
    for (const measure of data.numbers) if (measure.values[i] !== null) fact(small(measure.title), valued(measure, measure.values[i]));
    $("viewer-facts").replaceChildren(...facts);
    $("viewer-back").disabled = viewing.at === 0;
    $("viewer-next").disabled = viewing.at === viewing.list.length - 1;
    $("note").value = noteOf(i);
    drawVerdict();
  }
  function drawVerdict() {
    const value = verdict(viewing.list[viewing.at]);
    for (const each of VERDICTS) $(`mark-${each}`).setAttribute("aria-pressed", String(value === each));
  }
  function turn(step) {
    const to = viewing.at + step;
    if (to < 0 || to >= viewing.list.length) return;
    viewing.at = to;
    drawViewer();
  }
  function judge(value) {
    mark(viewing.list[viewing.at], value);
    drawVerdict();
    if (value && $("onward").checked) turn(1);
  }
  function viewerKey(event) {
    const key = event.key.toLowerCase();
    if (key === "g") judge("good");
    else if (key === "b") judge("bad");
    else if (key === "u") judge("");
    else if (event.key === "ArrowRight" || event.key === "ArrowDown") turn(1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowUp") turn(-1);
    else return;
    event.preventDefault();
  }
  $("mark-good").addEventListener("click", () => judge("good"));
  $("mark-bad").addEventListener("click", () => judge("bad"));
  $("mark-none").addEventListener("click", () => judge(""));
  $("viewer-back").addEventListener("click", () => turn(-1));
  $("viewer-next").addEventListener("click", () => turn(1));
  $("viewer-close").addEventListener("click", () => $("viewer").close());
  $("note").addEventListener("change", () => {
    const i = viewing.list[viewing.at];
    mark(i, verdict(i), $("note").value.trim());
  });
  $("note").addEventListener("keydown", (event) => { if (event.key === "Enter") $("viewer").focus(); });
  $("viewer").addEventListener("close", () => {
    const i = viewing.list[viewing.at];
    const again = viewing.from?.isConnected && Number(viewing.from.dataset.scan) === i ? viewing.from : $("shown").querySelector(`[data-scan="${i}"]`) || viewing.from;
    again?.focus();
  });
  for (const id of ["viewer", "help", "merge"]) $(id).addEventListener("click", (event) => { if (event.target === $(id)) $(id).close(); });
  function openHelp() {
    $("help-storage").textContent = storing ? "" : "This browser keeps nothing for this file: save reviews.csv before you close the page.";
    $("forget").hidden = !unsaved();
    $("help").showModal();
  }
  $("help-open").addEventListener("click", openHelp);
  $("forget").addEventListener("click", () => { changed.clear(); keep(); drawMarks(); apply(state.page); $("help").close(); });

  // Distributions. Pale: all volumes. Full: those of the list below.
  const histograms = new Map();
  function nice(width) {
    const power = 10 ** Math.floor(Math.log10(width));
    return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= width * 0.999);
  }
  function binned(measure) {
    const places = new Int16Array(total).fill(-1), known = volumes.filter((i) => measure.values[i] !== null);
    const ordered = known.map((i) => measure.values[i]).sort((a, b) => a - b);
    if (!ordered.length) return null;
    const different = [...new Set(ordered)];
    if (different.length <= 12) {
      const bins = different.map((value) => ({ label: valued(measure, value), axis: plain(value, measure.digits).replace("-", "−"), count: 0 }));
      const at = new Map(different.map((value, bin) => [value, bin]));
      for (const i of known) { const bin = at.get(measure.values[i]); places[i] = bin; bins[bin].count++; }
      return { bins, places, each: true };
    }
    // the outer 0.5 % fall into the first and the last bar, which say so
    const quantile = (share) => ordered[Math.round(share * (ordered.length - 1))];
    let low = quantile(0.005), high = quantile(0.995);
    if (high === low) { low = ordered[0]; high = ordered[ordered.length - 1]; }
    const step = Math.max(nice((high - low) / 26), 10 ** -measure.digits);
    const from = Math.floor(low / step + 1e-9) * step, many = Math.max(1, Math.ceil((high - from) / step + 1e-9));
    const digits = Math.max(0, Math.min(measure.digits, Math.ceil(-Math.log10(step) + 0.3)));
    const text = (value) => plain(Number(value.toPrecision(12)), digits).replace("-", "−");
    const below = ordered[0] < from, above = ordered[ordered.length - 1] >= from + many * step;
    const unit = measure.unit && (measure.unit === "°" ? "°" : ` ${measure.unit}`);
    const bins = Array.from({ length: many }, (_, bin) => {
      const a = text(from + bin * step), b = text(from + (bin + 1) * step);
      const label = bin === 0 && below ? `below ${b}${unit}` : bin === many - 1 && above ? `from ${a}${unit} on` : `${a} to ${b}${unit}`;
      return { label, count: 0 };
    });
    for (const i of known) {
      const bin = Math.max(0, Math.min(many - 1, Math.floor((measure.values[i] - from) / step + 1e-9)));
      places[i] = bin; bins[bin].count++;
    }
    const end = text(from + many * step);
    return { bins, places, each: false, ends: [below ? `≤ ${text(from + step)}` : text(from), text(from + (many * step) / 2), above ? `≥ ${text(from + (many - 1) * step)}` : end] };
  }
  const constants = [];
  const barParts = []; // [node, total, () => count]
  function columnChart(measure) {
    const made = binned(measure);
    if (!made) return null;
    histograms.set(measure.column, made);
    if (made.bins.length === 1) { constants.push(`${small(measure.title)} ${made.bins[0].label}`); return null; }
    const most = Math.max(...made.bins.map((bin) => bin.count));
    const bars = h("div", { class: "columns", role: "group", "data-group": true, "aria-label": measure.title },
      made.bins.map((bin, at) => {
        const inner = h("b", {});
        const button = h("button", {
          type: "button", class: "bin", "aria-pressed": "false", "aria-label": `${bin.label}: ${of(bin.count, "volume")}`, title: `${bin.label}: ${of(bin.count, "volume")}`,
          onclick: () => { const { [measure.column]: old, ...rest } = state.bins; filter({ bins: old === at ? rest : { ...state.bins, [measure.column]: at } }); },
        }, h("i", { share: ["height", bin.count ? Math.max(0.015, bin.count / most) : 0] }, inner));
        barParts.push({ inner, side: "height", places: made.places, at, bin, button, pressed: () => state.bins[measure.column] === at });
        return button;
      }));
    const room = Math.min(46, 260 / made.bins.length); // px of a bar, and of its label where each has one
    const each = made.each && made.bins.every((bin) => bin.axis.length * 7.5 <= room);
    const axis = each ? made.bins.map((bin) => bin.axis) : made.ends || [made.bins[0].axis, made.bins[made.bins.length - 1].axis];
    return h("div", { class: "chart" },
      h("h3", {}, measure.title, h("span", {}, `median ${valued(measure, measure.spread.median)}`)), bars,
      h("div", { class: each ? "axis each" : "axis", long: made.bins.length * 46 }, axis.map((text) => h("span", {}, text))));
  }
  function rowChart(column, most = 8) {
    const counts = new Map();
    for (const i of volumes) counts.set(column.codes[i], (counts.get(column.codes[i]) || 0) + 1);
    const ordered = [...counts].sort((a, b) => b[1] - a[1]);
    if (ordered.length < 2) {
      const text = ordered.length ? column.known[ordered[0][0]] : "";
      if (text) constants.push(`${column.title === "kV" ? "kV" : column.title.toLowerCase()} ${text}`);
      return null;
    }
    const largest = ordered[0][1], some = ordered.slice(0, most), rest = ordered.slice(most);
    const rows = h("div", { class: "rows", role: "group", "data-group": true, "aria-label": column.title },
      some.map(([code, amount]) => {
        const text = column.known[code], inner = h("b", {});
        const button = h("button", {
          type: "button", class: "bin", "aria-pressed": "false", title: `${text || "not said"}: ${of(amount, "volume")}`,
          onclick: () => { const { [column.key]: old, ...others } = state.words; filter({ words: old === text ? others : { ...state.words, [column.key]: text } }); },
        }, h("span", { class: "word" }, text || "not said"), h("span", { class: "track" }, h("i", { share: ["width", amount / largest] }, inner)), h("span", { class: "n" }, count(amount)));
        barParts.push({ inner, side: "width", places: column.codes, at: code, bin: { count: amount }, button, pressed: () => state.words[column.key] === text });
        return button;
      }));
    return h("div", { class: "chart" },
      h("h3", {}, column.title, h("span", {}, of(ordered.length, "value"))), rows,
      rest.length ? h("p", { class: "about" }, `and ${of(rest.length, "other")}, together ${count(rest.reduce((sum, [, amount]) => sum + amount, 0))}`) : null);
  }
  function drawBars() {
    // whether a bar is full depends on the volumes in the list, counted once per chart
    const counts = new Map();
    for (const part of barParts) {
      let mine = counts.get(part.places);
      if (!mine) {
        mine = new Map();
        for (const i of shown) if (data.reached[i] === VOLUME) mine.set(part.places[i], (mine.get(part.places[i]) || 0) + 1);
        counts.set(part.places, mine);
      }
      part.inner.style[part.side] = `${part.bin.count ? (100 * (mine.get(part.at) || 0)) / part.bin.count : 0}%`;
      part.button.setAttribute("aria-pressed", String(part.pressed()));
    }
  }

  // Everything that is drawn once
  function drawTop() {
    const flagged = volumes.filter((i) => flags(i).length).length, seen = volumes.filter((i) => made[i]).length;
    const left = total - volumes.length;
    $("kicker").textContent = `${data.title} · ct-cohort ${data.run.release} · data set report · made ${day(data.made)}`;
    document.title = `${data.title}: ${of(volumes.length, "volume")}`;
    $("headline").textContent = `${count(volumes.length)} of ${of(total, "scan")} became ${total === 1 ? "a volume" : "volumes"}.`;
    const sentences = [];
    if (data.table) sentences.push(`They were selected from ${of(data.table.rows, "row")} of the report table.`);
    if (left) sentences.push(data.state !== "going on" ? `${count(left)} ${left === 1 ? "was" : "were"} left out, ${left === 1 ? "for a reason" : "each for a reason"} that is named below.` : `${count(left)} ${left === 1 ? "is" : "are"} not made yet or left out, as named below.`);
    sentences.push(flagged ? `${of(flagged, "volume")} ${flagged === 1 ? "carries" : "carry"} a flag;` : "None carries a flag;", seen ? `a person has looked at ${count(seen)}.` : "nobody has recorded a look yet.");
    $("lead").textContent = sentences.join(" ");
    const figure = (title, value) => h("div", {}, h("dt", {}, title), h("dd", {}, value));
    const slices = numbers.get("orig_numslices").values;
    const figures = [figure("volumes", count(volumes.length))];
    if (data.patients !== null) figures.push(figure("patients", count(data.patients)));
    figures.push(
      figure("source slices", count(volumes.reduce((sum, i) => sum + (slices[i] || 0), 0))),
      figure("of volumes", size(data.bytes.npz_bytes)),
      figure("of DICOM behind them", size(data.bytes.raw_bytes)));
    if (data.bytes.spared) figures.push(figure("not fetched, by choosing first", size(data.bytes.spared)));
    $("figures").replaceChildren(...figures);
    const notice = {
      "going on": "The manifest is not written yet: this page shows what exists now.",
      earlier: "series.csv is newer than the manifest: this page shows the last run that was finished. make status says what is true now.",
    }[data.state];
    if (notice) $("flow").prepend(h("p", { class: "notice" }, notice));
  }
  function drawFlow() {
    const steps = [], terms = [];
    const term = (title, text) => terms.push(h("dt", {}, title), h("dd", {}, text));
    const bar = (share, title) => h("div", { class: "bar" }, h("i", { share: ["width", share] }), share < 0.4 ? h("b", { class: "outside", share: ["marginLeft", share] }, title) : h("b", {}, title));
    const row = (number, share, title, lost, more) => h("li", { class: `step ${more || ""}` }, h("div", { class: "number" }, number), bar(share, title), h("ul", { class: "lost" }, lost));
    if (data.table) {
      const { rows, selected_rows: selected, protocols, by_pattern: pattern, other_protocols: others } = data.table;
      steps.push(row(h("span", {}, count(rows)), 1, "rows in the report table", []));
      steps.push(row(h("span", {}, count(selected)), rows ? selected / rows : 0, "with a selected protocol",
        rows > selected ? h("li", {}, h("span", { class: "minus" }, `−${count(rows - selected)}`), ` of ${of(others, "other protocol")}`) : []));
      term("report table", "Rows of the table, as counted in protocols.csv.");
      const named = protocols.map((each) => `${each.protocol} (${count(each.rows)})`);
      if (pattern.rows) named.push(`${of(pattern.protocols, "protocol")} matched by select.protocols_regex (${count(pattern.rows)})`);
      term("selected protocol", `Rows whose protocol description is selected: ${named.join("; ") || "none"}.`);
    }
    const before = [];
    if (data.table) {
      if (data.table.selected_rows > total) before.push("several rows may name one accession");
      if (data.table.sample) before.push(`a sample of ${count(data.table.sample)}`);
      if (data.table.partition) before.push(`part ${data.table.partition}`);
    }
    const all = (text) => h("button", { type: "button", class: "link", title: "list them", onclick: () => only({}) }, text);
    steps.push(row(all(count(total)), 1, "accessions", before.length ? h("li", {}, before.join("; ")) : [], data.table ? "unit" : ""));
    term("accessions", "Different accessions of those rows: the lines of accessions.txt and of the manifest. From here on every number counts accessions.");
    data.flow.forEach((step, at) => {
      const lost = step.lost.map((group) => h("li", {}, h("button", {
        type: "button", class: "link", title: group.meaning,
        onclick: () => only({ words: { status: group.status, status_reason: group.reason } }),
      }, h("span", { class: "minus" }, `−${count(group.count)}`), ` ${group.reason || group.status}`)));
      steps.push(row(h("button", { type: "button", class: "link", title: "list them", onclick: () => only({ step: at }) }, count(step.count)),
        total ? step.count / total : 0, step.title, lost, at === VOLUME - 1 ? "last" : ""));
      term(step.title, step.passed);
    });
    term("reasons", "An accession without a usable series has the reason of the candidate that came furthest. Each is explained in docs/reasons.md.");
    $("flow-steps").replaceChildren(...steps);
    $("flow-terms").replaceChildren(...terms);
  }
  let first = [];
  function drawFirst() {
    const unseen = volumes.filter((i) => !verdict(i) && data.odd[i] > 0).sort((a, b) => data.odd[b] - data.odd[a] || a - b);
    first = unseen.slice(0, FIRST);
    $("first-about").textContent = first.length ? "The volumes that are least like the others and that nobody has reviewed yet, oddest first."
      : volumes.length ? "No volume stands out that has not been reviewed." : "There is no volume yet.";
    $("first-cards").replaceChildren(...first.map((i) => h("li", {}, card(i))));
    rove($("first-cards"));
    const counts = new Map();
    for (const i of volumes) for (const flag of flags(i)) counts.set(flag, (counts.get(flag) || 0) + 1);
    const known = Object.keys(data.flag_meanings).filter((flag) => counts.has(flag)).sort((a, b) => said.has(a) - said.has(b) || counts.get(b) - counts.get(a));
    $("flags").replaceChildren(h("tbody", {}, known.length ? known.map((flag) => h("tr", {},
      h("td", { class: "number" }, count(counts.get(flag))),
      h("td", {}, h("button", { type: "button", class: "link", onclick: () => only({ words: { status: "included" }, flag }) }, flagword(flag))),
      h("td", { class: "meaning" }, data.flag_meanings[flag]))) : h("tr", {}, h("td", { class: "meaning" }, "No volume carries a flag."))));
    const extreme = (measure, sign) => {
      let best = null;
      for (const i of volumes) if (measure.values[i] !== null && (best === null || sign * measure.values[i] > sign * measure.values[best])) best = i;
      return best === null ? "–" : h("button", { type: "button", class: "link", title: data.accessions[best], "data-scan": best }, plain(measure.values[best], measure.digits).replace("-", "−"));
    };
    $("extremes").replaceChildren(
      h("thead", {}, h("tr", {}, h("th", {}, "measure"), ["lowest", "median", "highest"].map((title) => h("th", { class: "number" }, title)))),
      h("tbody", {}, data.numbers.filter((measure) => measure.spread && measure.values.some((value, i) => data.reached[i] === VOLUME && value !== measure.spread.median))
        .map((measure) => h("tr", {}, h("td", {}, measure.title, measure.unit ? h("span", { class: "about" }, ` ${measure.unit}`) : ""),
          h("td", { class: "number" }, extreme(measure, -1)), h("td", { class: "number" }, plain(measure.spread.median, measure.digits).replace("-", "−")), h("td", { class: "number" }, extreme(measure, 1))))));
    const scales = data.numbers.filter((measure) => measure.least !== null).map((measure) => `${small(measure.title)} (${measure.least}${measure.unit === "°" ? "°" : measure.unit ? ` ${measure.unit}` : ""})`);
    $("odd-terms").textContent = `A volume's oddness is its largest distance from the median of all volumes over these measures, in interquartile ranges, or in the number given here where the interquartile range is smaller: ${scales.join(", ")}. Every flag adds ${data.flag_weights[0]}; those that only say what was done (${[...said].join(", ")}) add ${data.flag_weights[1]}. It is an order to look in, not a verdict.`;
  }
  function drawDistributions() {
    const charts = [...data.numbers.map(columnChart), ...["manufacturer", "model", "convolution_kernel", "kvp"].map((key) => rowChart(words.get(key)))].filter(Boolean);
    $("charts").replaceChildren(...charts);
    charts.forEach((chart) => rove(chart));
    $("distributions-about").textContent = volumes.length ? `Over ${of(volumes.length, "volume")}. A bar filters the scans below; what the filters leave is shown in full colour, the rest pale.` : "There is no volume yet.";
    $("constants").textContent = constants.length ? `The same in every volume: ${constants.join(", ")}.` : "";
  }
  function drawTools() {
    const select = (key) => {
      const column = words.get(key);
      const known = key === "review" ? ["", ...VERDICTS] : column.known.filter((text, code) => text || (key !== "status_reason" && column.codes.includes(code)));
      if (known.length < 2 && !["status", "review"].includes(key)) return null;
      const counts = new Map();
      if (key !== "review") column.codes.forEach((code) => counts.set(column.known[code], (counts.get(column.known[code]) || 0) + 1));
      return h("label", {}, column.title, " ", h("select", {
        "data-word": key,
        onchange: (event) => { const { [key]: _, ...rest } = state.words; filter({ words: event.target.value === "all" ? rest : { ...rest, [key]: event.target.value.slice(1) } }); },
      }, h("option", { value: "all" }, "all"), known.map((text) => h("option", { value: `=${text}` }, key === "review" ? reviewName(text) : `${text || "none"} (${count(counts.get(text))})`))));
    };
    const carried = [...words.keys()].filter((key) => key.startsWith("label "));
    const present = Object.keys(data.flag_meanings).filter((flag) => flagsOf.some((list) => list.includes(flag)));
    const flag = h("select", { id: "flag", onchange: (event) => filter({ flag: event.target.value }) },
      h("option", { value: "" }, "all"), h("option", { value: "*" }, "any flag"), present.map((each) => h("option", { value: each }, each)));
    $("filters").replaceChildren(...[...ALWAYS.slice(0, 2).map(select), h("label", {}, "Flag ", flag), ...[...ALWAYS.slice(2), ...carried].map(select)].filter(Boolean));
    $("sort").replaceChildren(...SORTS.map(([key, title]) => h("option", { value: key }, title)));
    let timer;
    $("search").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => filter({ search: $("search").value }), 120); });
    $("sort").addEventListener("change", () => filter({ sort: $("sort").value, down: !["accession", "cohort"].includes($("sort").value) }));
    $("order").addEventListener("change", () => filter({ down: $("order").value === "down" }));
    $("view").addEventListener("change", () => filter({ view: $("view").value }));
  }
  function drawSplits() {
    const all = volumes.length || 1;
    $("splits-about").textContent = `By patient${data.patients === null ? "" : ` (${count(data.patients)} in the volumes)`}: all scans of one patient are in one set. Shares are of the volumes.`;
    $("splits-stack").replaceChildren(...data.splits.filter((set) => set.volumes).map((set) => h("div", { class: set.split, share: ["width", set.volumes / all] }, `${set.split} ${percent(set.volumes / all)}`)));
    const sexes = [...new Set(data.splits.flatMap((set) => Object.keys(set.sex)))];
    const labels = [...new Set(data.splits.flatMap((set) => Object.keys(set.labels)))];
    const patients = data.splits.some((set) => set.patients !== null), wanted = data.splits.some((set) => set.wanted !== null);
    const number = (...content) => h("td", { class: "number" }, ...content);
    const shares = (set, amounts) => Object.entries(amounts).sort((a, b) => collator.compare(a[0], b[0])).map(([value, amount]) => `${value || "none"}: ${percent(amount / (set.volumes || 1))}`).join(", ") || "–";
    $("splits-table").replaceChildren(
      h("thead", {}, h("tr", {}, h("th", {}, "set"), ["volumes", "share", wanted && "wanted", patients && "patients", ...sexes.map((sex) => `sex ${sex}`), "age, median (quartiles)"].filter(Boolean).map((title) => h("th", { class: "number" }, title)), labels.map((label) => h("th", {}, label)))),
      h("tbody", {}, data.splits.map((set) => h("tr", {},
        h("td", {}, h("span", { class: `key ${["train", "val", "test"].includes(set.split) ? set.split : ""}` }), h("button", { type: "button", class: "link", onclick: () => only({ words: { status: "included", split: set.split } }) }, set.split || "none")),
        number(count(set.volumes)), number(percent(set.volumes / all)), wanted && number(set.wanted === null ? "–" : percent(set.wanted)), patients && number(set.patients === null ? "–" : count(set.patients)),
        sexes.map((sex) => number(set.sex[sex] ? percent(set.sex[sex] / set.volumes) : "–")),
        number(set.age ? `${plain(set.age[1], 0)} (${plain(set.age[0], 0)}–${plain(set.age[2], 0)})` : "–"),
        labels.map((label) => h("td", {}, shares(set, set.labels[label])))))));
    if (data.hidden_labels.length) $("splits-about").append(` Carried columns with too many different values to be a label are not on this page: ${data.hidden_labels.join(", ")}.`);
  }
  function drawSpared() {
    const { series, spared, raw_bytes: raw, log } = data.bytes;
    const known = series.length > 0, all = raw + spared || 1;
    const others = series.filter((each) => each.reason !== "selected").reduce((sum, each) => sum + each.series, 0);
    const sentences = [known ? `${size(raw)} of DICOM became the volumes. About ${size(spared)} in ${of(others, "other series", "other series")} stayed where they were, because the choice was made on headers: ${percent(spared / all)} of what the accessions hold.` : "There is no ledger (series.csv) here, so it is not known what was left."];
    if (log && log.seconds > 0 && log.bytes > 0) {
      const rate = log.bytes / log.seconds;
      sentences.push(`The archive's access log: ${of(log.requests, "request")}, ${size(log.bytes)} in ${duration(log.seconds)} of fetching, ${size(rate)} per second of one connection. At that rate what was not fetched would have taken another ${duration(spared / rate)}.`);
    } else sentences.push("There is no access log of an archive here, so no time is estimated.");
    $("spared-about").textContent = sentences.join(" ");
    const part = (name, bytes, text) => h("div", { class: name, share: ["width", bytes / all] }, text);
    $("spared-stack").replaceChildren(...(known ? [part("fetched", raw, `fetched ${size(raw)}`), part("spared", spared, `not fetched ${size(spared)}`)] : []));
    $("spared-table").replaceChildren(
      h("thead", {}, h("tr", {}, ["series", "images", "about"].map((title) => h("th", { class: "number" }, title)), h("th", {}, "reason"), h("th", {}, ""))),
      h("tbody", {}, series.map((each) => h("tr", {}, h("td", { class: "number" }, count(each.series)), h("td", { class: "number" }, count(each.instances)), h("td", { class: "number" }, size(each.bytes)), h("td", {}, each.reason), h("td", { class: "meaning" }, each.meaning)))));
  }
  function drawRun() {
    const run = data.run;
    const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([title, value]) => [h("dt", {}, title), h("dd", {}, value)]));
    const algorithms = [...new Set(volumes.map((i) => word("algorithm_version", i)))];
    const made = [["ct-cohort", run.release], ["algorithm version", algorithms.join(", ") || "–"], ...run.dates.map((each) => [each.what, day(each.at)]), ["page made", day(data.made)]];
    const environment = [["Python", run.python], ...Object.entries(run.packages)];
    const text = (value) => typeof value === "string" ? value : JSON.stringify(value).replaceAll('","', '", "').replace(/(?<=[\d\]}]),/g, ", ");
    const parameters = Object.entries(run.parameters).flatMap(([section, values]) => typeof values === "object" && values !== null
      ? Object.entries(values).map(([key, value]) => [`${section}.${key}`, text(value)]) : [[section, text(values)]]);
    $("run-facts").replaceChildren(
      h("div", {}, h("h3", {}, "Made by"), facts(made), h("h3", { class: "gap" }, "Environment of this page"), facts(environment)),
      h("div", {}, h("h3", {}, "Parameters"), h("p", { class: "about" }, parameters.length ? "As the stages noted them. What is not listed is none, false, empty or not noted here." : "Not noted in this directory."), facts(parameters)));
  }

  drawTop();
  drawFlow();
  drawFirst();
  drawDistributions();
  drawTools();
  drawSplits();
  drawSpared();
  drawRun();
  apply();
  drawMarks();
  document.documentElement.dataset.ready = "true";
})();
