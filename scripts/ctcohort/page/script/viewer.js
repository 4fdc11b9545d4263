// One scan
let viewing = { list: [], at: 0, from: null };
function view(i, from) {
  const list = from?.closest("#shown")
    ? [...shown]
    : from?.closest("#first-cards")
      ? [...first]
      : [i];
  viewing = { list, at: list.indexOf(i), from };
  drawViewer();
  $("viewer").showModal();
  $("viewer-next").focus();
}
function drawViewer() {
  const i = viewing.list[viewing.at],
    name = data.accessions[i];
  $("viewer-title").textContent = name;
  $("viewer-place").textContent =
    viewing.list.length > 1 ? `${count(viewing.at + 1)} of ${count(viewing.list.length)}` : "";
  const image = $("viewer-picture"),
    note = $("viewer-note");
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
    else {
      image.hidden = true;
      image.removeAttribute("src");
    }
  };
  image.onerror = null;
  if (pictures[i]) image.src = `data:image/png;base64,${pictures[i]}`;
  else if (data.reached[i] !== VOLUME)
    instead(`No volume: ${word("status_reason", i) || word("status", i)}.`);
  else if (!beside.pictures.has(i)) instead("The picture was not made when this page was.");
  else {
    image.onerror = () =>
      instead(
        "The picture is not beside this page; it is in the folder qc of the working directory.",
      );
    image.src = `qc/${fileName(i)}.png`;
  }
  const facts = [];
  const fact = (title, ...value) => facts.push(h("dt", {}, title), h("dd", {}, ...value));
  fact("status", word("status", i));
  const reason = word("status_reason", i);
  if (reason)
    fact(
      "reason",
      reason,
      data.meanings[reason] && data.meanings[reason] !== reason ? `: ${data.meanings[reason]}` : "",
    );
  for (const flag of flags(i)) fact("flag", flagword(flag), ` ${data.flag_meanings[flag] || ""}`);
  if (data.odd[i] !== null)
    fact("oddness", data.odd[i].toFixed(1), oddBecause(i) ? `: ${oddBecause(i)}` : "");
  for (const column of words.values()) {
    if (["status", "status_reason", "review"].includes(column.key)) continue;
    const text = column.known[column.codes[i]];
    if (text) fact(small(column.title), text);
  }
  for (const measure of data.numbers)
    if (measure.values[i] !== null) fact(small(measure.title), valued(measure, measure.values[i]));
  $("viewer-facts").replaceChildren(...facts);
  $("viewer-back").disabled = viewing.at === 0;
  $("viewer-next").disabled = viewing.at === viewing.list.length - 1;
  $("note").value = noteOf(i);
  drawVerdict();
}
function drawVerdict() {
  const value = verdict(viewing.list[viewing.at]);
  for (const each of VERDICTS)
    $(`mark-${each}`).setAttribute("aria-pressed", String(value === each));
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
$("note").addEventListener("keydown", (event) => {
  if (event.key === "Enter") $("viewer").focus();
});
$("viewer").addEventListener("close", () => {
  const i = viewing.list[viewing.at];
  const again =
    viewing.from?.isConnected && Number(viewing.from.dataset.scan) === i
      ? viewing.from
      : $("shown").querySelector(`[data-scan="${i}"]`) || viewing.from;
  again?.focus();
});
for (const id of ["viewer", "help", "merge"])
  $(id).addEventListener("click", (event) => {
    if (event.target === $(id)) $(id).close();
  });
function openHelp() {
  $("help-storage").textContent = storing
    ? ""
    : "This browser keeps nothing for this file: save reviews.csv before you close the page.";
  $("forget").hidden = !unsaved();
  $("help").showModal();
}
$("help-open").addEventListener("click", openHelp);
$("forget").addEventListener("click", () => {
  changed.clear();
  keep();
  drawMarks();
  apply(state.page);
  $("help").close();
});
