// A user of the data: what they rated, beside what the models recommend to them.

import { ask, newest } from "./api.js";
import { byId, count, make, say, titleOf } from "./dom.js";
import { LENGTH, makeLists } from "./lists.js";
import { models, showValue } from "./models.js";
import { leastRatings } from "./you.js";

const suggesting = newest();
let lists = null;
let shown = null;
let open = null;

export function startUser(onOpen) {
  open = onOpen;
  lists = makeLists(byId("user-lists"), "Choose a user, and this model's list is here.", onOpen);
  const field = byId("user-id");
  field.addEventListener("input", suggest);
  byId("ask-user").addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `user=${encodeURIComponent(field.value.trim())}`;
  });
  byId("least").addEventListener("change", updateLists);
  suggest();
}

function updateLists() {
  if (shown !== null) lists.update(() => ({ user: shown, k: LENGTH, min_ratings: leastRatings() }));
}

const suggest = () => suggesting(async (signal, isCurrent) => {
  const q = byId("user-id").value;
  const answers = await Promise.all(models.map((_, model) => ask("users", { model, q }, signal)
    .catch(() => ({ users: [] }))));
  if (!isCurrent()) return;
  const every = new Set(answers.flatMap((answer) => answer.users));
  byId("user-ids").replaceChildren(...[...every].map((user) => make("option", { value: user })));
});

export function showUser(user) {
  if (!user || user === shown) return;
  shown = user;
  byId("user-id").value = user;
  byId("history-of").textContent = `History of user ${user}`;
  showHistory(user);
  updateLists();
}

async function showHistory(user) {
  const note = byId("history-note");
  const rows = byId("history");
  rows.setAttribute("aria-busy", "true");
  let failed = "";
  for (const [model, { feedback }] of models.entries()) {
    try {
      const { items, total } = await ask("history", { user, model });
      if (user !== shown) return;
      const noun = feedback === "implicit" ? "event" : "rating";
      rows.replaceChildren(...items.map((item) => historyRow(item, noun)));
      const part = total > items.length ? `; the ${items.length} highest` : "";
      note.textContent = `${count(total, noun)}${part}`;
      note.className = "quiet";
      rows.removeAttribute("aria-busy");
      return;
    } catch (error) {
      failed ||= error.message; // the other model may know more
    }
  }
  if (user !== shown) return;
  rows.replaceChildren();
  rows.removeAttribute("aria-busy");
  note.textContent = failed;
  note.className = "empty";
  say(failed);
}

function historyRow(item, noun) {
  const heldOut = item.part === "train" ? null : make("span", { class: "chip", title: "not trained on" }, "held out");
  return make(
    "li",
    { "data-item": item.item },
    make("button", { type: "button", class: "title", onclick: () => open(item, { user: shown }) }, titleOf(item)),
    heldOut,
    make("span", { class: "score", "aria-label": `${noun} ${showValue(item.value)}` }, showValue(item.value)),
  );
}
