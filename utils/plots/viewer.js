// Scroll through the slices of a patient, in the browser alone: no kernel is asked, and nothing is
// loaded. JupyterLab calls `render` (anywidget), the report of a run calls `view`. What `data` holds
// is written where it is made, in viewer.py.

const LINE = 3; // canvas pixels for one pixel of a slice, so that an outline is a fine line

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

async function picture(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

// The grey levels of a sheet, as one array for each slice.
async function planes(source, shown) {
  const image = await picture(source);
  const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return Array.from({ length: shown.count }, (_, place) => {
    const { data } = context.getImageData(...corner(place, shown), shown.width, shown.height);
    return Uint8Array.from({ length: data.length / 4 }, (_, pixel) => data[4 * pixel]);
  });
}

// Slices lie side by side on a sheet, `columns` in a row.
function corner(place, { columns, width, height }) {
  return [(place % columns) * width, Math.floor(place / columns) * height];
}

// Closed lines around all pixels that are inside, as lists of corners of pixels.
function outlines(inside, width, height) {
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && inside[y * width + x];
  const next = new Map(); // the ends of the borders that begin in a corner, the inside to the right
  const border = (x, y, toX, toY) => {
    const key = y * (width + 1) + x;
    next.set(key, [...(next.get(key) ?? []), [toX, toY]]);
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!at(x, y)) continue;
      if (!at(x, y - 1)) border(x, y, x + 1, y);
      if (!at(x + 1, y)) border(x + 1, y, x + 1, y + 1);
      if (!at(x, y + 1)) border(x + 1, y + 1, x, y + 1);
      if (!at(x - 1, y)) border(x, y + 1, x, y);
    }
  }
  const lines = [];
  while (next.size) {
    const line = [];
    for (let [key] = next.keys(); next.has(key); ) {
      const ends = next.get(key);
      const [x, y] = ends.pop();
      if (!ends.length) next.delete(key);
      line.push([x, y]);
      key = y * (width + 1) + x;
    }
    lines.push(line);
  }
  return lines;
}

// For each level 0 to 255, how many of the pixels have at least that level.
function atLeast(levels, counted = () => true) {
  const counts = new Uint32Array(257);
  levels.forEach((level, pixel) => counted(pixel) && counts[level]++);
  for (let level = 255; level >= 0; level--) counts[level] += counts[level + 1];
  return counts;
}

async function load(shown) {
  const [sheets, truths, maps] = await Promise.all([
    Promise.all(shown.images.map(picture)),
    shown.truth && planes(shown.truth, shown),
    shown.probability && planes(shown.probability, shown),
  ]);
  return {
    ...shown,
    sheets,
    truths,
    maps,
    area: truths?.map((truth) => truth.reduce((sum, value) => sum + (value > 0), 0)),
    drawn: maps?.map((map) => atLeast(map)),
    overlap: truths && maps?.map((map, place) => atLeast(map, (pixel) => truths[place][pixel])),
  };
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);
const fixed = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : "–");
const pixels = (count) => `${count.toLocaleString("en-GB")} px`;

export function view(root, data) {
  const { axis, cases, colours, sequences, pixel_mm, slice_mm, levels } = data;
  const Axis = axis[0].toUpperCase() + axis.slice(1);
  const name = `slices-${Math.random().toString(36).slice(2)}`;
  const loaded = new Map();
  let shown, cancelled = false, turned = 0;

  const range = (properties) => element("input", { type: "range", ...properties });
  const labelled = (words, control, ...more) =>
    element("label", {}, element("span", {}, words), control, ...more);
  const tick = (words, colour, dashes) => {
    const box = element("input", { type: "checkbox", checked: true });
    const line = element("span", { className: "line", "aria-hidden": "true" });
    line.style.borderTop = `3px ${dashes} ${colour}`;
    return [box, element("label", { className: "tick" }, box, line, words)];
  };
  const number = (words, min, max, step, value) => {
    const control = range({ min, max, step, value });
    const told = element("output");
    return { control, told, row: labelled(words, control, told) };
  };

  const patient = element("select", {}, ...cases.map((each) => element("option", {}, each.label)));
  const slice = number(Axis, 1, 1, 1, 1);
  const radios = sequences.map((words, place) =>
    element("input", { type: "radio", name, value: place, checked: words === data.sequence }));
  const [truth, truthRow] = tick("true outline", colours.truth, "solid");
  const [prediction, predictionRow] = tick("predicted outline", colours.prediction, "dashed");
  const threshold = number("Threshold", 0.05, 0.95, 0.01, data.threshold);
  const weights = data.weights && {
    fn: number("α, missed", 0, 1, 0.05, data.weights.fn),
    fp: number("β, in excess", 0, 1, 0.05, data.weights.fp),
    power: number("Exponent p", 0.5, 2, 1 / 12, data.weights.exponent),
  };
  const canvas = element("canvas", { role: "img" });
  const table = element("table");
  const kinds = { truth: cases.some((each) => each.truth), map: cases.some((each) => each.probability) };
  const controls = element("div", { className: "controls" });
  if (cases.length > 1) controls.append(labelled(data.choice, patient));
  controls.append(slice.row);
  if (sequences.length > 1) {
    const choices = radios.map((radio, place) =>
      element("label", { className: "tick" }, radio, sequences[place]));
    controls.append(element("fieldset", {}, element("legend", {}, "Sequence"), ...choices));
  }
  if (kinds.truth) controls.append(truthRow);
  if (kinds.map) controls.append(predictionRow, threshold.row);
  if (weights) controls.append(...Object.values(weights).map((each) => each.row));
  controls.append(table);
  root.classList.add("slice-viewer");
  for (const control of controls.querySelectorAll("input, select")) {
    // JupyterLab would take the arrow keys for its own: to the next cell.
    control.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", `Viewer: ${data.source}`);
  root.replaceChildren(canvas, controls, element("p", { className: "source" }, data.source));

  function stroke(inside, colour, dashes) {
    const context = canvas.getContext("2d");
    context.strokeStyle = colour;
    context.lineWidth = 0.8 * LINE;
    context.setLineDash(dashes.map((length) => length * LINE));
    for (const line of outlines(inside, shown.width, shown.height)) {
      context.beginPath();
      line.forEach(([x, y], place) => { // through the middles of the borders: less of a staircase
        const [beforeX, beforeY] = line.at(place - 1);
        context.lineTo((LINE * (x + beforeX)) / 2, (LINE * (y + beforeY)) / 2);
      });
      context.closePath();
      context.stroke();
    }
  }

  function told(count, whole) {
    if (pixel_mm === null) return pixels(count);
    const area = count * pixel_mm ** 2; // mm²
    if (!whole) return `${pixels(count)}, ${fixed(area / 100, 1)} cm²`;
    return slice_mm === null ? pixels(count) : `${pixels(count)}, ${fixed((area * slice_mm) / 1000, 1)} ml`;
  }

  function rows(place, level) {
    const { area, drawn, overlap } = shown;
    const whole = axis === "slice";
    const cut = drawn?.map((counts) => counts[level]);
    const both = overlap?.map((counts) => counts[level]);
    const made = [];
    if (area) made.push(["True", told(area[place]), whole && told(total(area), true)]);
    if (drawn) made.push(["Predicted", told(cut[place]), whole && told(total(cut), true)]);
    if (area && drawn) {
      const dice = (a, b, c) => fixed((2 * c) / (a + b));
      made.push(["Dice", dice(area[place], cut[place], both[place]),
        whole && dice(total(area), total(cut), total(both))]);
    }
    if (weights) {
      const [found, missed, extra] = shown.sums[place];
      const of = (each) => Number(each.control.value);
      const below = found + of(weights.fn) * missed + of(weights.fp) * extra + 1;
      const index = (found + 1) / below;
      made.push(["TP, FN, FP", [found, missed, extra].map((sum) => fixed(sum, 0)).join(", ")],
        ["Tversky index", fixed(index)], ["Loss", fixed((1 - index) ** of(weights.power), 3)]);
    }
    return made;
  }

  function draw() {
    const place = Number(slice.control.value) - 1;
    const level = Math.round(Number(threshold.control.value) * levels);
    const sequence = Number(radios.find((radio) => radio.checked).value);
    const { width, height } = shown;
    Object.assign(canvas, { width: LINE * width, height: LINE * height });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(shown.sheets[sequence], ...corner(place, shown), width, height,
      0, 0, canvas.width, canvas.height);
    if (shown.truths && truth.checked) stroke(shown.truths[place], colours.truth, []);
    if (shown.maps && prediction.checked) {
      stroke(shown.maps[place].map((value) => value >= level), colours.prediction, [3, 2]);
    }
    const where = `${place + 1} of ${shown.count}`;
    slice.told.value = where;
    slice.control.setAttribute("aria-valuetext", `${Axis} ${where}`);
    for (const each of [threshold, ...Object.values(weights ?? {})]) {
      each.told.value = fixed(Number(each.control.value));
    }
    const found = rows(place, level);
    const heads = ["", `this ${axis}`, ...(found.some((row) => row[2]) ? ["whole patient"] : [])];
    const head = heads.map((words) => element("th", { scope: "col" }, words));
    const cell = (words) => element("td", {}, words || "");
    table.replaceChildren(element("tr", {}, ...head), ...found.map((row) =>
      element("tr", {}, element("th", { scope: "row" }, row[0]),
        ...heads.slice(1).map((_, column) => cell(row[column + 1])))));
    const words = found.map(([title, first]) => `${title}: ${first}`).join("; ");
    canvas.setAttribute("aria-label",
      `${shown.label}, ${axis} ${where}, ${sequences[sequence]}. ${words}`);
  }

  async function choose() {
    const chosen = patient.selectedIndex;
    if (!loaded.has(chosen)) loaded.set(chosen, load(cases[chosen]));
    const ready = await loaded.get(chosen);
    if (cancelled || chosen !== patient.selectedIndex) return;
    shown = ready;
    Object.assign(slice.control, { max: shown.count, value: shown.start + 1 });
    draw();
  }

  function step(by) {
    const before = slice.control.value;
    slice.control.value = Number(before) + by;
    if (slice.control.value === before) return false;
    draw();
    return true;
  }

  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || !event.deltaY) return; // who enlarges the page, or scrolls it sideways
    turned += event.deltaY;
    if (Math.abs(turned) < 30) return event.preventDefault(); // a touchpad sends many small turns
    if (step(Math.sign(turned))) event.preventDefault(); // at the ends the page scrolls on
    turned = 0;
  }, { passive: false });
  canvas.addEventListener("click", () => slice.control.focus()); // for its arrow keys
  controls.addEventListener("input", (event) => event.target !== patient && draw());
  patient.addEventListener("change", choose);
  choose();
  return () => { cancelled = true; };
}

export default { render: ({ model, el }) => view(el, model.get("data")) };
