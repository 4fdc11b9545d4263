// Pictures: in the page, beside it, or not made.
let thumbnails, pictures;
const beside = { thumbnails: new Set(data.thumbnails), pictures: new Set(data.pictures) };
const fileName = (i) => encodeURIComponent(data.names[i] || data.accessions[i]);
const absent = (text) => h("span", { class: "absent" }, text);
function thumbnail(i) {
  thumbnails = thumbnails || read("thumbnails");
  const alt = `coronal and axial plane of ${data.accessions[i]}`;
  if (thumbnails[i]) return h("img", { src: `data:image/webp;base64,${thumbnails[i]}`, alt });
  if (data.reached[i] !== VOLUME)
    return absent(word("status", i) === "excluded" ? "no volume" : word("status", i));
  if (!beside.thumbnails.has(i)) return absent("picture not made yet");
  const image = h("img", { src: `qc/thumbnails/${fileName(i)}.webp`, loading: "lazy", alt });
  image.addEventListener("error", () => image.replaceWith(absent("picture not beside this page")));
  return image;
}
const oddBecause = (i) => {
  const measure = data.numbers[data.odd_by[i]];
  if (!measure || data.odd[i] === null) return "";
  const value = measure.values[i];
  return (
    `${small(measure.title)} ${valued(measure, value)}, median ` +
    `${valued(measure, measure.spread.median)}`
  );
};
const card = (i) =>
  h(
    "button",
    { type: "button", class: "card scan", "data-scan": i },
    h("span", { class: "frame" }, thumbnail(i)),
    h(
      "span",
      { class: "text" },
      h(
        "span",
        { class: "name" },
        h("span", { class: "accession" }, data.accessions[i]),
        markOf(i),
      ),
      h(
        "span",
        { class: "why" },
        data.reached[i] === VOLUME
          ? oddBecause(i) || (flags(i).length ? "" : "as the others")
          : word("status_reason", i) || word("status", i),
      ),
      flags(i).map(flagword),
    ),
  );
