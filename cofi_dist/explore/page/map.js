// An item and its neighbours as points on a plane. Arrow keys go from point to point, Enter opens one.

import { make, titleOf } from "./dom.js";

const WIDTH = 460;
const HEIGHT = 320;
const EDGE = 26;
const LINE = 15; // height of a label
const GAP = 11; // from a point to its label
const LETTER = 6.8; // width of one, about
const BOLD = 7.8; // of a bold one
const LONGEST = 26;

// `items` begins with the item itself, and goes on with the nearest first.
export function drawMap(items, label, onOpen) {
  const placed = fit(items);
  const points = placed.map((point, k) => makePoint(point, k, () => k > 0 && onOpen(point.item)));
  const map = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": label });
  const [own] = placed;
  map.append(...placed.slice(1).map(({ x, y }) => make("line", { x1: own.x, y1: own.y, x2: x, y2: y })));
  map.append(...placeLabels(placed));
  map.append(...points.toReversed()); // the item itself on top
  map.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (steps === undefined) return;
    event.preventDefault();
    const now = points.indexOf(document.activeElement);
    const next = points[(now + steps + points.length) % points.length];
    points.forEach((point) => point.setAttribute("tabindex", point === next ? "0" : "-1"));
    next.focus();
  });
  return map;
}

// Fill the picture, with equal lengths in both directions.
function fit(items) {
  const ends = (values) => [Math.min(...values), Math.max(...values)];
  const [left, right] = ends(items.map((item) => item.x));
  const [low, high] = ends(items.map((item) => item.y));
  const size = Math.min((WIDTH - 2 * EDGE) / (right - left || 1), (HEIGHT - 2 * EDGE) / (high - low || 1));
  return items.map((item) => ({
    item,
    x: WIDTH / 2 + size * (item.x - (left + right) / 2),
    y: HEIGHT / 2 - size * (item.y - (low + high) / 2),
  }));
}

function makePoint({ item, x, y }, k, open) {
  const about = k === 0 ? "" : `, cosine ${item.cosine.toFixed(2)}`;
  const point = make("g", {
    class: k === 0 ? "point own" : "point", tabindex: k === 0 ? "0" : "-1", role: "button",
    "aria-label": titleOf(item) + about, onclick: open,
    onkeydown: (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open();
      }
    },
  }, make("circle", { cx: x, cy: y, r: k === 0 ? 8 : 3 + 4 * Math.max(item.cosine, 0) }));
  const [{ text }] = makeLabels(titleOf(item), x, y, true);
  text.setAttribute("class", "hover");
  point.append(text);
  return point;
}

// A title's labels on those sides of its point where there is room, each with the box that it covers.
function makeLabels(title, x, y, isBold) {
  const short = title.length > LONGEST ? `${title.slice(0, LONGEST - 1)}…` : title;
  const width = short.length * (isBold ? BOLD : LETTER);
  const sides = [["start", GAP, 0], ["end", -GAP, 0], ["middle", 0, -GAP - LINE / 2], ["middle", 0, GAP + LINE / 2]];
  return sides.map(([anchor, right, down]) => {
    const left = x + right - { start: 0, middle: width / 2, end: width }[anchor];
    const top = y + down - LINE / 2;
    const text = make("text", { x: x + right, y: y + down + 4, "text-anchor": anchor }, short);
    return { text, box: { left, right: left + width, top, bottom: top + LINE } };
  }).filter(({ box }) => box.left >= 0 && box.right <= WIDTH && box.top >= 0 && box.bottom <= HEIGHT);
}

// Labels of the nearest items, as far as none covers another or a point; the others show theirs when pointed at.
// The item itself always has one, where it covers the fewest points.
function placeLabels(placed) {
  const boxes = placed.map(({ x, y }) => ({ left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 }));
  const labels = [];
  for (const [k, { item, x, y }] of placed.entries()) {
    const covered = ({ box }) => boxes.filter((other, at) => at !== k && overlap(box, other)).length;
    const best = makeLabels(titleOf(item), x, y, k === 0).reduce((a, b) => (covered(b) < covered(a) ? b : a));
    if (k > 0 && covered(best) > 0) continue;
    boxes.push(best.box);
    best.text.setAttribute("class", k === 0 ? "label own" : "label");
    labels.push(best.text);
  }
  return labels;
}

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
