"use strict";

/* Tables: a click on a heading sorts by it, numbers largest first; cells without a value stay last. */
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0], column = head.cellIndex;
  const isNumber = head.classList.contains("number");
  const before = head.getAttribute("aria-sort");
  const rising = before ? before === "descending" : !isNumber;
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const order = (a, b) => isNumber ? a - b : a.localeCompare(b, "en", { numeric: true });
  const compare = (a, b) => {
    const left = value(a), right = value(b);
    if (left === "" || right === "") return (left === "") - (right === "");
    return rising ? order(left, right) : order(right, left);
  };
  body.append(...[...body.rows].sort(compare));
});

/* Pictures: all SVGs of a figure show the same part of their layers. */
const DEEPEST = 12; /* screen pixels that a pixel of the picture may fill, about */
for (const figure of document.querySelectorAll("figure.viewer")) {
  const pictures = [...figure.querySelectorAll("svg.picture")], first = pictures[0];
  const whole = first.viewBox.baseVal, full = { x: 0, y: 0, width: whole.width, height: whole.height };
  const touches = new Map();
  let part = { ...full };

  const show = wanted => {
    const least = Math.min(full.width, first.clientWidth / DEEPEST);
    const width = Math.min(full.width, Math.max(least, wanted.width)), height = width * full.height / full.width;
    const x = wanted.x + (wanted.width - width) / 2, y = wanted.y + (wanted.height - height) / 2;
    part = { x: Math.max(0, Math.min(full.width - width, x)), y: Math.max(0, Math.min(full.height - height, y)), width, height };
    for (const picture of pictures) picture.setAttribute("viewBox", `${part.x} ${part.y} ${part.width} ${part.height}`);
    for (const names of figure.querySelectorAll(".names")) names.style.fontSize = `${names.getAttribute("font-size") * part.width / full.width}px`;
    figure.classList.toggle("zoomed", part.width < full.width);
  };
  const middle = () => ({ x: part.x + part.width / 2, y: part.y + part.height / 2 });
  const zoom = (factor, at = middle()) => {
    const width = Math.max(part.width / factor, Math.min(full.width, first.clientWidth / DEEPEST)), share = width / part.width;
    show({ x: at.x - (at.x - part.x) * share, y: at.y - (at.y - part.y) * share, width, height: part.height * share });
  };
  const move = (dx, dy) => show({ ...part, x: part.x + dx, y: part.y + dy });
  const place = (picture, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
  const enlarge = on => { figure.classList.toggle("enlarged", on); show(part); };

  const actions = { in: () => zoom(1.6), out: () => zoom(1 / 1.6), reset: () => show(full), enlarge: () => enlarge(!figure.classList.contains("enlarged")) };
  for (const button of figure.querySelectorAll("[data-action]")) button.addEventListener("click", actions[button.dataset.action]);
  for (const button of figure.querySelectorAll("[data-part]")) button.addEventListener("click", () => {
    const [x, y, width, height] = button.dataset.part.split(" ").map(Number), ratio = full.width / full.height;
    const wide = Math.max(width, height * ratio) * 1.5;
    show({ x: x + (width - wide) / 2, y: y + (height - wide / ratio) / 2, width: wide, height: wide / ratio });
  });
  figure.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = part.width / 8, isPicture = event.target instanceof SVGElement;
    const keys = {
      "+": actions.in, "=": actions.in, "-": actions.out, "0": actions.reset, Escape: () => enlarge(false),
      ...(isPicture && { ArrowLeft: () => move(-step, 0), ArrowRight: () => move(step, 0), ArrowUp: () => move(0, -step),
        ArrowDown: () => move(0, step), Enter: actions.enlarge }),
    };
    const name = event.key.toLowerCase(), layer = document.querySelector(`.switches [data-key="${CSS.escape(name)}"]`);
    if (layer) layer.click();
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });
  for (const picture of pictures) {
    /* A wheel over a picture that nobody has clicked scrolls the page. */
    picture.addEventListener("wheel", event => {
      if (!event.ctrlKey && !figure.matches(":focus-within, .enlarged")) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), place(picture, event));
    }, { passive: false });
    picture.addEventListener("dblclick", event => zoom(2.5, place(picture, event)));
    picture.addEventListener("pointerdown", event => {
      if (event.pointerType !== "touch" || touches.size) picture.setPointerCapture(event.pointerId);
      touches.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, event => touches.delete(event.pointerId));
    picture.addEventListener("pointermove", event => {
      const before = touches.get(event.pointerId);
      if (!before) return;
      const [from, to] = [place(picture, before), place(picture, event)];
      const other = [...touches.values()].find(touch => touch.pointerId !== event.pointerId);
      touches.set(event.pointerId, event);
      if (!other) { move(from.x - to.x, from.y - to.y); return; }
      const distance = touch => Math.hypot(touch.clientX - other.clientX, touch.clientY - other.clientY);
      zoom(distance(event) / Math.max(1, distance(before)), place(picture, other));
    });
  }
}
