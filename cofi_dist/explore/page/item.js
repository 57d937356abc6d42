// One item in a dialog: why it is recommended, what is similar, and a map, by each model.

import { ask, newest, tell } from "./api.js";
import { byId, count, make, say, titleOf } from "./dom.js";
import { drawMap } from "./map.js";
import { countsEvents, isEvents, models, showValue, words } from "./models.js";
import { ratingControl } from "./rating.js";
import { askAsYou, leastRatings, rate, ratingOf } from "./you.js";

const REASONS = 6;
const SIMILAR = 8;
const NEIGHBOURS = 25;

const dialog = byId("item");
const past = [];
const run = newest();
let user = null; // of the data, whose list the item was in; null for the person at the page

export function startItem() {
  byId("item-close").addEventListener("click", () => dialog.close());
  byId("item-back").addEventListener("click", () => {
    past.pop();
    show(past.at(-1));
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  dialog.addEventListener("close", () => {
    // the row that opened it may be gone: the lists have followed a rating
    if (document.activeElement === document.body) document.querySelector(".view:not([hidden]) button.title")?.focus();
  });
}

export function openItem(item, asked) {
  user = asked.user ?? null;
  past.splice(0, past.length, item);
  dialog.showModal();
  show(item);
}

function follow(item) {
  past.push(item);
  show(item);
}

function show(item) {
  byId("item-title").textContent = titleOf(item);
  byId("item-about").textContent = `id ${item.item}`;
  byId("item-back").hidden = past.length < 2;
  const panels = models.map((model) => makePanel(model));
  byId("item-models").replaceChildren(...panels.map((panel) => panel.element));
  const fill = () => run((signal) => Promise.all(panels.map((panel, model) => panel.fill(item, model, signal))));
  const control = ratingControl(titleOf(item), ratingOf(item.item), (value) => {
    rate(item, value);
    fill(); // a rating of one's own is a reason, too
  });
  byId("item-rating").replaceChildren(user === null ? control : "");
  dialog.scrollTop = 0;
  byId("item-close").focus();
  fill();
}

function makePanel(model) {
  const part = (name, heading) => {
    const body = make("div", { class: `part ${name}`, "aria-busy": "true" });
    return [body, make("section", { class: "detail" }, make("h4", {}, heading), body)];
  };
  const [why, whyPart] = part("why", user === null ? "Why for you" : `Why for user ${user}`);
  const [similar, similarPart] = part("similar", "Similar titles");
  const [map, mapPart] = part("map", "Neighbourhood");
  const known = make("span", { class: "quiet" });
  const element = make("section", { class: "panel" },
    make("div", { class: "panel-top" }, make("h3", {}, model.name), known), whyPart, similarPart, mapPart);

  const fill = (item, number, signal) => Promise.all([
    put(why, () => explain(model, number, item, signal)),
    put(similar, () => findSimilar(number, item, signal)),
    put(map, () => findNeighbours(model, number, item, signal, known)),
  ]);
  return { element, fill };
}

async function put(place, find) {
  try {
    place.replaceChildren(...(await find()));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    place.replaceChildren(make("p", { class: "empty" }, error.message));
  }
  place.removeAttribute("aria-busy");
}

async function explain(model, number, item, signal) {
  const asked = user === null ? askAsYou(model) : { user };
  if (asked === null) return [make("p", { class: "empty" }, `${words.choose} to see what it contributes here.`)];
  const why = await tell("explain", { ...asked, item: item.item, model: number, k: REASONS }, signal);
  const noun = isEvents(model) ? "event" : "rating";
  const digits = isEvents(model) ? 3 : 2;
  const largest = Math.max(...why.ratings.map((each) => Math.abs(each.contribution)), 1e-12);
  const rows = why.ratings.map((each) => {
    const given = showGiven(model, each.value);
    return reasonRow(titleOf(each), each.contribution, digits, given, Math.abs(each.contribution) / largest);
  });
  if (why.more) rows.push(reasonRow(count(why.more, `more ${noun}`), why.rest, digits));
  if (why.unrated) rows.push(reasonRow(`all titles without ${noun}s`, why.unrated, digits));
  if (why.offset) rows.push(reasonRow("what the title scores for everybody", why.offset, digits));
  const trained = user !== null && Math.abs(why.score - why.trained_score) >= 0.5 * 10 ** -digits
    ? `; ${why.trained_score.toFixed(digits)} as trained` : "";
  say(`${titleOf(item)}: score ${why.score.toFixed(digits)} by ${model.name}`);
  return [
    make("ul", { class: "rows reasons", "aria-label": `Contributions, ${model.name}` }, ...rows),
    make("p", { class: "sum" }, make("span", {}, "Score"), make("span", {}, why.score.toFixed(digits) + trained)),
  ];
}

// What a rating or event was; nothing if all count the same.
function showGiven(model, value) {
  if (!isEvents(model)) return `rated ${showValue(value)}`;
  return model.strengths && (user !== null || !countsEvents(model)) ? `strength ${showValue(value)}` : "";
}

// `size` of the bar: the part of the largest contribution of a single rating; null for sums.
function reasonRow(text, amount, digits, given = "", size = null) {
  const bar = size === null ? null : make("span", { class: `bar ${amount < 0 ? "less" : "more"}` });
  bar?.style.setProperty("--size", size);
  const signed = `${amount < 0 ? "−" : "+"}${Math.abs(amount).toFixed(digits)}`;
  return make("li", {}, make("span", { class: "name" }, text), make("span", { class: "reason" },
    make("span", { class: "quiet" }, given), bar, make("span", { class: "score" }, signed)));
}

async function findSimilar(number, item, signal) {
  const query = { item: item.item, model: number, k: SIMILAR, min_ratings: Math.max(leastRatings(), 1) };
  const { items } = await ask("similar", query, signal);
  if (!items.length) return [make("p", { class: "empty" }, `No other title has so many ${words.noun}s.`)];
  return [make("ol", { class: "rows list" }, ...items.map((other) => make(
    "li",
    { "data-item": other.item },
    make("span", { class: "rank" }, String(other.rank)),
    make("button", { type: "button", class: "title", title: titleOf(other), onclick: () => follow(other) }, titleOf(other)),
    make("span", { class: "score", title: "cosine" }, other.cosine.toFixed(2)),
  )))];
}

async function findNeighbours(model, number, item, signal, known) {
  const query = { item: item.item, model: number, k: NEIGHBOURS, min_ratings: Math.max(leastRatings(), 1) };
  const { items, share } = await ask("map", query, signal);
  known.textContent = count(items[0].ratings, `training ${isEvents(model) ? "event" : "rating"}`);
  const kept = `The plane keeps ${Math.round(100 * share)} % of the differences between these titles.`;
  return [drawMap(items, `Neighbourhood of ${titleOf(item)}, ${model.name}`, follow), make("p", { class: "quiet" }, kept)];
}
