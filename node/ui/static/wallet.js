// Speaks to the wallet in the browser (EIP-1193) and to this node, for pages that need both.
//
// A page marks a button with data-deed="name"; a click does what `deeds` has under that name and
// says how it went in the element with data-said beside it. Words come from data- attributes of
// the button (data-none, data-busy, data-refused), so that they are in the reader's language.

const OWN_PAGE = { "X-FateChain-Request": "1" }; // no form and no other origin can send it

/** What went wrong, in words for the person who looks on. */
export class Told extends Error {}

/** Ask this node as the person who signed in. Returns the JSON answer; throws `Told`. */
export async function ask(method, path, body) {
  const headers = { Accept: "application/json", ...OWN_PAGE };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Told([found.detail, found.hint].filter(Boolean).join(" — "));
  return found;
}

/** The account that the person chose in the wallet. Throws `Told`. */
export async function account(words) {
  if (!window.ethereum) throw new Told(words.none);
  const [address] = await request("eth_requestAccounts", [], words);
  return address;
}

/** Have text signed (EIP-191). Returns 0x-hex. */
export function signText(text, address, words) {
  const bytes = new TextEncoder().encode(text);
  const hex = "0x" + Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return request("personal_sign", [hex, address], words);
}

/** Have typed data signed (EIP-712). Returns 0x-hex. */
export function signTyped(typed, address, words) {
  return request("eth_signTypedData_v4", [address, JSON.stringify(typed)], words);
}

async function request(method, params, words) {
  try {
    return await window.ethereum.request({ method, params });
  } catch (error) {
    // 4001: the person said no. Anything else is the wallet's own word.
    throw new Told(error.code === 4001 ? words.refused : error.message || words.refused);
  }
}

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

async function signIn(button) {
  const address = await account(button.dataset);
  const query = new URLSearchParams({ address });
  const text = message(await ask("GET", `/v1/sign-in/nonce?${query}`));
  const signature = await signText(text, address, button.dataset);
  await ask("POST", "/v1/sign-in", { message: text, signature });
  window.location.assign(button.dataset.next || "/");
}

/** Name → what a click on a button with this data-deed does; it gets the button. */
export const deeds = { "sign-in": signIn };

function listen(button) {
  const said = button.parentElement.querySelector("[data-said]");
  const say = (text) => {
    said.textContent = text;
    said.hidden = !text;
  };
  button.disabled = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    say(button.dataset.busy || "");
    try {
      await deeds[button.dataset.deed](button);
      say("");
    } catch (error) {
      if (!(error instanceof Told)) throw error;
      say(error.message);
    } finally {
      button.disabled = false;
    }
  });
}

for (const button of document.querySelectorAll("button[data-deed]")) listen(button);
