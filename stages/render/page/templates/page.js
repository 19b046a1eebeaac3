"use strict";
// Saves figures and data as files. Everything is in the page: nothing is fetched, and the text needs no script.
const source = (button) => {
  const images = [...button.closest("figure").querySelectorAll(".card img")];
  // Saved figures have light colours, for paper and slides.
  const parts = images.map((image) => decodeURIComponent(image.src.slice(image.src.indexOf(",") + 1))
    .replace(/<style data-scheme=["']dark["']>[^]*?<\/style>/, ""));
  // The view box of each panel is its place in the whole figure.
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
// One ZIP in the page holds the data of all figures; each CSV file is read from the ZIP.
const bytesOf = (address) => Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (part) => part.charCodeAt(0));
const csvOf = async (name) => {
  const zip = bytesOf(document.getElementById("all-data").href), view = new DataView(zip.buffer);
  for (let place = 0; view.getUint32(place, true) === 67324752; ) { // signature of a file header
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
// The address holds the state of the page, so that a link shows the same view: #TARGET?open=FOLD,FOLD&CHOICES.
// A target opens the folds around it; "open" names the other open folds, and CHOICES are those of the maps.
const maps = document.querySelector(".explorer");
let target = "", waiting = 0;
const written = () => {
  try { return decodeURIComponent(location.hash.slice(1)); } catch { return location.hash.slice(1); }
};
const unfold = (id) => {
  const place = document.getElementById(id);
  let changed = false;
  for (let fold = place && place.closest("details"); fold; fold = fold.parentElement.closest("details")) {
    changed ||= !fold.open;
    fold.open = true;
  }
  return changed;
};
const remember = () => {
  const place = document.getElementById(target);
  const open = [...document.querySelectorAll("details[id][open]")].filter((fold) => !fold.parentElement.closest("details:not([open])"));
  // A fold implies the folds around it, so only the innermost ones are named.
  const named = open.filter((fold) => !fold.contains(place) && !open.some((other) => other !== fold && fold.contains(other)));
  const parts = named.length ? [`open=${named.map((fold) => fold.id).join(",")}`] : [];
  if (maps && maps.dataset.choices) parts.push(maps.dataset.choices);
  const state = parts.length ? `${target}?${parts.join("&")}` : target;
  history.replaceState("written", "", state ? `#${state}` : location.pathname + location.search);
};
// Browsers limit how often an address may change, so the last of several changes is written.
const later = () => {
  clearTimeout(waiting);
  waiting = setTimeout(remember, 100);
};
const restore = () => {
  const [name, state = ""] = written().split("?");
  const wanted = new URLSearchParams(state);
  const named = (wanted.get("open") || "").split(",");
  wanted.delete("open");
  target = name;
  if (state) {
    for (const fold of document.querySelectorAll("details[open]")) fold.open = false;
    if (maps) {
      maps.dataset.choices = wanted;
      maps.dispatchEvent(new Event("restore"));
    }
  }
  const changed = [...named, name].map(unfold).includes(true);
  // After a reload or a step back, the browser itself returns to the old position.
  const place = document.getElementById(name);
  if (place && (changed || state) && !history.state) place.scrollIntoView();
  if (name || state) later();
};
addEventListener("hashchange", restore);
restore();
document.addEventListener("toggle", later, true);
document.addEventListener("choose", () => {
  target = maps.id;
  later();
});
for (const summary of document.querySelectorAll("details[id] > summary")) {
  summary.addEventListener("click", () => { // before the fold opens or closes
    const fold = summary.parentElement, outer = fold.parentElement.closest("details[id]");
    target = fold.open ? outer ? outer.id : "" : fold.id;
  });
}
// Mark the current section in the contents.
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
