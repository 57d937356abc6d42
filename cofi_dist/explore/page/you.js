// The ratings of the person at the page, and the lists that follow them.

import { ask } from "./api.js";
import { byId, make, say, titleOf } from "./dom.js";
import { LENGTH, makeLists } from "./lists.js";
import { models, ratingsFor, scale, showValue, words } from "./models.js";
import { ratingControl } from "./rating.js";
import { startSearch } from "./search.js";

const WAIT = 60; // milliseconds: a slider that is held down moves through many values
const STORE = "cofi-dist explore";
const ENOUGH = 3; // titles are rated: no more are suggested

const rated = new Map(); // item -> {item, title, value}; the newest last; value null if not rated yet
let popular = []; // items that are suggested
let lists = null;
let open = null;
let timer = 0;

export function startYou(onOpen) {
  open = onOpen;
  lists = makeLists(byId("your-lists"), `${words.choose}, and this model's list is here.`, onOpen);
  startSearch(add, (item) => rated.has(item));
  byId("clear").addEventListener("click", () => {
    rated.clear();
    say("All removed");
    show();
    byId("search").focus();
  });
  byId("least").addEventListener("change", update);
  for (const name of ["find", "yours", "noun"]) byId(name).textContent = words[name];
  restore();
  show();
  showPopular();
}

export const ratingOf = (item) => rated.get(item)?.value ?? null;

export const leastRatings = () => {
  const field = byId("least");
  return field.validity.valid && field.value !== "" ? Number(field.value) : 0;
};

const withValue = () => [...rated.values()].filter(({ value }) => value !== null);

// What to ask a model about this person; null without a rating.
export function askAsYou(model) {
  const known = withValue();
  return known.length ? { ratings: ratingsFor(model, known) } : null;
}

export function rate({ item, title }, value) {
  rated.set(item, { item, title, value });
  show();
}

function add(item) {
  if (!rated.has(item.item)) rate(item, scale.first);
  const row = byId("ratings").querySelector(`[data-item="${CSS.escape(item.item)}"]`);
  row.querySelector("input").focus();
  say(scale.first ? `${titleOf(item)}: chosen` : `${titleOf(item)}: now rate it`);
}

function remove(item) {
  rated.delete(item);
  show();
  (byId("ratings").querySelector("button.remove") ?? byId("search")).focus();
}

function show() {
  const rows = [...rated.values()].reverse().map((each) => {
    const title = titleOf(each);
    return make(
      "li",
      { "data-item": each.item },
      make("button", { type: "button", class: "title", onclick: () => open(each, {}) }, title),
      ratingControl(title, each.value, (value) => {
        each.value = value;
        say(`${title}: ${showValue(value)}`);
        follow();
      }),
      make("button", {
        type: "button", class: "plain remove", "aria-label": `Remove ${title}`, onclick: () => remove(each.item),
      }, "×"),
    );
  });
  byId("ratings").replaceChildren(...rows);
  byId("clear").hidden = rated.size === 0;
  follow();
}

// Whatever follows the ratings.
function follow() {
  save();
  suggest();
  update();
}

function suggest() {
  const left = popular.filter(({ item }) => !rated.has(item));
  byId("start").hidden = !left.length || withValue().length >= ENOUGH;
  byId("popular").replaceChildren(...left.map((item) => make(
    "button", { type: "button", class: "chip", onclick: () => add(item) }, titleOf(item),
  )));
}

function update() {
  lists.wait(); // at once, so that nobody takes the old lists for the new ones
  clearTimeout(timer);
  timer = setTimeout(() => lists.update((model) => {
    const asked = askAsYou(model);
    return asked && { ...asked, k: LENGTH, min_ratings: leastRatings() };
  }), WAIT);
}

async function showPopular() {
  popular = (await ask("search", { limit: 8 })).items;
  suggest();
}

// Ratings stay in the tab while the page is loaded again, for the same models only.
const key = () => `${STORE}: ${models.map((model) => model.name).join(", ")}`;

function save() {
  sessionStorage.setItem(key(), JSON.stringify([...rated.values()]));
}

function restore() {
  try {
    for (const { item, title, value } of JSON.parse(sessionStorage.getItem(key()) ?? "[]")) {
      rated.set(item, { item, title, value });
    }
  } catch {
    sessionStorage.removeItem(key());
  }
}
