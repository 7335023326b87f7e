// Keeps the badge of the log current, and checks here, in the browser, what a page can check by
// itself: that the head shown continues the one this browser saw before, that those who are said to
// stand behind it signed it with the keys that are shown, and that an entry is in it.
//
// The node makes the words and the drawing of the badge (/badge); what this browser finds against
// the node is added to it and turns it red, whatever the node says. What this browser could have
// checked, and was not shown what it takes to, is not green either.

import { canonical } from "./check/canonical.js";
import { witnessesOf } from "./check/cosignatures.js";
import { canonicalBytes, hex, sha256, unhex } from "./check/digest.js";
import { openEntry } from "./check/entries.js";
import { Failure } from "./check/failure.js";
import { leafHash, verifyInclusion } from "./check/merkle.js";
import { isAble } from "./check/signature.js";

const EVERY_MILLISECONDS = 5000;
const words = JSON.parse(document.body.dataset.words ?? "{}");
let convicted = ""; // what this browser found is not taken back by the next answer

// ── What this browser remembers ──────────────────────────────────────────────────────────────

const place = (log) => `fatechain.head.${log}`;

function remembered(log) {
  try {
    const found = JSON.parse(localStorage.getItem(place(log)) ?? "null");
    const whole = found && Number.isSafeInteger(found.size) && found.size > 0;
    return whole && /^0x[0-9a-f]{64}$/.test(found.root) ? found : null;
  } catch {
    return null; // no storage here, or nothing of ours in it
  }
}

function remember(log, size, root) {
  try {
    localStorage.setItem(place(log), JSON.stringify({ size, root }));
  } catch {
    // A browser that keeps nothing checks from page to page alone.
  }
}

/** Whether the log of `size` with `root` begins with that of `old` (RFC 9162, 2.1.4.2). */
export async function verifyConsistency(old, oldRoot, size, root, path) {
  if (old === size) return path.length === 0 && oldRoot === root;
  if (!(old > 0 && old < size) || path.length === 0) return false;
  const half = (n) => Math.floor(n / 2);
  const join = (left, right) => sha256(Uint8Array.of(1), left, right);
  let [node, last] = [old - 1, size - 1];
  while (node % 2 === 1) [node, last] = [half(node), half(last)];
  const proof = path.map(unhex);
  const start = node === 0 ? unhex(oldRoot) : proof.shift();
  let [first, second] = [start, start];
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      [first, second] = [await join(sibling, first), await join(sibling, second)];
      while (node !== 0 && node % 2 === 0) [node, last] = [half(node), half(last)];
    } else {
      second = await join(second, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && hex(first) === oldRoot && hex(second) === root;
}

/** What is wrong with the head that the badge shows, as a key of the words; null if nothing is. */
async function against(badge) {
  const { log, root } = badge.dataset;
  const size = Number(badge.dataset.size);
  const known = log ? remembered(log) : null;
  if (known !== null && size < known.size) return "badge.older"; // also an empty log
  if (!log || !root || !size) return null;
  if (known === null || (known.size === size && known.root === root)) {
    remember(log, size, root);
    return null;
  }
  if (size === known.size) return "badge.other";
  const since = JSON.parse(badge.dataset.since ?? "null");
  if (since === null || since.size !== known.size) return "ask"; // of the page, which knew nothing
  if (!(await verifyConsistency(known.size, known.root, size, root, since.proof))) {
    return "badge.forked";
  }
  remember(log, size, root);
  return null;
}

// ── Who stands behind it ─────────────────────────────────────────────────────────────────────

const WORST = ["differ", "unknown", "behind", "agree"];
const SIGNS = { differ: "✗", unknown: "?", behind: "…", agree: "✓" };
const told = new Map(); // what was found of a note, for the next time it is shown

/** The line of the badge that tells of witnesses, as people see it; null where there is none. */
const witnessesIn = (badge) => badge.querySelector("li[data-side=witnesses]");

const stateOf = (element) => WORST.find((state) => element.classList.contains(state)) ?? "unknown";

/** How many sites the line says stand behind the head: what people read counts, not what only
 * scripts do. A line that is green and says no number claims more than anybody can check. */
function claimedBy(row) {
  if (row === null || stateOf(row) !== "agree") return 0;
  const digits = row.querySelector("span").textContent.replace(/\D/g, "");
  const named = row.querySelectorAll("small a").length;
  return digits === "" ? Infinity : Math.max(Number(digits), named);
}

/** What is wrong with the note that the badge has, as a key of the words, or how many members
 * signed it: {wrong} or {members, accounts, needed}; null where there is nothing to check with. */
async function behind(badge) {
  const { log, root, witnessed } = badge.dataset;
  const stated = JSON.parse(witnessed ?? "null");
  if (!log || !root || stated === null || !(await isAble())) return null;
  const claimed = claimedBy(witnessesIn(badge));
  const seen = `${badge.dataset.size} ${root} ${claimed} ${witnessed}`;
  if (!told.has(seen)) {
    told.clear();
    told.set(seen, await counted({ log, root, size: Number(badge.dataset.size) }, stated, claimed));
  }
  return told.get(seen);
}

async function counted(head, stated, claimed) {
  try {
    const { sites, members, accounts } = await witnessesOf(head, stated);
    if (sites.size < claimed) return { wrong: "badge.note.few" };
    return { members: members.size, accounts: accounts.size, needed: stated.needed };
  } catch (error) {
    if (error instanceof Failure) return { wrong: `badge.note.${error.where}` };
    throw error;
  }
}

// ── The badge ────────────────────────────────────────────────────────────────────────────────

function convict(badge, key) {
  convicted = key;
  draw(badge, "differ", words["badge.found"]);
  say(badge, "differ", words[key]);
}

function draw(badge, state, text) {
  badge.dataset.state = state;
  badge.className = `badge ${state}`;
  const sign = document.createElement("b");
  sign.textContent = SIGNS[state];
  badge.querySelector(".verdict").replaceChildren(sign, ` ${text}`);
}

/** Draws the line of witnesses, and the verdict, no better than what was found of them here. */
function hold(badge, state) {
  const row = witnessesIn(badge);
  const isWorse = (one, other) => WORST.indexOf(one) < WORST.indexOf(other);
  if (row !== null && isWorse(state, stateOf(row))) row.className = state;
  const found = row === null ? "unknown" : stateOf(row);
  if (isWorse(found, stateOf(badge))) draw(badge, found, words[`badge.${found}`]);
}

function say(badge, state, text, place = "[data-browser]") {
  const row = badge.querySelector(place);
  row.hidden = false;
  row.className = `browser ${state}`;
  row.querySelector("span").textContent = text;
}

/** `answered`: the node was asked for what leads here from the head that this browser knows. */
async function judge(badge, answered = false) {
  if (!crypto.subtle) return say(badge, "unknown", words["badge.cannot"]); // not a secure context
  let wrong = await against(badge);
  if (wrong === "ask" && !answered) return refresh();
  if (wrong === "ask") wrong = "badge.forked";
  const note = await behind(badge);
  wrong = wrong || note?.wrong || convicted;
  if (wrong) return convict(badge, wrong);
  say(badge, "agree", words["badge.same"]);
  if (note === null) {
    // An honest node has nothing to show while nobody cosigned, and does not say that all is well.
    if ((await isAble()) && claimedBy(witnessesIn(badge)) > 0) hold(badge, "unknown");
    else hold(badge, "agree");
    return say(badge, "unknown", words["badge.unsaid"], "[data-signed]");
  }
  const text = words["badge.signed"].replace(/\{(\w+)\}/g, (_, name) => note[name]);
  const state = note.members < note.needed ? "behind" : "agree";
  hold(badge, state);
  return say(badge, state, text, "[data-signed]");
}

async function refresh() {
  const badge = document.getElementById("badge");
  const known = remembered(badge.dataset.log);
  const query = known ? `?seen=${known.size}` : "";
  let fresh = null;
  try {
    const answer = await fetch(`/badge${query}`, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.ok) fresh = page.getElementById("badge");
  } catch {
    fresh = null;
  }
  if (fresh === null) return say(badge, "unknown", words.away);
  badge.replaceWith(fresh);
  return judge(fresh, true);
}

// ── An entry ─────────────────────────────────────────────────────────────────────────────────

/** Whether what the page shows of an entry is what its leaf commits to, and the leaf is under the
 * head named. */
async function checkEntry(place) {
  const shown = JSON.parse(place.dataset.entry);
  const { root, size, path } = shown.proof;
  const said = place.querySelector("[data-checked]");
  const fields = await openEntry(shown, "entry");
  const leaf = await leafHash(canonicalBytes(shown.entry));
  const found = await verifyInclusion(unhex(root), size, shown.index, leaf, path.map(unhex));
  if (!found) throw new Failure("proof", "", "");
  const text = document.querySelector("[data-fields]");
  if (text && canonical(JSON.parse(text.textContent)) !== canonical(fields)) {
    throw new Failure("data", "", "");
  }
  const badge = document.getElementById("badge");
  if (badge && Number(badge.dataset.size) === size && badge.dataset.root !== root) {
    throw new Failure("root", "", "");
  }
  said.textContent = `✓ ${words["entry.checked"]}`;
  said.className = "callout good";
  said.hidden = false;
}

async function entry(place) {
  if (!crypto.subtle) return;
  try {
    await checkEntry(place);
  } catch (error) {
    if (!(error instanceof Failure) && !(error instanceof SyntaxError)) throw error;
    const said = place.querySelector("[data-checked]");
    said.textContent = `✗ ${words["entry.false"]}`;
    said.className = "callout bad";
    said.hidden = false;
    const badge = document.getElementById("badge");
    if (badge) convict(badge, "entry.false");
  }
}

const badge = document.getElementById("badge");
if (badge) {
  await judge(badge);
  setInterval(refresh, EVERY_MILLISECONDS);
}
const shown = document.querySelector("[data-entry]");
if (shown) await entry(shown);
