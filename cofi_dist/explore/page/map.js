// An item and its neighbours as points on a plane. Arrow keys go from point to point, Enter opens one.

import { make, titleOf } from "./dom.js";

const WIDTH = 460;
const HEIGHT = 320;
const EDGE = 26;
const LINE = 15; // height of a label
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
  const text = makeLabel(titleOf(item), x, y, true);
  text.node.setAttribute("class", "hover");
  point.append(text.node);
  return point;
}

function makeLabel(title, x, y, isBold) {
  const short = title.length > LONGEST ? `${title.slice(0, LONGEST - 1)}…` : title;
  const width = short.length * (isBold ? BOLD : LETTER);
  const isRight = x + width + 12 < WIDTH;
  const node = make("text", { x: isRight ? x + 11 : x - 11, y: y + 4, "text-anchor": isRight ? "start" : "end" }, short);
  const left = isRight ? x + 11 : x - 11 - width;
  return { node, box: { left, right: left + width, top: y - LINE / 2, bottom: y + LINE / 2 } };
}

// Labels of the nearest items, as far as none covers another or a point; the others show theirs when pointed at.
function placeLabels(placed) {
  const boxes = placed.map(({ x, y }) => ({ left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 }));
  const labels = [];
  for (const [k, { item, x, y }] of placed.entries()) {
    const { node, box } = makeLabel(titleOf(item), x, y, k === 0);
    const isInside = box.left >= 0 && box.right <= WIDTH;
    const isFree = boxes.every((other, at) => at === k || !overlap(box, other));
    if (k > 0 && !(isFree && isInside)) continue;
    boxes.push(box);
    node.setAttribute("class", k === 0 ? "label own" : "label");
    labels.push(node);
  }
  return labels;
}

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
