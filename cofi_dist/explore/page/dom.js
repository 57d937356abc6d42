// Make elements. Text always becomes a text node, so a title can never be taken for HTML.

export function make(tag, attributes = {}, ...children) {
  const element = tag === "svg" || SVG.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = new Set(["g", "circle", "line", "text"]);

export const byId = (id) => document.getElementById(id);

// Tell people who do not see the page what has changed.
export function say(text) {
  byId("status").textContent = text;
}

export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

export const titleOf = (item) => item.title ?? `item ${item.item}`;
