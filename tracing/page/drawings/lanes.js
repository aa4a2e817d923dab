"use strict";
// Zooms, pans and tells of the bars of every drawing in a `.zoom`: each bar says when it begins and how long it is, in µs.
const tip = document.body.appendChild(document.createElement("div"));
tip.id = "tip";
tip.hidden = true;
const make = (parent, name, attributes, text = "") => {
  const element = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};
const told = (us, step) => step >= 1e5 ? `${+(us / 1e6).toFixed(3)} s` : step >= 100 ? `${+(us / 1e3).toFixed(3)} ms`
  : `${+us.toFixed(4)} µs`;

class Drawing {
  constructor(box) {
    this.svg = box.querySelector("svg");
    [this.from, this.to] = this.svg.dataset.window.split(" ").map(Number);
    [this.start, this.end] = [this.from, this.to];
    this.left = +this.svg.dataset.left;
    [, , this.width, this.height] = this.svg.getAttribute("viewBox").split(" ").map(Number);
    this.axis = this.svg.querySelector(".axis");
    this.bars = [...this.svg.querySelectorAll("[data-at]")].map((group) => {
      const [begin, length, ...words] = group.dataset.at.split(" "), title = group.querySelector("title");
      group.dataset.tip = title.textContent;
      title.remove();
      return { group, rect: group.querySelector("rect"), text: group.querySelector("text"), begin: +begin,
        end: +begin + +length, words: words.join(" ") };
    });
    this.listen(box);
  }

  // The window as asked, but not beyond the drawing, and no narrower than ten nanoseconds.
  show(start, end) {
    const length = Math.min(Math.max(end - start, 0.01), this.to - this.from);
    this.start = Math.min(Math.max(start, this.from), this.to - length);
    this.end = this.start + length;
    this.waiting ??= requestAnimationFrame(() => { this.waiting = null; this.draw(); });
  }

  draw() {
    const scale = (this.width - this.left) / (this.end - this.start);
    const x = (time) => this.left + (Math.min(Math.max(time, this.start), this.end) - this.start) * scale;
    for (const bar of this.bars) {
      const hidden = bar.end < this.start || bar.begin > this.end;
      bar.group.style.display = hidden ? "none" : "";
      if (hidden) continue;
      const left = x(bar.begin), width = Math.max(x(bar.end) - left, 1), fits = width > 6.5 * bar.words.length;
      bar.rect.setAttribute("x", left);
      bar.rect.setAttribute("width", width);
      if (fits) bar.text ??= make(bar.group, "text", { y: +bar.rect.getAttribute("y") + 10 }, bar.words);
      bar.text?.setAttribute("x", left + 2);
      if (bar.text) bar.text.style.display = fits ? "" : "none";
    }
    this.ticks(x);
  }

  ticks(x) {
    const about = (this.end - this.start) / 8, power = 10 ** Math.floor(Math.log10(about));
    const step = power * [1, 2, 5, 10].find((each) => each * power >= about * 0.999);
    this.axis.replaceChildren();
    for (let number = Math.ceil(this.start / step); number * step <= this.end; number++) {
      const at = x(number * step);
      make(this.axis, "line", { x1: at, x2: at, y1: 14, y2: this.height });
      make(this.axis, "text", { x: at, y: 10, "text-anchor": "middle" }, told(number * step, step));
    }
  }

  zoom(factor, around = (this.start + this.end) / 2) {
    this.show(around - (around - this.start) * factor, around + (this.end - around) * factor);
  }

  pan(part) {
    const by = (this.end - this.start) * part;
    this.show(this.start + by, this.end + by);
  }

  // The time below a pointer, in µs.
  time(event) {
    const box = this.svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * this.width;
    return this.start + Math.max(at - this.left, 0) / (this.width - this.left) * (this.end - this.start);
  }

  listen(box) {
    const does = { "−": () => this.zoom(2), "+": () => this.zoom(0.5), "←": () => this.pan(-0.25),
      "→": () => this.pan(0.25), "all": () => this.show(this.from, this.to) };
    const keys = { "-": "−", "+": "+", "=": "+", "ArrowLeft": "←", "ArrowRight": "→", "0": "all" };
    const menu = document.createElement("nav");
    for (const [name, action] of Object.entries(does)) {
      const button = menu.appendChild(document.createElement("button"));
      [button.type, button.textContent, button.onclick] = ["button", name, action];
    }
    box.prepend(menu);
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || !(event.key in keys)) return;
      event.preventDefault();
      does[keys[event.key]]();
    });
    this.svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;  // else the page scrolls
      event.preventDefault();
      this.zoom(2 ** (event.deltaY / 200), this.time(event));
    }, { passive: false });
    this.svg.addEventListener("dblclick", (event) => {
      const bar = this.bars.find((each) => each.group === event.target.closest("[data-at]"));
      if (bar) this.show(bar.begin - (bar.end - bar.begin) / 10, bar.end + (bar.end - bar.begin) / 10);
      else this.zoom(0.5, this.time(event));
    });
    this.drag();
  }

  drag() {
    let held = null;
    this.svg.addEventListener("pointerdown", (event) => { held = this.time(event); });
    addEventListener("pointerup", () => { held = null; });
    addEventListener("pointercancel", () => { held = null; });
    this.svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    this.svg.addEventListener("pointermove", (event) => {
      const bar = event.target.closest("[data-at]");
      tip.hidden = !bar || held !== null;
      if (held !== null) this.show(this.start + held - this.time(event), this.end + held - this.time(event));
      if (tip.hidden) return;
      tip.textContent = bar.dataset.tip;
      tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.clientY + 16}px`;
    });
  }
}
document.querySelectorAll(".zoom").forEach((box) => new Drawing(box));
