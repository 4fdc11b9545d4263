// Distributions. Pale: all volumes. Full: those of the list below.
const histograms = new Map();
function nice(width) {
  const power = 10 ** Math.floor(Math.log10(width));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= width * 0.999);
}
function binned(measure) {
  const places = new Int16Array(total).fill(-1),
    known = volumes.filter((i) => measure.values[i] !== null);
  const ordered = known.map((i) => measure.values[i]).sort((a, b) => a - b);
  if (!ordered.length) return null;
  const different = [...new Set(ordered)];
  if (different.length <= 12) {
    const bins = different.map((value) => ({
      label: valued(measure, value),
      axis: plain(value, measure.digits),
      count: 0,
    }));
    const at = new Map(different.map((value, bin) => [value, bin]));
    for (const i of known) {
      const bin = at.get(measure.values[i]);
      places[i] = bin;
      bins[bin].count++;
    }
    return { bins, places, each: true };
  }
  // the outer 0.5 % fall into the first and the last bar, which say so
  const quantile = (share) => ordered[Math.round(share * (ordered.length - 1))];
  let low = quantile(0.005),
    high = quantile(0.995);
  if (high === low) {
    low = ordered[0];
    high = ordered[ordered.length - 1];
  }
  const step = Math.max(nice((high - low) / 26), 10 ** -measure.digits);
  const from = Math.floor(low / step + 1e-9) * step,
    many = Math.max(1, Math.ceil((high - from) / step + 1e-9));
  const digits = Math.max(0, Math.min(measure.digits, Math.ceil(-Math.log10(step) + 0.3)));
  const text = (value) => plain(Number(value.toPrecision(12)), digits);
  const below = ordered[0] < from,
    above = ordered[ordered.length - 1] >= from + many * step;
  const unit = unitOf(measure);
  const bins = Array.from({ length: many }, (_, bin) => {
    const a = text(from + bin * step),
      b = text(from + (bin + 1) * step);
    const label =
      bin === 0 && below
        ? `below ${b}${unit}`
        : bin === many - 1 && above
          ? `from ${a}${unit} on`
          : `${a} to ${b}${unit}`;
    return { label, count: 0 };
  });
  for (const i of known) {
    const bin = Math.max(
      0,
      Math.min(many - 1, Math.floor((measure.values[i] - from) / step + 1e-9)),
    );
    places[i] = bin;
    bins[bin].count++;
  }
  const end = text(from + many * step);
  return {
    bins,
    places,
    each: false,
    ends: [
      below ? `≤ ${text(from + step)}` : text(from),
      text(from + (many * step) / 2),
      above ? `≥ ${text(from + (many - 1) * step)}` : end,
    ],
  };
}
const constants = [];
const barParts = []; // [node, total, () => count]
function columnChart(measure) {
  const made = binned(measure);
  if (!made) return null;
  histograms.set(measure.column, made);
  if (made.bins.length === 1) {
    constants.push(`${small(measure.title)} ${made.bins[0].label}`);
    return null;
  }
  const most = Math.max(...made.bins.map((bin) => bin.count));
  const bars = h(
    "div",
    { class: "columns", role: "group", "data-group": true, "aria-label": measure.title },
    made.bins.map((bin, at) => {
      const inner = h("b", {});
      const button = h(
        "button",
        {
          type: "button",
          class: "bin",
          "aria-pressed": "false",
          "aria-label": `${bin.label}: ${of(bin.count, "volume")}`,
          title: `${bin.label}: ${of(bin.count, "volume")}`,
          onclick: () => {
            const { [measure.column]: old, ...rest } = state.bins;
            filter({ bins: old === at ? rest : { ...state.bins, [measure.column]: at } });
          },
        },
        h("i", { share: ["height", bin.count ? Math.max(0.015, bin.count / most) : 0] }, inner),
      );
      barParts.push({
        inner,
        side: "height",
        places: made.places,
        at,
        bin,
        button,
        pressed: () => state.bins[measure.column] === at,
      });
      return button;
    }),
  );
  // px of a bar, and of its label where each has one
  const room = Math.min(46, 260 / made.bins.length);
  const each = made.each && made.bins.every((bin) => bin.axis.length * 7.5 <= room);
  const axis = each
    ? made.bins.map((bin) => bin.axis)
    : made.ends || [made.bins[0].axis, made.bins[made.bins.length - 1].axis];
  return h(
    "div",
    { class: "chart" },
    h("h3", {}, measure.title, h("span", {}, `median ${valued(measure, measure.spread.median)}`)),
    bars,
    h(
      "div",
      { class: each ? "axis each" : "axis", long: made.bins.length * 46 },
      axis.map((text) => h("span", {}, text)),
    ),
  );
}
function rowChart(column, most = 8) {
  const counts = new Map();
  for (const i of volumes) counts.set(column.codes[i], (counts.get(column.codes[i]) || 0) + 1);
  const ordered = [...counts].sort((a, b) => b[1] - a[1]);
  if (ordered.length < 2) {
    const text = ordered.length ? column.known[ordered[0][0]] : "";
    if (text) constants.push(`${small(column.title)} ${text}`);
    return null;
  }
  const largest = ordered[0][1],
    some = ordered.slice(0, most),
    rest = ordered.slice(most);
  const rows = h(
    "div",
    { class: "rows", role: "group", "data-group": true, "aria-label": column.title },
    some.map(([code, amount]) => {
      const text = column.known[code],
        inner = h("b", {});
      const button = h(
        "button",
        {
          type: "button",
          class: "bin",
          "aria-pressed": "false",
          title: `${text || "not said"}: ${of(amount, "volume")}`,
          onclick: () => {
            const { [column.key]: old, ...others } = state.words;
            filter({ words: old === text ? others : { ...state.words, [column.key]: text } });
          },
        },
        h("span", { class: "word" }, text || "not said"),
        h("span", { class: "track" }, h("i", { share: ["width", amount / largest] }, inner)),
        h("span", { class: "n" }, count(amount)),
      );
      barParts.push({
        inner,
        side: "width",
        places: column.codes,
        at: code,
        bin: { count: amount },
        button,
        pressed: () => state.words[column.key] === text,
      });
      return button;
    }),
  );
  return h(
    "div",
    { class: "chart" },
    h("h3", {}, column.title, h("span", {}, of(ordered.length, "value"))),
    rows,
    rest.length
      ? h(
          "p",
          { class: "about" },
          `and ${of(rest.length, "other")}, together ` +
            `${count(rest.reduce((sum, [, amount]) => sum + amount, 0))}`,
        )
      : null,
  );
}
function drawBars() {
  // whether a bar is full depends on the volumes in the list, counted once per chart
  const counts = new Map();
  for (const part of barParts) {
    let mine = counts.get(part.places);
    if (!mine) {
      mine = new Map();
      for (const i of shown)
        if (data.reached[i] === VOLUME)
          mine.set(part.places[i], (mine.get(part.places[i]) || 0) + 1);
      counts.set(part.places, mine);
    }
    part.inner.style[part.side] =
      `${part.bin.count ? (100 * (mine.get(part.at) || 0)) / part.bin.count : 0}%`;
    part.button.setAttribute("aria-pressed", String(part.pressed()));
  }
}
