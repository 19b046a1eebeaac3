"use strict";
// Files out of what the page holds already: nothing is fetched, and the page reads the same without this.
const source = (button) => {
  const images = [...button.closest("figure").querySelectorAll(".card img")];
  // On paper and on slides the figure has its light colours, whatever the page has.
  const parts = images.map((image) => decodeURIComponent(image.src.slice(image.src.indexOf(",") + 1))
    .replace(/<style data-scheme=["']dark["']>[^]*?<\/style>/, ""));
  // Every panel knows where it stands in the whole figure.
  const frames = parts.map((part) => /viewBox=["']([^"']*)["']/.exec(part)[1].split(" ").map(Number));
  const across = Math.max(...frames.map(([x, , width]) => x + width));
  const up = Math.max(...frames.map(([, y, , height]) => y + height));
  const whole = `<svg xmlns="http://www.w3.org/2000/svg" width="${across}pt" height="${up}pt" viewBox="0 0 ${across} ${up}">` +
    `<rect width="100%" height="100%" fill="white"/>${parts.join("")}</svg>`;
  return { svg: new Blob([whole], { type: "image/svg+xml" }), across: across * 96 / 72, up: up * 96 / 72 };
};
const png = async ({ svg, across, up }) => {
  const address = URL.createObjectURL(svg);
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  const scale = 300 / 96; // dots per inch of print over those of CSS
  canvas.width = Math.round(scale * across);
  canvas.height = Math.round(scale * up);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
};
const fileOf = async (button) => {
  const drawing = source(button);
  return button.dataset.save === "png" ? png(drawing) : drawing.svg;
};
const save = (content, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
for (const button of document.querySelectorAll("button[data-save]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    save(await fileOf(button), `${button.dataset.name}.${button.dataset.save}`);
  });
}
// The data of all figures lie in one ZIP in the page: each CSV is taken out of it.
const bytesOf = (address) => Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (part) => part.charCodeAt(0));
const csvOf = async (name) => {
  const zip = bytesOf(document.getElementById("all-data").href), view = new DataView(zip.buffer);
  for (let place = 0; view.getUint32(place, true) === 67324752; ) { // the mark of a file, one after the other
    const size = view.getUint32(place + 18, true), length = view.getUint16(place + 26, true);
    const start = place + 30 + length + view.getUint16(place + 28, true);
    if (new TextDecoder().decode(zip.subarray(place + 30, place + 30 + length)) === name) {
      const packed = new Blob([zip.subarray(start, start + size)]).stream();
      return new Response(packed.pipeThrough(new DecompressionStream("deflate-raw"))).blob();
    }
    place = start + size;
  }
};
for (const button of document.querySelectorAll("button[data-csv]")) {
  button.hidden = false;
  button.addEventListener("click", async () => save(await csvOf(button.dataset.csv), button.dataset.csv));
}
// A link to what is folded up unfolds it, and the address says which claim or fold a reader opened last.
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  let folded = false;
  for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) {
    folded ||= !part.open;
    part.open = true;
  }
  if (folded) target.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
for (const fold of document.querySelectorAll("details[id]")) {
  fold.addEventListener("toggle", () => { if (fold.open && location.hash !== `#${fold.id}`) history.replaceState(null, "", `#${fold.id}`); });
}
// The contents list says where the reader is.
const links = new Map();
for (const link of document.querySelectorAll("nav a")) links.set(link.hash.slice(1), link);
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id).setAttribute("aria-current", "location");
  }
}, { rootMargin: "0px 0px -75% 0px" });
for (const id of links.keys()) seen.observe(document.getElementById(id));
