"use strict";
// Files out of what the page holds already: nothing is fetched, and the page reads the same without this.
const source = (button) => {
  const image = button.closest("figure").querySelector(".card img");
  const drawn = decodeURIComponent(image.src.slice(image.src.indexOf(",") + 1));
  // On paper and on slides the figure has its light colours, whatever the page has.
  const svg = drawn.replace(/<style data-scheme=["']dark["']>[^]*?<\/style>/, "");
  return { svg: new Blob([svg], { type: "image/svg+xml" }), width: image.width, height: image.height,
           across: Number(image.getAttribute("width")), up: Number(image.getAttribute("height")) };
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
for (const button of document.querySelectorAll("button[data-save]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await fileOf(button));
    link.download = `${button.dataset.name}.${button.dataset.save}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}
// A link to what is folded up unfolds it.
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target && target.closest("details:not([open])");
  if (folded) {
    folded.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", unfold);
unfold();
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
