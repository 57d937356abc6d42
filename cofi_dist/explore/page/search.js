// A search field with a list of titles, by the keys of a combobox: arrows move, Enter chooses, Escape closes.

import { ask, newest } from "./api.js";
import { byId, count, make, say, titleOf } from "./dom.js";
import { words } from "./models.js";

const MOST = 8;
const WAIT = 80; // milliseconds without a key before the server is asked

export function startSearch(onChoose, isRated) {
  const field = byId("search");
  const list = byId("found");
  const run = newest();
  let found = [];
  let active = -1;
  let timer = 0;
  let isWaiting = false; // for the answer to what was typed last
  let then = null; // what a key pressed meanwhile is to do with it

  const close = () => {
    clearTimeout(timer);
    isWaiting = false;
    then = null;
    run(() => {}); // an answer that is under way would open the list again
    list.hidden = true;
    active = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };

  const mark = (place) => {
    active = place;
    [...list.children].forEach((option, k) => {
      option.setAttribute("aria-selected", String(k === place));
      if (k === place) option.scrollIntoView({ block: "nearest" });
    });
    if (place >= 0) field.setAttribute("aria-activedescendant", `found-${place}`);
  };

  const choose = (place) => {
    const item = found[place];
    field.value = "";
    close();
    onChoose(item);
  };

  const show = (answer) => {
    found = answer.items;
    active = -1;
    const options = found.map((item, k) => make(
      "li",
      {
        id: `found-${k}`, role: "option", "aria-selected": "false",
        onmousedown: (event) => event.preventDefault(), // the field keeps the focus
        onclick: () => choose(k),
      },
      make("span", { class: "name" }, titleOf(item)),
      make("span", { class: "quiet" }, isRated(item.item) ? "chosen" : count(item.ratings, words.noun)),
    ));
    const none = make("li", { class: "none" }, `No title has “${field.value.trim()}”. Try fewer letters, or an id.`);
    list.replaceChildren(...(options.length ? options : [none]));
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    field.removeAttribute("aria-activedescendant");
    isWaiting = false;
    if (then && found.length) then(0);
    then = null;
    say(options.length ? `${count(answer.total, "title")} found` : "No title found");
  };

  const look = () => run(async (signal) => {
    isWaiting = true;
    try {
      show(await ask("search", { q: field.value, limit: MOST }, signal));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      isWaiting = false;
      list.replaceChildren(make("li", { class: "none" }, error.message));
      list.hidden = false;
    }
  });

  field.addEventListener("input", () => {
    clearTimeout(timer);
    run(() => {}); // an answer that is under way is not to what is typed now
    isWaiting = true;
    timer = setTimeout(look, WAIT);
  });
  field.addEventListener("focus", look);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    const last = found.length - 1;
    if (event.key === "ArrowDown" && isWaiting) then = mark;
    else if (event.key === "Enter" && isWaiting && then) then = choose;
    else if (event.key === "ArrowDown" && list.hidden) look();
    else if (event.key === "ArrowDown") mark(active < last ? active + 1 : 0);
    else if (event.key === "ArrowUp" && !list.hidden) mark(active > 0 ? active - 1 : last);
    else if (event.key === "Enter" && active >= 0) choose(active);
    else if (event.key === "Escape" && !list.hidden) close();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input:not([type=range])");
    if (event.key === "/" && !isTyping && !byId("item").open && !byId("you").hidden) {
      event.preventDefault();
      field.focus();
    }
  });
}
