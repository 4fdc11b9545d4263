// Reviews: those of reviews.csv as the page was made, and on top of them what is changed here.
const VERDICTS = ["good", "bad"];
const made = data.review.codes.map((code) => data.review.known[code]);
const STORE = `ct-cohort reviews ${data.id}`;
const changed = new Map(); // accession -> {verdict, note, saved}
let storing = true;
try {
  for (const [accession, change] of Object.entries(JSON.parse(localStorage.getItem(STORE) || "{}")))
    changed.set(accession, change);
} catch {
  storing = false;
}
const indexOf = new Map(data.accessions.map((accession, i) => [accession, i]));
for (const [accession, change] of changed) {
  // what was saved and has come back, or says what the table says, is no change any more
  const i = indexOf.get(accession);
  if (i === undefined || (change.verdict === made[i] && (change.saved || !change.note)))
    changed.delete(accession);
}
const keep = () => {
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(changed)));
  } catch {
    storing = false;
  }
};
const verdict = (i) => {
  const change = changed.get(data.accessions[i]);
  return change ? change.verdict : made[i];
};
const noteOf = (i) => changed.get(data.accessions[i])?.note || "";
// a note alone is no review: it waits for its verdict
const isReview = ([accession, change]) => change.verdict || made[indexOf.get(accession)];
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
// As the tables of the workflow: an apostrophe before what a spreadsheet would take for a formula.
const isFormula = (text) =>
  /^'*[=+\-@\t\r][\s\S]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text);
const field = (plain) => {
  const text = isFormula(plain) ? `'${plain}` : plain;
  return /[",\r\n]|^[\s#]|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const csv = (rows) => rows.map((row) => `${row.map(field).join(",")}\n`).join("");
function parse(text) {
  text = text.replace(/^\uFEFF/, "");
  const first = text.split(/\r?\n/).find((line) => line.trim() && !line.startsWith("#")) || "";
  const bare = first.replace(/"[^"]*"/g, "");
  const counts = [",", "|", "\t", ";"].map((mark) => bare.split(mark).length);
  const delimiter = [",", "|", "\t", ";"][counts.indexOf(Math.max(...counts))];
  const rows = [];
  let row = [],
    value = "",
    quoted = false,
    at = 0;
  const ends = (i) => text[i] === "\n" || text[i] === "\r" || i >= text.length;
  while (at <= text.length) {
    if (!row.length && !value && !quoted && text[at] === "#") {
      while (!ends(at)) at++;
    }
    const mark = text[at];
    if (quoted && at < text.length) {
      if (mark !== '"') value += mark;
      else if (text[at + 1] === '"') {
        value += '"';
        at++;
      } else quoted = false;
    } else if (mark === '"' && !value)
      quoted = true; // elsewhere it is a character
    else if (mark === delimiter) {
      row.push(value);
      value = "";
    } else if (ends(at)) {
      row.push(value);
      value = "";
      if (row.some((text) => text.trim())) rows.push(row);
      row = [];
      if (mark === "\r" && text[at + 1] === "\n") at++;
    } else value += mark;
    at++;
  }
  return rows;
}
/** Return the table to save; `current` is what reviews.csv holds now, by default what the page was
 * made with. */
function table(current) {
  const rows = current || [
    ["accession", "verdict", "note"],
    ...volumesAndOthers().map((i) => [data.accessions[i], made[i], ""]),
  ];
  const header = rows[0].map((name) => name.trim());
  for (const name of ["accession", "verdict"]) {
    if (!header.includes(name))
      throw new Error(
        `The file has no column ${name}; it was not taken. Choose the reviews.csv of the ` +
          `working directory.`,
      );
  }
  if (!header.includes("note")) header.push("note");
  const at = Object.fromEntries(
    ["accession", "verdict", "note"].map((name) => [name, header.indexOf(name)]),
  );
  const left = new Map(changed);
  const kept = [];
  for (const row of rows.slice(1)) {
    while (row.length < header.length) row.push("");
    const accession = row[at.accession].trim();
    const change = left.get(accession);
    left.delete(accession);
    if (change && !change.verdict) continue;
    if (change) {
      row[at.verdict] = change.verdict;
      if (change.note) row[at.note] = change.note;
    }
    kept.push(row);
  }
  for (const [accession, change] of left) {
    if (!change.verdict) continue;
    const row = header.map(() => "");
    row[at.accession] = accession;
    row[at.verdict] = change.verdict;
    row[at.note] = change.note || "";
    kept.push(row);
  }
  return csv([header, ...kept]);
}
const volumesAndOthers = () => data.accessions.map((_, i) => i).filter((i) => made[i]);
function download(text) {
  const link = h("a", {
    href: URL.createObjectURL(new Blob([text], { type: "text/csv" })),
    download: "reviews.csv",
  });
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
  } catch (error) {
    $("merge-error").textContent = error.message;
  }
});
addEventListener("beforeunload", (event) => {
  if (!storing && unsaved()) event.preventDefault();
});
