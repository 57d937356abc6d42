// What the models are, and in which values people rate for them.

export const models = [];
export const scale = {};
export const words = {};

export function setModels(described) {
  models.push(...described);
  Object.assign(scale, scaleOf(described));
  Object.assign(words, scale.kind === "hearts" ? OF_EVENTS : OF_RATINGS);
}

const OF_RATINGS = { noun: "rating", find: "Find titles to rate", yours: "Your ratings", choose: "Rate a title" };
const OF_EVENTS = { noun: "event", find: "Find titles you like", yours: "You like", choose: "Choose a title you like" };

// Ratings go by stars if the scale of the models allows it, else by numbers. Without a model of ratings, the
// value is the strength of an event.
function scaleOf(described) {
  const explicit = described.filter((model) => model.feedback === "explicit");
  if (!explicit.length) {
    const highest = described.some((model) => model.strengths) ? 5 : 1; // else an event is an event
    return { kind: "hearts", lowest: 1, highest, step: 1, first: 1 };
  }
  const ends = (name) => explicit.map((model) => model[name]).filter((end) => end !== null);
  const lowest = Math.max(...ends("lowest"));
  const highest = Math.min(...ends("highest"));
  const step = Number.isInteger(lowest) ? 1 : 0.5;
  const isStars = lowest > 0 && highest > lowest && highest <= 10
    && Number.isInteger(lowest / step) && Number.isInteger(highest / step);
  if (isStars) return { kind: "stars", lowest, highest, step, first: null };
  const finite = (end) => (Number.isFinite(end) ? end : null);
  return { kind: "number", lowest: finite(lowest), highest: finite(highest), step: "any", first: null };
}

// A model of events beside one of ratings takes each rated title as one event.
export const countsEvents = (model) => model.feedback === "implicit" && scale.kind !== "hearts";

export function ratingsFor(model, ratings) {
  return ratings.map(({ item, value }) => (countsEvents(model) ? { item } : { item, value }));
}

export const isEvents = (model) => model.feedback === "implicit";

export const showValue = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });

// Whether any prediction is clipped, so that the scores are needed to tell the order.
export const isClipped = (model, items) =>
  !isEvents(model) && items.some((item) => item.prediction.toFixed(2) !== item.score.toFixed(2));

export function showScore(model, item) {
  return isEvents(model) ? item.score.toFixed(3) : item.prediction.toFixed(2);
}
