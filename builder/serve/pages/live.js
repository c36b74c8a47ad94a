// What the server does now, from /metrics once a second while the page is looked at.

import { sparkline } from "./answers.js";
import { ask, byId, element } from "./shared.js";

const SECONDS = 60;
const WINDOW = 5;
const BUCKET = "mbuild_request_duration_seconds_bucket ";

// Sums by metric (and by bucket, as "name bound"), of one model where the metric has models.
function figures(text, model) {
  const found = {};
  for (const line of text.split("\n")) {
    const [, name, labels, value] = /^(\w+)(\{.*\})? (\S+)/.exec(line) || [];
    if (!name || (labels?.includes("model=") && !labels.includes(`model="${model}"`))) continue;
    const bound = /le="([^"]+)"/.exec(labels)?.[1];
    const key = bound ? `${name} ${bound}` : name;
    found[key] = (found[key] || 0) + Number(value);
  }
  return found;
}

// The share's quantile of the requests that `since` counts in buckets, between a bucket's bounds as if they were even.
function quantile(read, since, share) {
  const wanted = share * since(`${BUCKET}+Inf`);
  let [below, low] = [0, 0];
  for (const key of Object.keys(read).filter((each) => each.startsWith(BUCKET))) {
    const [count, high] = [since(key), Number(key.slice(BUCKET.length))];
    if (count >= wanted) return Number.isNaN(high) ? low : low + ((high - low) * (wanted - below)) / (count - below);
    [below, low] = [count, high];
  }
  return low;
}

const milliseconds = (ms) => `${ms < 9.995 ? ms.toFixed(2) : ms.toFixed(ms < 99.95 ? 1 : 0)} ms`;
const rate = (value) => (value < 9.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));
const size = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;

function tile(parent, name) {
  const box = element("div", parent, undefined, "tile");
  element("h3", box, name);
  const value = element("p", box, "–", "big");
  const draw = sparkline(box, `${name}, the last minute`);
  const past = [];
  return (shown, next) => {
    if (shown) value.textContent = shown;
    past.push(next);
    if (past.length > SECONDS) past.shift();
    draw(past, SECONDS);
  };
}

// The panel of one model; the returned function takes each reading of /metrics.
export function livePanel(model, parent) {
  const tiles = element("div", parent, undefined, "tiles");
  const [requests, latency] = [tile(tiles, "Requests per second"), tile(tiles, "Mean latency")];
  const list = element("dl", parent, undefined, "facts");
  const fact = (name) => {
    const box = element("div", list);
    element("dt", box, name);
    return element("dd", box, "–");
  };
  const [half, most, waited, computed] = ["50 % within", "99 % within", "mean wait", "mean computing"].map(fact);
  const [pending, answered, failed, connections] = ["in flight", "answered", "refused or failed", "connections"].map(
    fact,
  );
  const [memory, processor] = ["memory", "processor"].map(fact);
  const past = [];
  return (text, now) => {
    const read = figures(text, model);
    const total = (name) => (read[name] || 0).toLocaleString("en");
    pending.textContent = total("nv_inference_pending_request_count");
    answered.textContent = total("nv_inference_request_success");
    failed.textContent = total("nv_inference_request_failure");
    connections.textContent = total("mbuild_connections");
    if (read.process_resident_memory_bytes) memory.textContent = size(read.process_resident_memory_bytes);
    // The first reading tells of all requests so far, each other one of the last seconds.
    const last = past.at(-1);
    const since = (name, before = past[0]) => (read[name] || 0) - (before?.read[name] || 0);
    const many = since("nv_inference_request_success");
    const mean = (name) => (many ? since(`nv_inference_${name}_duration_us`) / many / 1000 : 0);
    latency(many ? milliseconds(mean("request")) : "", last ? mean("request") : 0);
    if (many) {
      for (const [place, name] of [
        [waited, "queue"],
        [computed, "compute_infer"],
      ])
        place.textContent = milliseconds(mean(name));
      for (const [place, share] of [
        [half, 0.5],
        [most, 0.99],
      ])
        place.textContent = `≈ ${milliseconds(1000 * quantile(read, since, share))}`;
    }
    const seconds = last ? (now - last.now) / 1000 : Infinity;
    const speed = since("nv_inference_request_success", last) / seconds;
    requests(rate(speed), speed);
    if (last) processor.textContent = `${Math.round((100 * since("process_cpu_seconds_total", last)) / seconds)} %`;
    past.push({ read, now });
    if (past.length > WINDOW) past.shift();
  };
}

// Reads for ever, a second after each answer; `show` gets the text, or null where there is none.
export async function watch(show) {
  const state = byId("ready");
  for (;;) {
    if (!document.hidden) {
      let [text, word] = [null, "no answer"];
      try {
        const response = await ask("metrics", { cache: "no-store" });
        if (response.ok) text = await response.text();
        word = text === null ? `metrics: ${response.status}` : figures(text).mbuild_ready ? "ready" : "not ready";
      } catch {
        /* said by the word */
      }
      if (state.textContent !== word) state.textContent = word;
      state.className = `state ${word === "ready" ? "good" : "bad"}`;
      show(text, performance.now());
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 1000);
    });
  }
}
