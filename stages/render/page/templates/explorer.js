"use strict";
// Draws the chosen maps from data in the page. Every choice is a form field, so mouse and keyboard both work.
for (const root of document.querySelectorAll(".explorer")) (async () => {
  const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const colours = bytesOf(data.colours);
  root.hidden = false; // before the maps are unpacked, so that nothing below moves later
  const packed = new Blob([bytesOf(data.maps)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const maps = new Uint8Array(await new Response(packed).arrayBuffer());
  const pick = Object.fromEntries([...root.querySelectorAll("[data-pick]")].map((field) => [field.dataset.pick, field]));
  const view = Object.fromEntries([...root.querySelectorAll("[data-view]")].map((canvas) => [canvas.dataset.view, canvas]));
  const fill = (select, names) => {
    for (const [place, name] of names.entries()) select.add(new Option(name, place));
  };
  fill(pick.image, data.images.map((image) => image.name));
  for (const side of ["left", "right"]) fill(pick[side], data.arms.map((arm) => arm.label));
  const armOf = (side) => data.arms[Number(pick[side].value)];
  const query = { row: 0, column: 0 }; // position in the image as a fraction, so that it fits grids of any size
  const cellOf = (arm) => ({ row: Math.floor(query.row * arm.grid), column: Math.floor(query.column * arm.grid) });
  const mapOf = (arm) => {
    const image = Number(pick.image.value), count = arm.grid ** 2, cell = cellOf(arm);
    const block = Math.min(Number(pick.block.value), arm.blocks) - 1, place = cell.row * arm.grid + cell.column;
    const start = arm.start + ((image * arm.blocks + block) * count + place) * count;
    const levels = maps.subarray(start, start + count);
    return { block: block + 1, levels, largest: arm.largest[image][block][place] };
  };
  // One logarithmic scale for all maps: multiples of uniform attention.
  const shade = (multiple) => {
    const share = Math.log(Math.max(multiple, data.lowest) / data.lowest) / Math.log(data.highest / data.lowest);
    const place = 3 * Math.round(255 * Math.min(share, 1));
    return colours.subarray(place, place + 3);
  };
  const paint = (canvas, width, height, colourAt) => {
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
    for (let place = 0; place < width * height; place++) pixels.data.set([...colourAt(place), 255], 4 * place);
    context.putImageData(pixels, 0, 0);
  };
  const mark = (canvas, arm) => {
    const cell = cellOf(arm), frame = canvas.parentElement.querySelector(".query") || document.createElement("span");
    frame.className = "query";
    frame.setAttribute("aria-hidden", "true");
    const side = 100 / arm.grid;
    Object.assign(frame.style, { left: `${cell.column * side}%`, top: `${cell.row * side}%`, width: `${side}%`, height: `${side}%` });
    canvas.parentElement.append(frame);
  };
  const describe = (arm, map) => {
    const place = map.levels.indexOf(255), count = arm.grid ** 2;
    const where = `row ${1 + Math.floor(place / arm.grid)}, column ${1 + (place % arm.grid)}`;
    return `${arm.label}, block ${map.block} of ${arm.blocks}: most attention to ${where}, ${(map.largest * count).toFixed(1)} × uniform`;
  };
  const cosine = (a, b) => {
    let product = 0, first = 0, second = 0;
    for (let place = 0; place < a.length; place++) {
      product += a[place] * b[place];
      first += a[place] ** 2;
      second += b[place] ** 2;
    }
    return product / Math.sqrt(first * second);
  };
  const draw = () => {
    const image = data.images[Number(pick.image.value)], pixels = bytesOf(image.pixels), [left, right] = ["left", "right"].map(armOf);
    paint(view.image, image.width, image.height, (place) => pixels.subarray(3 * place, 3 * place + 3));
    mark(view.image, left);
    const cell = cellOf(left), results = [];
    view.image.setAttribute("aria-label", `${image.name}, query at row ${cell.row + 1}, column ${cell.column + 1}`);
    const maps = [["left", left], ["right", right]].map(([side, arm]) => {
      const map = mapOf(arm);
      paint(view[side], arm.grid, arm.grid, (place) => shade(map.levels[place] / 255 * map.largest * arm.grid ** 2));
      mark(view[side], arm);
      results.push(describe(arm, map));
      view[side].setAttribute("aria-label", `Attention map. ${results.at(-1)}`);
      return map;
    });
    pick.block.nextElementSibling.textContent = ` ${pick.block.value}`;
    if (left.grid === right.grid) results.push(`Cosine between the two maps ${cosine(maps[0].levels, maps[1].levels).toFixed(2)}`);
    root.querySelector(".result").textContent = `Query at row ${cell.row + 1}, column ${cell.column + 1}. ${results.join(". ")}.`;
  };
  // The page keeps the choices of a reader in its address, so that a link shows the same maps.
  const NAMES = ["image", "block", "left", "right", "row", "column"];
  const remember = () => {
    root.dataset.choices = NAMES.map((name) => `${name}=${pick[name].value}`).join("&");
    root.dispatchEvent(new Event("choose", { bubbles: true }));
  };
  const fields = () => {
    const arm = armOf("left"), cell = cellOf(arm);
    pick.row.max = pick.column.max = arm.grid;
    pick.row.value = cell.row + 1;
    pick.column.value = cell.column + 1;
    pick.block.max = Math.max(...["left", "right"].map((side) => armOf(side).blocks));
  };
  const move = (row, column) => {
    [query.row, query.column] = [row, column].map((share) => Math.min(Math.max(share, 0), 0.9999));
    fields();
    draw();
  };
  for (const name of ["row", "column"]) {
    pick[name].addEventListener("input", () => {
      const typed = Number(pick[name].value), grid = armOf("left").grid;
      if (typed < 1 || typed > grid || typed % 1) return; // while it is being typed
      query[name] = (typed - 0.5) / grid;
      draw();
      remember();
    });
  }
  for (const name of ["image", "block", "left", "right"]) pick[name].addEventListener("input", () => { fields(); draw(); remember(); });
  for (const canvas of [view.image, view.left, view.right]) {
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      move((event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width);
      remember();
    });
  }
  paint(view.scale, 256, 1, (place) => colours.subarray(3 * place, 3 * place + 3));
  view.scale.setAttribute("aria-label", `Colour scale from ${data.lowest} to ${data.highest} times uniform attention`);
  view.scale.nextElementSibling.textContent = data.highest;
  const restore = () => {
    const wanted = new URLSearchParams(root.dataset.choices), last = data.arms.length - 1;
    const choose = (name, usual, highest) => {
      const value = Number(wanted.get(name) || NaN);
      pick[name].value = value >= 0 && value <= highest ? value : usual;
    };
    choose("image", 0, data.images.length - 1);
    // The first two trained arms, since an untrained one comes first.
    choose("left", Math.min(1, last), last);
    choose("right", Math.min(2, last), last);
    fields();
    choose("block", pick.block.max, pick.block.max);
    const [row, column] = ["row", "column"].map((name) => (Number(wanted.get(name)) - 0.5) / armOf("left").grid);
    if (row > 0 && column > 0) move(row, column);
    else move(0.5, 0.5);
  };
  root.addEventListener("restore", restore);
  restore();
})();
