// Filters. Everything that is shown of the scans follows from `state`.
const state = {
  search: "",
  words: { status: "included" },
  flag: "",
  step: null,
  bins: {},
  sort: "odd",
  down: true,
  view: "pictures",
  page: 0,
};
if (!volumes.length) state.words = {};
let shown = [];
const ALWAYS = ["status", "status_reason", "split", "manufacturer", "convolution_kernel", "review"];
const reviewName = (value) => value || "not reviewed";
function tests() {
  const found = [];
  for (const [key, value] of Object.entries(state.words)) {
    if (key === "review") {
      found.push((i) => verdict(i) === value);
      continue;
    }
    const column = words.get(key),
      code = column.known.indexOf(value);
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
    const hits = ["status", "status_reason", "manufacturer", "model", "convolution_kernel"].map(
      (key) => {
        const column = words.get(key);
        return [column.codes, column.known.map((text) => text.toLowerCase().includes(asked))];
      },
    );
    hits.push([data.flags.codes, data.flags.known.map((text) => text.includes(asked))]);
    found.push(
      (i) =>
        data.accessions[i].toLowerCase().includes(asked) ||
        hits.some(([codes, hit]) => hit[codes[i]]),
    );
  }
  return found;
}
const collator = new Intl.Collator("en", { numeric: true });
const SORTS = [
  ["odd", "oddness", (i) => data.odd[i]],
  ["accession", "accession", null],
  ["cohort", "place in the cohort", (i) => i],
  ...data.numbers.map((measure) => [
    measure.column,
    small(measure.title),
    (i) => measure.values[i],
  ]),
];
function sorted(places) {
  const sign = state.down ? -1 : 1;
  if (state.sort === "accession")
    return places.sort((a, b) => sign * collator.compare(data.accessions[a], data.accessions[b]));
  const value = SORTS.find(([key]) => key === state.sort)[2];
  // what has no value comes last both ways; equal values stay in the cohort's order
  return places.sort((a, b) => {
    const x = value(a),
      y = value(b);
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
  if (jump) {
    $("scans").scrollIntoView();
    $("scans-title").focus({ preventScroll: true });
  }
}
/** Only this filter, and the list of what it leaves. */
const only = (change) =>
  filter({ search: "", words: {}, flag: "", step: null, bins: {}, ...change }, true);
