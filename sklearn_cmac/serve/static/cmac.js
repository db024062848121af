// Boxes drawn on photos, and files that are dropped or chosen. Everything works without, too.
"use strict";

document.documentElement.classList.add("scripted");

const SVG = "http://www.w3.org/2000/svg";
const GRIP = 7; // half the side of what a corner is taken by, in pixels of the screen
const REACH = 18; // how near is near enough for a finger
const SMALLEST = 8; // pixels of the screen; what is smaller was a slip

function svg(name, parent, attributes = {}) {
  const made = parent.appendChild(document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class BoxEditor {
  constructor(place) {
    this.width = Number(place.dataset.width);
    this.height = Number(place.dataset.height);
    const form = place.closest("form");
    this.inputs = ["x0", "y0", "x1", "y1"].map((name) => form.elements[name]);
    this.drawing = svg("svg", place.querySelector(".shot"), {
      viewBox: `0 0 ${this.width} ${this.height}`,
      preserveAspectRatio: "none",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "box editor",
    });
    this.shade = svg("path", this.drawing, { class: "shade" });
    this.halo = svg("rect", this.drawing, { class: "halo" });
    this.frame = svg("rect", this.drawing, { class: "frame" });
    this.handles = [0, 1, 2, 3, 4, 5, 6, 7].map(() => svg("rect", this.drawing, { class: "handle" }));
    this.box = this.written();
    this.drag = null;
    this.drawing.addEventListener("pointerdown", (event) => this.take(event));
    this.drawing.addEventListener("pointermove", (event) => this.move(event));
    for (const over of ["pointerup", "pointercancel"]) {
      this.drawing.addEventListener(over, (event) => this.release(event));
    }
    this.drawing.addEventListener("keydown", (event) => this.press(event));
    for (const input of this.inputs) {
      input.addEventListener("input", () => this.show(this.written(), false));
    }
    form.querySelector("[data-no-box]").addEventListener("click", () => this.show(null));
    new ResizeObserver(() => this.show(this.box, false)).observe(this.drawing);
  }

  // Pixels of the photo for one of the screen.
  get scale() {
    return this.width / this.drawing.getBoundingClientRect().width;
  }

  written() {
    const box = this.inputs.map((input) => (input.value === "" ? NaN : Number(input.value)));
    return box.every(Number.isFinite) && box[0] < box[2] && box[1] < box[3] ? box : null;
  }

  at(event) {
    const place = this.drawing.getBoundingClientRect();
    const x = (event.clientX - place.left) * this.scale;
    const y = (event.clientY - place.top) * this.scale;
    return [Math.min(Math.max(x, 0), this.width), Math.min(Math.max(y, 0), this.height)];
  }

  // Which sides are taken at a point: -1, 0 or 1 of each direction; none is the inside.
  sides([x, y]) {
    if (!this.box) return null;
    const [x0, y0, x1, y1] = this.box;
    const reach = REACH * this.scale;
    if (x < x0 - reach || x > x1 + reach || y < y0 - reach || y > y1 + reach) return null;
    const inner = (length) => Math.min(reach, length / 4); // so that a small box can be moved
    const side = (v, low, high) => (v < low + inner(high - low) ? -1 : v > high - inner(high - low) ? 1 : 0);
    return [side(x, x0, x1), side(y, y0, y1)];
  }

  take(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.drawing.focus({ preventScroll: true });
    this.drawing.setPointerCapture(event.pointerId);
    const from = this.at(event);
    this.drag = { from, sides: this.sides(from), before: this.box };
  }

  move(event) {
    if (!this.drag) {
      this.point(this.sides(this.at(event)));
      return;
    }
    const { from, sides, before } = this.drag;
    const to = this.at(event);
    if (!sides) {
      this.show([...from, ...to]);
    } else if (sides[0] || sides[1]) {
      const box = [...before];
      for (const axis of [0, 1]) {
        if (sides[axis]) box[axis + (sides[axis] > 0 ? 2 : 0)] += to[axis] - from[axis];
      }
      this.show(box);
    } else {
      this.show(this.shifted(before, to[0] - from[0], to[1] - from[1]));
    }
  }

  release(event) {
    if (!this.drag) return;
    const least = SMALLEST * this.scale;
    const box = this.box;
    if (box && (box[2] - box[0] < least || box[3] - box[1] < least)) this.show(this.drag.before);
    this.drag = null;
    this.point(this.sides(this.at(event)));
  }

  press(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    if (event.key === "Escape" || event.key === "Delete") this.show(null);
    if (!way || event.altKey || event.metaKey) return;
    event.preventDefault();
    const step = Math.max(this.width, this.height) * (event.ctrlKey ? 0.002 : 0.02);
    if (!this.box) {
      const [w, h] = [this.width, this.height];
      this.show([w / 4, h / 4, (3 * w) / 4, (3 * h) / 4]);
    } else if (event.shiftKey) {
      const [x0, y0, x1, y1] = this.box;
      this.show([x0, y0, Math.max(x0 + step, x1 + way[0] * step), Math.max(y0 + step, y1 + way[1] * step)]);
    } else {
      this.show(this.shifted(this.box, way[0] * step, way[1] * step));
    }
  }

  // A box moved, as far as the photo goes.
  shifted([x0, y0, x1, y1], right, down) {
    right = Math.min(Math.max(right, -x0), this.width - x1);
    down = Math.min(Math.max(down, -y0), this.height - y1);
    return [x0 + right, y0 + down, x1 + right, y1 + down];
  }

  // Draw a box, and write it into the fields unless it comes from there.
  show(box, write = true) {
    if (box) {
      const [xs, ys] = [[box[0], box[2]], [box[1], box[3]]].map((v) => v.sort((a, b) => a - b));
      const within = (v, most) => Math.min(Math.max(v, 0), most);
      box = [within(xs[0], this.width), within(ys[0], this.height), within(xs[1], this.width), within(ys[1], this.height)];
    }
    this.box = box;
    if (write) this.inputs.forEach((input, i) => (input.value = box ? Math.round(box[i]) : ""));
    for (const part of [this.shade, this.halo, this.frame, ...this.handles]) {
      part.toggleAttribute("hidden", !box);
    }
    const said = box ? `from ${Math.round(box[0])}, ${Math.round(box[1])} to ${Math.round(box[2])}, ${Math.round(box[3])}` : "none; an arrow key makes one";
    this.drawing.setAttribute("aria-label", `Box around the object: ${said}. Arrows move it, Shift and arrows resize it, Escape removes it.`);
    if (!box) return;
    const [x0, y0, x1, y1] = box;
    this.shade.setAttribute("d", `M0 0H${this.width}V${this.height}H0ZM${x0} ${y0}H${x1}V${y1}H${x0}Z`);
    for (const rect of [this.halo, this.frame]) this.lay(rect, x0, y0, x1 - x0, y1 - y0);
    const grip = GRIP * this.scale;
    let i = 0;
    for (const x of [x0, (x0 + x1) / 2, x1]) {
      for (const y of [y0, (y0 + y1) / 2, y1]) {
        if (x === (x0 + x1) / 2 && y === (y0 + y1) / 2) continue;
        this.lay(this.handles[i++], x - grip, y - grip, 2 * grip, 2 * grip);
      }
    }
  }

  lay(rect, x, y, width, height) {
    for (const [key, value] of Object.entries({ x, y, width, height })) rect.setAttribute(key, value);
  }

  // What the pointer looks like tells what it would do.
  point(sides) {
    const names = { "-1,-1": "nwse", "1,1": "nwse", "1,-1": "nesw", "-1,1": "nesw", "0,1": "ns", "0,-1": "ns", "1,0": "ew", "-1,0": "ew" };
    const cursor = !sides ? "crosshair" : names[sides] ? `${names[sides]}-resize` : "move";
    this.drawing.style.cursor = this.frame.style.cursor = cursor;
  }
}

document.querySelectorAll(".editor").forEach((place) => new BoxEditor(place));

// A file is sent as soon as it is chosen, or dropped anywhere on the page.
// Of two forms on a page, the later is what the page is for.
const forms = [...document.querySelectorAll("form[data-drop]")];
for (const form of forms) {
  form.querySelector("input[type=file]").addEventListener("change", () => form.requestSubmit());
}
const dropForm = forms.at(-1);
const dropHere = document.querySelector(".drop-here");
dropHere.textContent = dropForm?.dataset.drop;
const hasFiles = (event) => dropForm && event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  dropHere.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) dropHere.hidden = true;
});
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  dropHere.hidden = true;
  const input = dropForm.querySelector("input[type=file]");
  const files = new DataTransfer();
  [...event.dataTransfer.files].slice(0, input.multiple ? 200 : 1).forEach((file) => files.items.add(file));
  input.files = files.files;
  if (input.files.length) dropForm.requestSubmit();
});

// How far it is, without the page being loaded anew, which would lose where somebody is on it.
async function followProgress(main) {
  while (main.hasAttribute("data-goes-on")) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok) continue; // it may be there again
    const now = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    const live = now.querySelectorAll("[data-live]");
    main.querySelectorAll("[data-live]").forEach((old, i) => old.replaceChildren(...live[i].childNodes));
    main.toggleAttribute("data-goes-on", now.hasAttribute("data-goes-on"));
  }
}
followProgress(document.querySelector("main"));
