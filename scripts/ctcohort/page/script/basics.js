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
const CARDS = 48,
  ROWS = 100,
  PRINTED = 2000,
  FIRST = 5;

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
  node.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
};
const count = (value) => value.toLocaleString("en-US");
const of = (value, one, many) => `${count(value)} ${value === 1 ? one : many || `${one}s`}`;
const size = (bytes) => {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (Math.abs(bytes) >= 999.5 && unit < units.length - 1) {
    bytes /= 1000;
    unit++;
  }
  const rounded = Number(bytes.toPrecision(3));
  const text = rounded.toLocaleString("en-US", { maximumFractionDigits: 2 });
  return `${text} ${units[unit]}`;
};
const percent = (share) => {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  return `${(100 * share).toFixed(share < 0.1 && share > 0 ? 1 : 0)} %`;
};
const duration = (seconds) =>
  seconds < 90
    ? `${seconds.toFixed(0)} s`
    : seconds < 5400
      ? `${(seconds / 60).toFixed(0)} min`
      : seconds < 172800
        ? `${(seconds / 3600).toFixed(1)} h`
        : `${(seconds / 86400).toFixed(1)} days`;
const day = (text) => `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`;
const plain = (value, digits) =>
  value.toLocaleString("en-US", { maximumFractionDigits: digits }).replace("-", "−");
const small = (title) => (["DICOM files", "kV"].includes(title) ? title : title.toLowerCase());
const unitOf = (measure) =>
  measure.unit === "°" || !measure.unit ? measure.unit || "" : ` ${measure.unit}`;
const valued = (measure, value) =>
  value === null ? "–" : plain(value, measure.digits) + unitOf(measure);
const word = (key, i) => {
  const column = words.get(key);
  return column.known[column.codes[i]];
};
const flagsOf = data.flags.known.map((text) => text.split(" ").filter(Boolean));
const flags = (i) => flagsOf[data.flags.codes[i]];
const said = new Set(data.flags_said);
const flagword = (flag) =>
  h(
    "span",
    { class: said.has(flag) ? "flagword said" : "flagword", title: data.flag_meanings[flag] },
    flag,
  );
