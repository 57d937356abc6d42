// A control to rate one title: stars or hearts over a native slider, or a field for a number.

import { make } from "./dom.js";
import { scale, showValue } from "./models.js";

// `onRate` is called with a value; null is "not rated yet".
export function ratingControl(title, value, onRate) {
  return scale.kind === "number" ? numberField(title, value, onRate) : symbols(title, value, onRate);
}

function symbols(title, value, onRate) {
  const { kind, highest, step, lowest } = scale;
  const noun = kind === "hearts" ? "Strength of" : "Your rating of";
  const slider = make("input", {
    type: "range", min: 0, max: highest, step, "aria-label": `${noun} ${title}`, value: value ?? 0,
  });
  const row = make("span", { class: `symbols ${kind}` }, slider);
  const shown = make("span", { class: "value" });
  row.style.setProperty("--symbols", Math.ceil(highest));

  const show = () => {
    const now = Number(slider.value);
    row.style.setProperty("--share", now / Math.ceil(highest));
    shown.textContent = now ? showValue(now) : "–";
    slider.setAttribute("aria-valuetext", now ? `${showValue(now)} of ${highest}` : "not rated yet");
  };
  const set = (wanted) => {
    slider.value = Math.min(Math.max(wanted, lowest), highest);
    show();
    onRate(Number(slider.value));
  };
  // the keyboard moves the slider; a pointer says the value by where it is
  slider.addEventListener("input", () => set(Number(slider.value)));
  row.addEventListener("click", (event) => {
    const box = row.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    set(Math.ceil((share * Math.ceil(highest)) / step) * step);
    slider.focus();
  });
  show();
  return make("span", { class: "rating" }, row, shown);
}

function numberField(title, value, onRate) {
  const { lowest, highest } = scale;
  const field = make("input", {
    type: "number", min: lowest, max: highest, step: "any", value: value ?? "", "aria-label": `Your rating of ${title}`,
  });
  field.addEventListener("change", () => {
    if (field.value !== "" && field.reportValidity()) onRate(Number(field.value));
  });
  return make("span", { class: "rating" }, field);
}
