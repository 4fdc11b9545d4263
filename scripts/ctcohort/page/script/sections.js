// Everything that is drawn once
function drawTop() {
  const flagged = volumes.filter((i) => flags(i).length).length,
    seen = volumes.filter((i) => made[i]).length;
  const left = total - volumes.length;
  $("kicker").textContent =
    `${data.title} · ct-cohort ${data.run.release} · data set report · ` + `made ${day(data.made)}`;
  document.title = `${data.title}: ${of(volumes.length, "volume")}`;
  $("headline").textContent =
    `${count(volumes.length)} of ${of(total, "scan")} became ` +
    `${total === 1 ? "a volume" : "volumes"}.`;
  const sentences = [];
  if (data.table)
    sentences.push(`They were selected from ${of(data.table.rows, "row")} of the report table.`);
  if (left)
    sentences.push(
      data.state !== "going on"
        ? `${count(left)} ${left === 1 ? "was" : "were"} left out, ` +
            `${left === 1 ? "for a reason" : "each for a reason"} that is named below.`
        : `${count(left)} ${left === 1 ? "is" : "are"} not made yet or left out, as named below.`,
    );
  sentences.push(
    flagged
      ? `${of(flagged, "volume")} ${flagged === 1 ? "carries" : "carry"} a flag;`
      : "None carries a flag;",
    seen ? `a person has looked at ${count(seen)}.` : "nobody has recorded a look yet.",
  );
  $("lead").textContent = sentences.join(" ");
  const figure = (title, value) => h("div", {}, h("dt", {}, title), h("dd", {}, value));
  const slices = numbers.get("orig_numslices").values;
  const figures = [figure("volumes", count(volumes.length))];
  if (data.patients !== null) figures.push(figure("patients", count(data.patients)));
  figures.push(
    figure("source slices", count(volumes.reduce((sum, i) => sum + (slices[i] || 0), 0))),
    figure("of volumes", size(data.bytes.npz_bytes)),
    figure("of source DICOM", size(data.bytes.raw_bytes)),
  );
  if (data.bytes.spared)
    figures.push(figure("not fetched, by choosing first", size(data.bytes.spared)));
  $("figures").replaceChildren(...figures);
  const notice = {
    "going on": "The manifest is not written yet: this page shows what exists now.",
    earlier:
      "series.csv is newer than the manifest: this page shows the last run that was " +
      "finished. make status says what is true now.",
  }[data.state];
  if (notice) $("flow").prepend(h("p", { class: "notice" }, notice));
}
function drawFlow() {
  const steps = [],
    terms = [];
  const term = (title, text) => terms.push(h("dt", {}, title), h("dd", {}, text));
  const bar = (share, title) =>
    h(
      "div",
      { class: "bar" },
      h("i", { share: ["width", share] }),
      share < 0.4
        ? h("b", { class: "outside", share: ["marginLeft", share] }, title)
        : h("b", {}, title),
    );
  const row = (number, share, title, lost, more) =>
    h(
      "li",
      { class: `step ${more || ""}` },
      h("div", { class: "number" }, number),
      bar(share, title),
      h("ul", { class: "lost" }, lost),
    );
  if (data.table) {
    const {
      rows,
      selected_rows: selected,
      protocols,
      by_pattern: pattern,
      other_protocols: others,
    } = data.table;
    steps.push(row(h("span", {}, count(rows)), 1, "rows in the report table", []));
    steps.push(
      row(
        h("span", {}, count(selected)),
        rows ? selected / rows : 0,
        "with a selected protocol",
        rows > selected
          ? h(
              "li",
              {},
              h("span", { class: "minus" }, `−${count(rows - selected)}`),
              ` of ${of(others, "other protocol")}`,
            )
          : [],
      ),
    );
    term("report table", "Rows of the table, as counted in protocols.csv.");
    const named = protocols.map((each) => `${each.protocol} (${count(each.rows)})`);
    if (pattern.rows)
      named.push(
        `${of(pattern.protocols, "protocol")} matched by select.protocols_regex ` +
          `(${count(pattern.rows)})`,
      );
    term(
      "selected protocol",
      `Rows whose protocol description is selected: ${named.join("; ") || "none"}.`,
    );
  }
  const before = [];
  if (data.table) {
    if (data.table.selected_rows > total) before.push("several rows may name one accession");
    if (data.table.sample) before.push(`a sample of ${count(data.table.sample)}`);
    if (data.table.partition) before.push(`part ${data.table.partition}`);
  }
  const all = (text) =>
    h(
      "button",
      { type: "button", class: "link", title: "list them", onclick: () => only({}) },
      text,
    );
  steps.push(
    row(
      all(count(total)),
      1,
      "accessions",
      before.length ? h("li", {}, before.join("; ")) : [],
      data.table ? "unit" : "",
    ),
  );
  term(
    "accessions",
    "Different accessions of those rows: the lines of accessions.txt and of the manifest. " +
      "From here on every number counts accessions.",
  );
  data.flow.forEach((step, at) => {
    const lost = step.lost.map((group) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "link",
            title: group.meaning,
            onclick: () => only({ words: { status: group.status, status_reason: group.reason } }),
          },
          h("span", { class: "minus" }, `−${count(group.count)}`),
          ` ${group.reason || group.status}`,
        ),
      ),
    );
    steps.push(
      row(
        h(
          "button",
          { type: "button", class: "link", title: "list them", onclick: () => only({ step: at }) },
          count(step.count),
        ),
        total ? step.count / total : 0,
        step.title,
        lost,
        at === VOLUME - 1 ? "last" : "",
      ),
    );
    term(step.title, step.passed);
  });
  term(
    "reasons",
    "An accession without a usable series has the reason of the candidate that came " +
      "furthest. Each is explained in docs/reasons.md.",
  );
  $("flow-steps").replaceChildren(...steps);
  $("flow-terms").replaceChildren(...terms);
}
let first = [];
function drawFirst() {
  const unseen = volumes
    .filter((i) => !verdict(i) && data.odd[i] > 0)
    .sort((a, b) => data.odd[b] - data.odd[a] || a - b);
  first = unseen.slice(0, FIRST);
  $("first-about").textContent = first.length
    ? "The volumes that are least like the others and that nobody has reviewed yet, oddest first."
    : volumes.length
      ? "No volume stands out that has not been reviewed."
      : "There is no volume yet.";
  $("first-cards").replaceChildren(...first.map((i) => h("li", {}, card(i))));
  rove($("first-cards"));
  const counts = new Map();
  for (const i of volumes)
    for (const flag of flags(i)) counts.set(flag, (counts.get(flag) || 0) + 1);
  const known = Object.keys(data.flag_meanings)
    .filter((flag) => counts.has(flag))
    .sort((a, b) => said.has(a) - said.has(b) || counts.get(b) - counts.get(a));
  $("flags").replaceChildren(
    h(
      "tbody",
      {},
      known.length
        ? known.map((flag) =>
            h(
              "tr",
              {},
              h("td", { class: "number" }, count(counts.get(flag))),
              h(
                "td",
                {},
                h(
                  "button",
                  {
                    type: "button",
                    class: "link",
                    onclick: () => only({ words: { status: "included" }, flag }),
                  },
                  flagword(flag),
                ),
              ),
              h("td", { class: "meaning" }, data.flag_meanings[flag]),
            ),
          )
        : h("tr", {}, h("td", { class: "meaning" }, "No volume carries a flag.")),
    ),
  );
  const extreme = (measure, sign) => {
    let best = null;
    for (const i of volumes)
      if (
        measure.values[i] !== null &&
        (best === null || sign * measure.values[i] > sign * measure.values[best])
      )
        best = i;
    return best === null
      ? "–"
      : h(
          "button",
          { type: "button", class: "link", title: data.accessions[best], "data-scan": best },
          plain(measure.values[best], measure.digits),
        );
  };
  $("extremes").replaceChildren(
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", {}, "measure"),
        ["lowest", "median", "highest"].map((title) => h("th", { class: "number" }, title)),
      ),
    ),
    h(
      "tbody",
      {},
      data.numbers
        .filter(
          (measure) =>
            measure.spread &&
            measure.values.some(
              (value, i) => data.reached[i] === VOLUME && value !== measure.spread.median,
            ),
        )
        .map((measure) =>
          h(
            "tr",
            {},
            h(
              "td",
              {},
              measure.title,
              measure.unit ? h("span", { class: "about" }, ` ${measure.unit}`) : "",
            ),
            h("td", { class: "number" }, extreme(measure, -1)),
            h("td", { class: "number" }, plain(measure.spread.median, measure.digits)),
            h("td", { class: "number" }, extreme(measure, 1)),
          ),
        ),
    ),
  );
  const scales = data.numbers
    .filter((measure) => measure.least !== null)
    .map((measure) => `${small(measure.title)} ` + `(${measure.least}${unitOf(measure)})`);
  $("odd-terms").textContent =
    `A volume's oddness is its largest distance from the median of all volumes over these ` +
    `measures, in interquartile ranges, or in the number given here where the ` +
    `interquartile range is smaller: ${scales.join(", ")}. Every flag adds ` +
    `${data.flag_weights[0]}; those that only say what was done ` +
    `(${[...said].join(", ")}) add ${data.flag_weights[1]}. It is an order to look ` +
    `in, not a verdict.`;
}
function drawDistributions() {
  const charts = [
    ...data.numbers.map(columnChart),
    ...["manufacturer", "model", "convolution_kernel", "kvp"].map((key) =>
      rowChart(words.get(key)),
    ),
  ].filter(Boolean);
  $("charts").replaceChildren(...charts);
  for (const chart of charts) rove(chart);
  $("distributions-about").textContent = volumes.length
    ? `Over ${of(volumes.length, "volume")}. A bar filters the scans below; what the ` +
      `filters leave is shown in full colour, the rest pale.`
    : "There is no volume yet.";
  $("constants").textContent = constants.length
    ? `The same in every volume: ${constants.join(", ")}.`
    : "";
}
function drawTools() {
  const select = (key) => {
    const column = words.get(key);
    const known =
      key === "review"
        ? ["", ...VERDICTS]
        : column.known.filter(
            (text, code) => text || (key !== "status_reason" && column.codes.includes(code)),
          );
    if (known.length < 2 && !["status", "review"].includes(key)) return null;
    const counts = new Map();
    if (key !== "review")
      for (const code of column.codes)
        counts.set(column.known[code], (counts.get(column.known[code]) || 0) + 1);
    return h(
      "label",
      {},
      column.title,
      " ",
      h(
        "select",
        {
          "data-word": key,
          onchange: (event) => {
            const { [key]: _, ...rest } = state.words;
            filter({
              words:
                event.target.value === "all"
                  ? rest
                  : { ...rest, [key]: event.target.value.slice(1) },
            });
          },
        },
        h("option", { value: "all" }, "all"),
        known.map((text) =>
          h(
            "option",
            { value: `=${text}` },
            key === "review" ? reviewName(text) : `${text || "none"} (${count(counts.get(text))})`,
          ),
        ),
      ),
    );
  };
  const carried = [...words.keys()].filter((key) => key.startsWith("label "));
  const present = Object.keys(data.flag_meanings).filter((flag) =>
    flagsOf.some((list) => list.includes(flag)),
  );
  const flag = h(
    "select",
    { id: "flag", onchange: (event) => filter({ flag: event.target.value }) },
    h("option", { value: "" }, "all"),
    h("option", { value: "*" }, "any flag"),
    present.map((each) => h("option", { value: each }, each)),
  );
  $("filters").replaceChildren(
    ...[
      ...ALWAYS.slice(0, 2).map(select),
      h("label", {}, "Flag ", flag),
      ...[...ALWAYS.slice(2), ...carried].map(select),
    ].filter(Boolean),
  );
  $("sort").replaceChildren(...SORTS.map(([key, title]) => h("option", { value: key }, title)));
  let timer;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => filter({ search: $("search").value }), 120);
  });
  $("sort").addEventListener("change", () =>
    filter({ sort: $("sort").value, down: !["accession", "cohort"].includes($("sort").value) }),
  );
  $("order").addEventListener("change", () => filter({ down: $("order").value === "down" }));
  $("view").addEventListener("change", () => filter({ view: $("view").value }));
}
function drawSplits() {
  const all = volumes.length || 1;
  $("splits-about").textContent =
    `By ` +
    `patient${data.patients === null ? "" : ` (${count(data.patients)} in the volumes)`}: ` +
    `all scans of one patient are in one set. Shares are of the volumes.`;
  $("splits-stack").replaceChildren(
    ...data.splits
      .filter((set) => set.volumes)
      .map((set) =>
        h(
          "div",
          { class: set.split, share: ["width", set.volumes / all] },
          `${set.split} ${percent(set.volumes / all)}`,
        ),
      ),
  );
  const sexes = [...new Set(data.splits.flatMap((set) => Object.keys(set.sex)))];
  const labels = [...new Set(data.splits.flatMap((set) => Object.keys(set.labels)))];
  const patients = data.splits.some((set) => set.patients !== null),
    wanted = data.splits.some((set) => set.wanted !== null);
  const number = (...content) => h("td", { class: "number" }, ...content);
  const shares = (set, amounts) =>
    Object.entries(amounts)
      .sort((a, b) => collator.compare(a[0], b[0]))
      .map(([value, amount]) => `${value || "none"}: ${percent(amount / (set.volumes || 1))}`)
      .join(", ") || "–";
  $("splits-table").replaceChildren(
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", {}, "set"),
        [
          "volumes",
          "share",
          wanted && "wanted",
          patients && "patients",
          ...sexes.map((sex) => `sex ${sex}`),
          "age, median (quartiles)",
        ]
          .filter(Boolean)
          .map((title) => h("th", { class: "number" }, title)),
        labels.map((label) => h("th", {}, label)),
      ),
    ),
    h(
      "tbody",
      {},
      data.splits.map((set) =>
        h(
          "tr",
          {},
          h(
            "td",
            {},
            h("span", {
              class: `key ${["train", "val", "test"].includes(set.split) ? set.split : ""}`,
            }),
            h(
              "button",
              {
                type: "button",
                class: "link",
                onclick: () => only({ words: { status: "included", split: set.split } }),
              },
              set.split || "none",
            ),
          ),
          number(count(set.volumes)),
          number(percent(set.volumes / all)),
          wanted && number(set.wanted === null ? "–" : percent(set.wanted)),
          patients && number(set.patients === null ? "–" : count(set.patients)),
          sexes.map((sex) => number(set.sex[sex] ? percent(set.sex[sex] / set.volumes) : "–")),
          number(
            set.age
              ? `${plain(set.age[1], 0)} (${plain(set.age[0], 0)}–${plain(set.age[2], 0)})`
              : "–",
          ),
          labels.map((label) => h("td", {}, shares(set, set.labels[label]))),
        ),
      ),
    ),
  );
  if (data.hidden_labels.length)
    $("splits-about").append(
      ` Carried columns with too many different values to be a label are not on this page: ` +
        `${data.hidden_labels.join(", ")}.`,
    );
}
function drawSpared() {
  const { series, spared, raw_bytes: raw, log } = data.bytes;
  const known = series.length > 0,
    all = raw + spared || 1;
  const others = series
    .filter((each) => each.reason !== "selected")
    .reduce((sum, each) => sum + each.series, 0);
  const sentences = [
    known
      ? `${size(raw)} of DICOM became the volumes. About ${size(spared)} in ` +
        `${of(others, "other series", "other series")} stayed where they were, because the ` +
        `choice was made on headers: ${percent(spared / all)} of what the accessions hold.`
      : "There is no series.csv here, so it is not known what was left.",
  ];
  if (log && log.seconds > 0 && log.bytes > 0) {
    const rate = log.bytes / log.seconds;
    sentences.push(
      `The archive's access log: ${of(log.requests, "request")}, ${size(log.bytes)} in ` +
        `${duration(log.seconds)} of fetching, ${size(rate)} per second of one connection. ` +
        `At that rate what was not fetched would have taken another ${duration(spared / rate)}.`,
    );
  } else sentences.push("There is no access log of an archive here, so no time is estimated.");
  $("spared-about").textContent = sentences.join(" ");
  const part = (name, bytes, text) =>
    h("div", { class: name, share: ["width", bytes / all] }, text);
  $("spared-stack").replaceChildren(
    ...(known
      ? [
          part("fetched", raw, `fetched ${size(raw)}`),
          part("spared", spared, `not fetched ${size(spared)}`),
        ]
      : []),
  );
  $("spared-table").replaceChildren(
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["series", "images", "about"].map((title) => h("th", { class: "number" }, title)),
        h("th", {}, "reason"),
        h("th", {}, ""),
      ),
    ),
    h(
      "tbody",
      {},
      series.map((each) =>
        h(
          "tr",
          {},
          h("td", { class: "number" }, count(each.series)),
          h("td", { class: "number" }, count(each.instances)),
          h("td", { class: "number" }, size(each.bytes)),
          h("td", {}, each.reason),
          h("td", { class: "meaning" }, each.meaning),
        ),
      ),
    ),
  );
}
function drawRun() {
  const run = data.run;
  const facts = (pairs) =>
    h(
      "dl",
      { class: "facts" },
      pairs.map(([title, value]) => [h("dt", {}, title), h("dd", {}, value)]),
    );
  const algorithms = [...new Set(volumes.map((i) => word("algorithm_version", i)))];
  const made = [
    ["ct-cohort", run.release],
    ["algorithm version", algorithms.join(", ") || "–"],
    ...run.dates.map((each) => [each.what, day(each.at)]),
    ["page made", day(data.made)],
  ];
  const environment = [["Python", run.python], ...Object.entries(run.packages)];
  const text = (value) =>
    typeof value === "string"
      ? value
      : JSON.stringify(value)
          .replaceAll('","', '", "')
          .replace(/(?<=[\d\]}]),/g, ", ");
  const parameters = Object.entries(run.parameters).flatMap(([section, values]) =>
    typeof values === "object" && values !== null
      ? Object.entries(values).map(([key, value]) => [`${section}.${key}`, text(value)])
      : [[section, text(values)]],
  );
  $("run-facts").replaceChildren(
    h(
      "div",
      {},
      h("h3", {}, "Made by"),
      facts(made),
      h("h3", { class: "gap" }, "Environment of this page"),
      facts(environment),
    ),
    h(
      "div",
      {},
      h("h3", {}, "Parameters"),
      h(
        "p",
        { class: "about" },
        parameters.length
          ? "As the stages noted them. What is not listed is none, false, empty or not noted here."
          : "Not noted in this directory.",
      ),
      facts(parameters),
    ),
  );
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
