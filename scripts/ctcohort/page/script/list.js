// The list
const perPage = () => (state.view === "list" ? ROWS : CARDS);
function chips() {
  const found = [];
  const chip = (text, change) =>
    found.push(
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            "aria-label": `remove the filter ${text}`,
            onclick: () => filter(change),
          },
          `${text} ×`,
        ),
      ),
    );
  if (state.search.trim()) chip(`“${state.search.trim()}”`, { search: "" });
  if (state.step !== null) chip(data.flow[state.step].title, { step: null });
  for (const [key, value] of Object.entries(state.words)) {
    const { [key]: _, ...rest } = state.words;
    chip(`${words.get(key).title}: ${key === "review" ? reviewName(value) : value || "none"}`, {
      words: rest,
    });
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
  if (list.length > 1)
    list.push(
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            onclick: () => filter({ search: "", words: {}, flag: "", step: null, bins: {} }),
          },
          "remove all",
        ),
      ),
    );
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
  const per = perPage(),
    last = Math.max(0, Math.ceil(shown.length / per) - 1);
  node.hidden = !last;
  const go = (page) => {
    apply(page);
    if (node.id === "pages-below") $("scans").scrollIntoView();
  };
  node.replaceChildren(
    h(
      "button",
      {
        type: "button",
        disabled: !state.page,
        "aria-label": "page before",
        onclick: () => go(state.page - 1),
      },
      "←",
    ),
    `${count(state.page * per + 1)}–${count(Math.min(shown.length, (state.page + 1) * per))}`,
    h(
      "button",
      {
        type: "button",
        disabled: state.page === last,
        "aria-label": "next page",
        onclick: () => go(state.page + 1),
      },
      "→",
    ),
  );
}
const LISTED = [
  "orig_numslices",
  "orig_zdiff",
  "slice_thickness",
  "z_error_mm",
  "air_peak_hu",
  "npz_bytes",
];
function listOf(places, buttons) {
  const heading = (key, title, number) => {
    const by = state.sort === key;
    return h(
      "th",
      {
        class: number && "number",
        scope: "col",
        "aria-sort": by ? (state.down ? "descending" : "ascending") : null,
      },
      buttons && key
        ? h(
            "button",
            {
              type: "button",
              onclick: () => filter({ sort: key, down: by ? !state.down : number }),
            },
            title,
            by ? (state.down ? " ↓" : " ↑") : "",
          )
        : title,
    );
  };
  return h(
    "table",
    { class: "list" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        heading("accession", "accession"),
        heading("", "status"),
        heading("", "split"),
        LISTED.map((column) =>
          heading(
            column,
            small(numbers.get(column).title) +
              (numbers.get(column).unit ? `, ${numbers.get(column).unit}` : ""),
            true,
          ),
        ),
        heading("", "kernel"),
        heading("odd", "odd", true),
        heading("", "flags"),
        heading("", "review"),
      ),
    ),
    h(
      "tbody",
      {},
      places.map((i) =>
        h(
          "tr",
          {},
          h(
            "td",
            {},
            buttons
              ? h(
                  "button",
                  { type: "button", class: "scan accession", "data-scan": i },
                  data.accessions[i],
                )
              : h("span", { class: "accession" }, data.accessions[i]),
          ),
          h("td", {}, word("status_reason", i) || word("status", i)),
          h("td", {}, word("split", i)),
          LISTED.map((column) => {
            const value = numbers.get(column).values[i];
            return h(
              "td",
              { class: "number" },
              value === null ? "" : plain(value, numbers.get(column).digits),
            );
          }),
          h("td", {}, word("convolution_kernel", i)),
          h("td", { class: "number" }, data.odd[i] === null ? "" : data.odd[i].toFixed(1)),
          h("td", { class: "words" }, flags(i).map(flagword)),
          h("td", {}, markOf(i)),
        ),
      ),
    ),
  );
}
function drawShown() {
  const per = perPage(),
    places = shown.slice(state.page * per, (state.page + 1) * per);
  const node = $("shown");
  if (!places.length)
    node.replaceChildren(h("p", { class: "none" }, "No accession matches these filters."));
  else if (state.view === "list")
    node.replaceChildren(h("div", { class: "scroll" }, listOf(places, true)));
  else
    node.replaceChildren(
      h(
        "ul",
        { class: "cards", "aria-label": "Scans" },
        places.map((i) => h("li", {}, card(i))),
      ),
    );
  rove(node);
}
addEventListener("beforeprint", () => {
  const some = shown.slice(0, PRINTED);
  $("printed").replaceChildren(
    h(
      "p",
      { class: "about" },
      [
        `${count(shown.length)} of ${of(total, "accession")}`,
        ...[...$("chips").querySelectorAll("li")]
          .map((chip) => chip.textContent.replace(" ×", ""))
          .filter((text) => text !== "remove all"),
      ].join(" · "),
      shown.length > PRINTED ? `; the first ${count(PRINTED)} are listed` : "",
    ),
    listOf(some, false),
  );
});
addEventListener("afterprint", () => $("printed").replaceChildren());

// Keyboard: one stop per group of scans or bars, arrows inside it.
function rove(group) {
  const items = [...group.querySelectorAll(".scan, .bin")];
  items.forEach((item, index) => {
    item.tabIndex = index ? -1 : 0;
  });
}
const rowLength = (items) =>
  items.filter(
    (item) => Math.abs(item.getBoundingClientRect().top - items[0].getBoundingClientRect().top) < 4,
  ).length || 1;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = event.target,
    typing = target.matches("input:not([type=checkbox]), select, textarea");
  if (typing) return;
  if ($("viewer").open) {
    viewerKey(event);
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
    return;
  }
  if (event.key === "?") {
    openHelp();
    return;
  }
  const item = target.closest(".scan, .bin");
  if (!item) return;
  const verdictOf = { g: "good", b: "bad", u: "" }[event.key.toLowerCase()];
  if (item.dataset.scan !== undefined && verdictOf !== undefined) {
    mark(Number(item.dataset.scan), verdictOf);
    return;
  }
  const group = item.closest("[data-group], ul.cards, table.list");
  const items = [...group.querySelectorAll(".scan, .bin")];
  const list = group.matches("table"),
    bars = group.matches("[data-group]");
  const row = list || bars ? 1 : rowLength(items);
  const step = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: row,
    ArrowUp: -row,
    Home: -Infinity,
    End: Infinity,
  }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  let next = items.indexOf(item) + step;
  if (Math.abs(step) === Infinity) next = step < 0 ? 0 : items.length - 1;
  const last = Math.ceil(shown.length / perPage()) - 1;
  if (group.closest("#shown") && next >= items.length && state.page < last) {
    apply(state.page + 1);
    $("shown").querySelector(".scan").focus();
    return;
  }
  if (group.closest("#shown") && next < 0 && state.page) {
    apply(state.page - 1);
    [...$("shown").querySelectorAll(".scan")].pop().focus();
    return;
  }
  const to = items[Math.max(0, Math.min(items.length - 1, next))];
  items.forEach((each) => {
    each.tabIndex = each === to ? 0 : -1;
  });
  to.focus();
});
document.addEventListener("click", (event) => {
  const scan = event.target.closest("[data-scan]");
  if (scan) view(Number(scan.dataset.scan), scan);
});
