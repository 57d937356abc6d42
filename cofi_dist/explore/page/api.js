// Ask the server. An error has the line that the server said.

async function answerOf(request) {
  let response;
  try {
    response = await request;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("cofi-dist explore does not answer; is it still running in its terminal?");
  }
  const answer = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error; // given up after it had begun to come
    return { error: `the server said ${response.status}` };
  });
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export function ask(path, query = {}, signal = undefined) {
  return answerOf(fetch(`/api/${path}?${new URLSearchParams(query)}`, { signal }));
}

export function tell(path, question, signal = undefined) {
  const body = JSON.stringify(question);
  const headers = { "Content-Type": "application/json" };
  return answerOf(fetch(`/api/${path}`, { method: "POST", headers, body, signal }));
}

// Run only the newest of several tasks: an older one is given up, and what it would have shown is not.
export function newest() {
  let current = new AbortController();
  return async (task) => {
    current.abort();
    const mine = (current = new AbortController());
    try {
      await task(mine.signal, () => mine === current);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  };
}
