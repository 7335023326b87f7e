// Speaks to the wallet in the browser (EIP-1193) and to this node, for pages that need both.
//
// A page marks a button with data-deed="name"; a click does what `deeds` has under that name and
// says how it went in the element with data-said of the button's form, or beside the button.
// data-words of the body holds, as JSON, what there is to say in the reader's language: by name, or
// by the code of the node's problem (RFC 9457); "code.…" is the title of one.

const OWN_PAGE = { "X-FateChain-Request": "1" }; // no form and no other origin can send it
const WAIT = "wait=20"; // seconds that the node waits for the chain before it answers
const DAY = 24 * 3600;
const REJECTED = 4001; // EIP-1193: the person said no

/** What went wrong, in words for the person who looks on. */
export class Told extends Error {}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// ── The node ─────────────────────────────────────────────────────────────────────────────────

/** Ask this node as the person who signed in. Returns the JSON answer; throws `Told`. */
export async function ask(method, path, body, words = {}) {
  const headers = { Accept: "application/json", ...OWN_PAGE };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
  }).catch(() => {
    throw new Told(words.away);
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const parts = [words[`code.${found.code}`], found.detail, found.hint];
    throw new Told(words[found.code] ?? parts.filter(Boolean).join(" — "));
  }
  return found;
}

/** Ask for a change and, if it becomes a transaction, wait for it; then show `target`, or this page
 * anew where that is null. */
async function submit(path, body, words, target = () => null) {
  const answer = await ask("POST", `${path}?${WAIT}`, body, words);
  if ("transaction" in answer && answer.state !== "CONFIRMED") throw new Told(words.sent);
  const to = target(answer);
  if (to) window.location.assign(to);
  else window.location.reload();
}

// ── The wallet ───────────────────────────────────────────────────────────────────────────────

/** The account that the person chose in the wallet. Throws `Told`. */
export async function account(words) {
  if (!window.ethereum) throw new Told(words.none);
  const [address] = await request("eth_requestAccounts", [], words);
  return address;
}

/** See to it that the wallet is on the node's chain; asks it to switch. Throws `Told`. */
export async function onChain(wanted, words) {
  const found = Number(await request("eth_chainId", [], words));
  if (found === Number(wanted)) return;
  try {
    const chainId = "0x" + Number(wanted).toString(16);
    await window.ethereum.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  } catch {
    // It said no, or does not know that chain: either way the person has to see to it.
    throw new Told(filled(words.chain, { found, wanted }));
  }
}

/** Have text signed (EIP-191). Returns 0x-hex. */
export function signText(text, address, words) {
  const bytes = new TextEncoder().encode(text);
  const hex = "0x" + Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return request("personal_sign", [hex, address], words);
}

/** Have typed data signed (EIP-712), on the chain that it names. Returns 0x-hex. */
export async function signTyped(typed, address, words) {
  await onChain(typed.domain.chainId, words);
  return request("eth_signTypedData_v4", [address, JSON.stringify(typed)], words);
}

async function request(method, params, words) {
  try {
    return await window.ethereum.request({ method, params });
  } catch (error) {
    throw new Told(error.code === REJECTED ? words.refused : error.message || words.refused);
  }
}

// ── Signing in ───────────────────────────────────────────────────────────────────────────────

/** A message of Sign-In with Ethereum (ERC-4361) from what the node says it must say. */
export function message(terms, now = new Date()) {
  return [
    `${terms.domain} wants you to sign in with your Ethereum account:`,
    terms.address, // with its EIP-55 checksum, whatever the wallet wrote
    "",
    terms.statement,
    "",
    `URI: ${terms.uri}`,
    `Version: ${terms.version}`,
    `Chain ID: ${terms.chain_id}`,
    `Nonce: ${terms.nonce}`,
    `Issued At: ${now.toISOString()}`,
  ].join("\n");
}

async function signIn(button, words) {
  const address = await account(words);
  const query = new URLSearchParams({ address });
  const terms = await ask("GET", `/v1/sign-in/nonce?${query}`, undefined, words);
  await onChain(terms.chain_id, words);
  const text = message(terms);
  const signature = await signText(text, address, words);
  await ask("POST", "/v1/sign-in", { message: text, signature }, words);
  window.location.assign(button.dataset.next || "/");
}

// ── Forms ────────────────────────────────────────────────────────────────────────────────────

/** The form of a button, filled in as it must be. Throws `Told`. */
function whole(button, words) {
  if (!button.form.reportValidity()) throw new Told(words.incomplete);
  return new FormData(button.form);
}

/** POST to data-path with the fields that data-fields names; "roles[]" is a list. Then shows what
 * was made, if data-next says below which path. */
async function send(button, words) {
  const names = (button.dataset.fields ?? "").split(" ").filter(Boolean);
  const given = names.length ? whole(button, words) : new FormData();
  const body = {};
  for (const name of names) {
    const values = given.getAll(name.replace("[]", ""));
    if (name.endsWith("[]")) body[name.slice(0, -2)] = values;
    else if (values[0]) body[name] = values[0];
  }
  const next = button.dataset.next;
  await submit(button.dataset.path, body, words, (answer) => next && next + answer.id);
}

function ballot(button, words) {
  const given = whole(button, words);
  return { support: given.get("support"), reason: given.get("reason").trim() };
}

async function vote(button, words) {
  await submit(`${button.dataset.path}/votes`, ballot(button, words), words);
}

async function voteByWallet(button, words) {
  const said = ballot(button, words);
  const voter = await account(words);
  const query = new URLSearchParams({ voter, ...said });
  const typed = await ask("GET", `${button.dataset.path}/ballot?${query}`, undefined, words);
  const signature = await signTyped(typed, voter, words);
  await submit(`${button.dataset.path}/ballots`, { voter, ...said, signature }, words);
}

/** What the form says, but for fields that are empty; parameters are named "p.…". */
function proposal(button, words) {
  const params = {};
  const given = whole(button, words);
  for (const [name, value] of given) {
    if (name.startsWith("p.") && value.trim()) params[name.slice(2)] = value.trim();
  }
  const [title, body] = ["title", "body"].map((name) => given.get(name).trim());
  return { kind: given.get("kind"), title, body, params };
}

/** Shows in this page what the same page says of the proposal as it would be. */
async function preview(button, words) {
  const asked = proposal(button, words);
  const named = Object.entries(asked.params).map(([name, value]) => [`p.${name}`, value]);
  const given = [["kind", asked.kind], ["title", asked.title], ["preview", "1"], ...named];
  const path = `${window.location.pathname}?${new URLSearchParams(given)}`;
  const answer = await fetch(path, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.getElementById("preview");
  if (!found) throw new Told(words.away);
  document.getElementById("preview").replaceWith(found);
}

async function propose(button, words) {
  const made = proposal(button, words);
  await submit("/v1/proposals", made, words, (answer) => `/proposals/${answer.id}`);
}

function grantTerms(button, words) {
  const given = whole(button, words);
  const number = (name) => Number(given.get(name));
  const rules = {};
  for (const line of given.get("column_rules").split("\n").filter((text) => text.trim())) {
    const [, column, rule] = line.match(/^\s*(.+?)\s*:\s*(join|protocol|none)\s*$/) ?? [];
    if (!column) throw new Told(filled(words.columns, { line: line.trim() }));
    rules[column] = rule;
  }
  return {
    dataset: given.get("dataset"),
    grantee: given.get("grantee"),
    purposes: given.getAll("purposes"),
    algorithms: given.getAll("algorithms"),
    uses: number("uses"),
    expires_in: number("days") * DAY,
    min_parties: number("min_parties"),
    min_rows: number("min_rows"),
    column_rules: Object.keys(rules).length ? rules : null,
  };
}

const toGrant = (answer) => `/grants/${answer.id}`;

async function grant(button, words) {
  await submit("/v1/grants", grantTerms(button, words), words, toGrant);
}

async function grantByWallet(button, words) {
  const terms = grantTerms(button, words);
  const found = await account(words);
  const draft = await ask("POST", "/v1/grants/typed-data", { terms }, words);
  if (draft.signer.toLowerCase() !== found.toLowerCase()) {
    throw new Told(filled(words.account, { found, wanted: draft.signer }));
  }
  const signature = await signTyped(draft.typed_data, found, words);
  const signed = { terms: draft.terms, signature, column_rules: draft.column_rules };
  await submit("/v1/grants/signed", signed, words, toGrant);
}

// ── API keys ─────────────────────────────────────────────────────────────────────────────────

/** Shows what was made once, in the form with this id, ready to be copied. */
function showMade(id, text) {
  const place = document.getElementById(id);
  const field = place.querySelector("[data-made]");
  field.value = text;
  place.hidden = false;
  field.focus();
  field.select();
}

async function makeKey(button, words) {
  const given = whole(button, words);
  const roles = given.getAll("roles");
  if (!roles.length) throw new Told(words.role);
  const body = { name: given.get("name").trim(), roles, expires_in: Number(given.get("days")) * DAY };
  if (given.get("person")) body.person = given.get("person");
  const made = await ask("POST", "/v1/api-keys", body, words);
  button.form.hidden = true;
  showMade("made", made.key);
}

async function copy(button, words) {
  const field = button.form.querySelector("[data-made]");
  field.focus();
  field.select();
  // Without TLS a browser has no navigator.clipboard.
  if (navigator.clipboard) await navigator.clipboard.writeText(field.value);
  else document.execCommand("copy");
  return words.copied;
}

// ── Emergencies ──────────────────────────────────────────────────────────────────────────────

const PERSON = /^0x[0-9a-fA-F]{40}$/;
let looked = null; // the request whose contents stand in the page

/** The wallet's account, as `opening` has it, if it may sign and has not. Throws `Told`. */
async function signer(opening, signed, words) {
  const found = await account(words);
  const same = (other) => other.toLowerCase() === found.toLowerCase();
  const person = opening.people.find(same);
  if (!person || signed.some(same)) throw new Told(filled(words.person, { found }));
  return person;
}

async function signOpening(button, words) {
  const given = whole(button, words);
  const number = (name) => Number(given.get(name));
  const terms = {
    dataset: given.get("dataset"),
    grantee: given.get("grantee"),
    algorithms: [given.get("algorithms")],
    expires_in: number("hours") * 3600,
    uses: number("uses"),
    min_parties: number("min_parties"),
  };
  const purpose = given.get("purpose").trim();
  const opening = await ask("POST", "/v1/break-glass/draft", { terms, purpose }, words);
  const person = await signer(opening, [], words);
  const signature = await signTyped(opening.typed_data, person, words);
  // As `fatechain break-glass` writes it, so that either of the two may use the command line.
  const signatures = { [person]: signature };
  showMade("request", JSON.stringify({ opening, signatures }, null, 2));
}

/** The request in the form: {opening, signatures}, which the node found to say what it signs. */
async function readRequest(button, words) {
  const text = whole(button, words).get("request");
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Told(words.request);
  }
  const signed = Object.keys(found?.signatures ?? {});
  if (!found?.opening || !signed.every((person) => PERSON.test(person))) {
    throw new Told(words.request);
  }
  await ask("POST", "/v1/break-glass/check", { opening: found.opening }, words);
  return { text, signed, ...found };
}

async function lookAtOpening(button, words) {
  looked = null;
  const found = await readRequest(button, words);
  const { purpose, until, terms } = found.opening;
  const place = document.getElementById("opening");
  const show = (name, value) => {
    place.querySelector(`[data-of="${name}"]`).textContent = value;
  };
  show("purpose", purpose);
  show("until", new Date(until * 1000).toISOString().slice(0, 19).replace("T", " "));
  show("signed", found.signed.join(", "));
  show("terms", JSON.stringify(terms, null, 2));
  place.hidden = false;
  looked = found.text;
}

async function openGlass(button, words) {
  const found = await readRequest(button, words);
  if (looked !== found.text) throw new Told(words.look);
  const { opening, signatures } = found;
  const person = await signer(opening, found.signed, words);
  signatures[person] = await signTyped(opening.typed_data, person, words);
  const people = Object.entries(signatures).slice(-2);
  const body = {
    terms: opening.terms,
    purpose: opening.purpose,
    column_rules: opening.column_rules,
    people: people.map(([address, signature]) => ({ address, signature })),
  };
  await submit("/v1/break-glass", body, words, (answer) => `/emergencies/${answer.id}`);
}

/** Name → what a click on a button with this data-deed does; it gets the button and its words, and
 * returns what there is to say, if anything. */
export const deeds = {
  "sign-in": signIn,
  send,
  vote,
  "vote-by-wallet": voteByWallet,
  preview,
  propose,
  grant,
  "grant-by-wallet": grantByWallet,
  "make-key": makeKey,
  copy,
  "sign-opening": signOpening,
  "look-at-opening": lookAtOpening,
  "open-glass": openGlass,
};

function listen(button, words) {
  const said = (button.form ?? button.parentElement).querySelector("[data-said]");
  const say = (text) => {
    said.textContent = text;
    said.hidden = !text;
  };
  button.disabled = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    say(words[button.dataset.busy] ?? "");
    try {
      say((await deeds[button.dataset.deed](button, words)) ?? "");
    } catch (error) {
      if (!(error instanceof Told)) throw error;
      say(error.message);
    } finally {
      button.disabled = false;
    }
  });
  // Enter in a field is no click: what changes the chain is never done by the way.
  button.form?.addEventListener("submit", (event) => event.preventDefault());
}

const words = JSON.parse(document.body.dataset.words ?? "{}");
for (const button of document.querySelectorAll("button[data-deed]")) listen(button, words);
