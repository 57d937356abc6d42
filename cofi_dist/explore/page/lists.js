// Recommendations of each model, side by side, with what has moved since the last time.

import { newest, tell } from "./api.js";
import { count, make, say, titleOf } from "./dom.js";
import { countsEvents, isClipped, isEvents, models, showScore, words } from "./models.js";

export const LENGTH = 10;

// `place` is where the lists go; `onOpen` is called with an item and with the question that found it.
export function makeLists(place, emptyText, onOpen) {
  const lists = models.map((model, number) => makeList(model, number, onOpen));
  place.replaceChildren(...lists.map((list) => list.element));
  const empty = () => lists.forEach((list) => list.empty(emptyText));
  empty();

  const run = newest();
  const wait = () => {
    run(() => {}); // an answer that is under way is that to an older question
    lists.forEach((list) => list.wait());
  };
  // `questionFor(model)` is what to ask of each model, or null to show nothing.
  const update = (questionFor) => run(async (signal, isCurrent) => {
    const asked = models.map(questionFor);
    if (asked.includes(null)) {
      empty();
      return;
    }
    lists.forEach((list) => list.wait());
    const answers = await Promise.all(asked.map((question, model) => tell("recommend", { ...question, model }, signal)
      .catch((error) => {
        if (error.name === "AbortError") throw error;
        return { error: error.message };
      })));
    if (!isCurrent()) return;
    const shared = inAll(answers);
    lists.forEach((list, k) => list.show(answers[k], asked[k], shared));
    say(`Lists updated: ${lists.map((list, k) => summary(models[k], answers[k])).join("; ")}`);
  });
  return { update, wait };
}

const summary = (model, answer) => answer.error
  ? `${model.name}: ${answer.error}`
  : `${model.name}: ${count(answer.items.length, "title")}${answer.items.length ? `, first ${titleOf(answer.items[0])}` : ""}`;

function inAll(answers) {
  if (answers.length < 2) return new Set();
  const [first, second] = answers.map((answer) => new Set((answer.items ?? []).map((item) => item.item)));
  return new Set([...first].filter((item) => second.has(item)));
}

function makeList(model, number, onOpen) {
  const rows = make("ol", { class: "rows list", "aria-label": `Recommended by ${model.name}` });
  const note = make("p", { class: "quiet note" });
  const kind = make("span", { class: "quiet" });
  const element = make(
    "section",
    { class: "panel", "data-model": number },
    make("div", { class: "panel-top" }, make("h3", {}, model.name), kind),
    rows,
    note,
  );
  let before = null;

  const sayKind = (clipped) => {
    kind.textContent = isEvents(model) ? "score, which is no rating" : `predicted rating${clipped ? ", score" : ""}`;
  };
  const say = (text) => {
    sayKind(false);
    rows.removeAttribute("aria-busy");
    rows.replaceChildren(make("li", { class: "empty" }, text));
  };
  return {
    element,
    wait: () => rows.setAttribute("aria-busy", "true"),
    empty: (text) => {
      before = null;
      note.textContent = "";
      say(text);
    },
    show: (answer, asked, shared) => {
      const clipped = isClipped(model, answer.items ?? []);
      note.textContent = noteOn(model, answer, asked, shared, clipped);
      if (answer.error || !answer.items.length) {
        before = null;
        say(answer.error ?? `No title is left. Ask for fewer ${words.noun}s of a title.`);
        return;
      }
      sayKind(clipped);
      rows.removeAttribute("aria-busy");
      rows.replaceChildren(...answer.items.map((item) => makeRow(model, item, { asked, before, shared, clipped, onOpen })));
      before = new Map(answer.items.map((item) => [item.item, item.rank]));
    },
  };
}

function noteOn(model, answer, asked, shared, clipped) {
  const said = shared.size ? ["A dot: in both lists."] : [];
  if (clipped) said.push("The score is the prediction before clipping.");
  if (asked.ratings && countsEvents(model)) said.push("Each rated title counts as one event.");
  if (answer.unknown) said.push(`${count(answer.unknown, "title")} unknown to this model, not used.`);
  return said.join(" ");
}

function makeRow(model, item, { asked, before, shared, clipped, onOpen }) {
  const both = shared.has(item.item)
    ? make("span", { class: "both", title: "in both lists" }, make("span", { class: "unseen" }, "in both lists"))
    : null;
  return make(
    "li",
    { "data-item": item.item },
    make("span", { class: "rank" }, String(item.rank)),
    movement(item, before),
    make("button", { type: "button", class: "title", title: titleOf(item), onclick: () => onOpen(item, asked) }, titleOf(item)),
    both,
    make("span", { class: "score" }, showScore(model, item)),
    clipped ? make("span", { class: "quiet unclipped" }, item.score.toFixed(2)) : null,
  );
}

// How far an item has come since the list before; nothing in a first list.
function movement(item, before) {
  const old = before?.get(item.item);
  if (before === null || old === item.rank) return make("span", { class: "move" });
  if (old === undefined) return make("span", { class: "move new" }, "new");
  const way = old > item.rank ? "up" : "down";
  const steps = Math.abs(old - item.rank);
  const arrow = make("span", { "aria-hidden": "true" }, `${way === "up" ? "▲" : "▼"}${steps}`);
  return make("span", { class: `move ${way}` }, arrow, make("span", { class: "unseen" }, `${way} ${steps}`));
}
