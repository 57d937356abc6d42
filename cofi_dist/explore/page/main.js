// Start the page: load what the models are, then show the view that the address names.

import { ask } from "./api.js";
import { byId, count, make } from "./dom.js";
import { openItem, startItem } from "./item.js";
import { isEvents, models, setModels } from "./models.js";
import { showUser, startUser } from "./user.js";
import { startYou } from "./you.js";

function showView() {
  const [view, user] = location.hash.slice(1).split("=");
  const isUser = view === "user";
  byId("you").hidden = isUser;
  byId("user").hidden = !isUser;
  byId("to-you").setAttribute("aria-current", isUser ? "false" : "page");
  byId("to-user").setAttribute("aria-current", isUser ? "page" : "false");
  if (isUser) showUser(decodeURIComponent(user ?? ""));
}

const describe = (model) =>
  `${model.name}: ${count(model.users, "user")} × ${count(model.items, "item")}, ${count(model.features, "feature")},`
  + ` from ${isEvents(model) ? "events" : "ratings"}${model.diverged ? ", diverged" : ""}`;

try {
  setModels((await ask("models")).models);
  byId("about").replaceChildren(...models.map((model) => make("span", { class: "about" }, describe(model))));
  document.title = `${models.map((model) => model.name).join(" and ")} - cofi-dist explore`;
  startItem();
  startYou(openItem);
  startUser(openItem);
  addEventListener("hashchange", showView);
  showView();
  document.body.dataset.ready = "true";
} catch (error) {
  byId("about").textContent = error.message;
}
