// The parties' logs held against each other, as chain/reconciliation.py does, as far as the first
// difference: both entries of every message, the receipt, and what the parties declared.

import { canonicalBytes, digestOf, unhex } from "./digest.js";
import { openEntry } from "./entries.js";
import { Failure, say } from "./failure.js";
import { HASH, NUMBER, TEXT } from "./format.js";
import { atLeast } from "./shapes.js";
import { isSigned } from "./signature.js";

const SENT = "fatechain.message.sent.v1";
const RECEIVED = "fatechain.message.received.v1";
const DECLARATIONS = new Map([
  ["job.Approval", "approvals"],
  ["job.GrantUse", "grantUses"],
  ["job.Result", "results"],
]);

const AT_ONCE = 256; // receipts: WebCrypto answers each later, but many at a time

const LINE = atLeast({
  job: HASH,
  step: TEXT,
  attempt: NUMBER,
  sender: HASH,
  receiver: HASH,
  messageKind: TEXT,
  n: NUMBER,
  digest: HASH,
  size: NUMBER,
});

/** The section `reconciliation` by what the logs tell; throws Failure at the first difference. */
export async function reconciliationSection(certificate) {
  const { job, logs, result } = certificate;
  const keys = receiptKeys(certificate);
  const ends = { [SENT]: new Map(), [RECEIVED]: new Map() };
  for (const [number, log] of logs.entries()) {
    for (const [position, part] of log.entries.entries()) {
      const kind = part.entry.type;
      if (kind !== SENT && kind !== RECEIVED) continue;
      const where = `$.logs[${number}].entries[${position}]`;
      const found = await entered(part, kind, log.site, job.id, where);
      if (kind === RECEIVED && !logs.some(({ site }) => site === found.line.sender)) {
        const at = `${where}.disclosed.sender`;
        throw new Failure(at, found.line.sender, say("signatures.party"));
      }
      await enter(ends[kind], found, kind, keys);
    }
  }
  const [sent, received] = [ends[SENT], ends[RECEIVED]];
  await holdSent(sent, received, keys);
  holdReceived(received, sent, owedBy(certificate));
  await holdDeclared(certificate, sent, result.attempt);
  const lines = [...sent.values()].map(({ line }) => line).sort(inOrder);
  const count = (name) => lines.filter((line) => sortOf(line) === name).length;
  return {
    agrees: true,
    messages: count("messages"),
    approvals: count("approvals"),
    grantUses: count("grantUses"),
    results: count("results"),
    bytes: lines.reduce((sum, line) => sum + line.size, 0),
    digest: await digestOf(lines.map(stated)),
    keys: keysNamed(logs, keys),
  };
}

function sortOf({ messageKind }) {
  return DECLARATIONS.get(messageKind) ?? "messages";
}

/** What an entry tells: {line, where, receipt}. */
async function entered(part, kind, site, job, where) {
  const line = await openEntry(part, where);
  const at = `${where}.disclosed`;
  try {
    LINE(line, at);
  } catch {
    throw new Failure(at, say("line.no.data"), say("line.fields"));
  }
  if (line.job !== job) throw new Failure(`${at}.job`, line.job, job);
  const name = kind === SENT ? "sender" : "receiver";
  if (line[name] !== site) throw new Failure(`${at}.${name}`, line[name], site);
  return { line, where, receipt: line.receipt };
}

/** One that repeats another, as a message sent again does, counts once. */
async function enter(known, found, kind, keys) {
  const address = JSON.stringify(addressOf(found.line));
  if (!known.has(address)) known.set(address, found);
  const first = known.get(address);
  requireAlike(found, first.line);
  const isOther = JSON.stringify(found.receipt) !== JSON.stringify(first.receipt);
  if (kind === SENT && isOther && !(await isReceipt(found.line, found.receipt, keys))) {
    throw noReceipt(found);
  }
}

function noReceipt({ line, where }) {
  const found = say("line.no.receipt", { site: line.sender });
  return new Failure(`${where}.disclosed.receipt`, found, say("line.receipt"));
}

async function holdSent(sent, received, keys) {
  const all = [...sent];
  for (let start = 0; start < all.length; start += AT_ONCE) {
    const some = all.slice(start, start + AT_ONCE);
    const signed = await Promise.all(some.map(([, { line, receipt }]) => isReceipt(line, receipt, keys)));
    for (const [number, [address, { line, where }]] of some.entries()) {
      if (!signed[number]) throw noReceipt({ line, where });
      if (!received.has(address)) {
        const found = say("line.not.received", { site: line.receiver });
        throw new Failure(where, found, say("line.both"));
      }
      requireAlike(received.get(address), line);
    }
  }
}

/** What only the receiver tells names both, but for what the chain says that it had to be sent. */
function holdReceived(received, sent, owed) {
  for (const [address, { line, where }] of received) {
    if (!sent.has(address)) {
      const { sender, receiver, messageKind, n, attempt } = line;
      const found = owed.has(keyOf(sender, messageKind, n, attempt))
        ? say("line.not.sent", { site: sender })
        : say("line.unsent", { sender, receiver });
      throw new Failure(where, found, say("line.both"));
    }
  }
}

function owedBy(certificate) {
  const { attempt } = certificate.result;
  return new Set(
    declaredIn(certificate).map(({ site, kind, n }) => keyOf(site, kind, n, attempt)),
  );
}

async function holdDeclared(certificate, sent, attempt) {
  const found = new Map();
  for (const { line, where } of sent.values()) {
    if (DECLARATIONS.has(line.messageKind) && line.attempt === attempt) {
      found.set(keyOf(line.sender, line.receiver, line.messageKind, line.n), { line, where });
    }
  }
  const sites = certificate.logs.map(({ site }) => site);
  for (const { site, kind, n, body } of declaredIn(certificate)) {
    const digest = await digestOf(body);
    for (const receiver of sites.filter((other) => other !== site)) {
      const key = keyOf(site, receiver, kind, n);
      const told = found.get(key);
      found.delete(key);
      if (told === undefined) {
        const at = sites.includes(site) ? `$.logs[${sites.indexOf(site)}]` : "$.logs";
        throw new Failure(at, say("line.not.declared", { site, kind, receiver }), digest);
      }
      if (told.line.digest !== digest) {
        throw new Failure(`${told.where}.disclosed.digest`, told.line.digest, digest);
      }
    }
  }
  for (const { line, where } of found.values()) {
    throw new Failure(where, say("line.undeclared", { site: line.sender }), say("line.happened"));
  }
}

/** What each party said to all others that it did, by the sections of the certificate. */
function declaredIn({ job, parties, result }) {
  return parties.flatMap(({ site, approvedAt, datasets }) => {
    const of = (declares, more) => ({ declares, job: job.id, site, ...more });
    const granted = datasets.filter(({ grant }) => grant !== null);
    return [
      {
        site, kind: "job.Approval", n: 0,
        body: of("approval", { specification: job.specification, block: approvedAt }),
      },
      ...granted.map(({ dataset, version, grant }, n) => ({
        site, kind: "job.GrantUse", n,
        body: of("grantUse", { dataset, version, grant: grant.id, block: job.startedAt }),
      })),
      {
        site, kind: "job.Result", n: 0,
        body: of("result", { attempt: result.attempt, result: result.digest }),
      },
    ];
  });
}

/** The keys of receipts by site and id; throws Failure for one that is not the site's. */
function receiptKeys({ parties, reconciliation }) {
  const ofParties = new Map(parties.map(({ site, requestKey }) => [site, requestKey]));
  for (const [number, { site, id, publicKey }] of reconciliation.keys.entries()) {
    const where = `$.reconciliation.keys[${number}]`;
    const known = ofParties.get(site);
    if (known === undefined) throw new Failure(`${where}.site`, site, say("signatures.party"));
    if (known.id === id && known.publicKey !== publicKey) {
      throw new Failure(`${where}.publicKey`, publicKey, known.publicKey);
    }
  }
  const named = reconciliation.keys.map((key) => [keyOf(key.site, key.id), key.publicKey]);
  return new Map(named);
}

/** Those of the keys that the receipts name, in their order. */
function keysNamed(logs, keys) {
  const named = new Map();
  for (const part of logs.flatMap(({ entries }) => entries)) {
    if (part.entry.type !== SENT) continue;
    const [site, receipt] = [shown(part, "receiver"), shown(part, "receipt")];
    const key = keyOf(site, receipt?.keyId);
    if (keys.has(key)) named.set(key, { site, id: receipt.keyId, publicKey: keys.get(key) });
  }
  return [...named.keys()].sort().map((key) => named.get(key));
}

/** A field as it is disclosed; whether it was committed to is looked at where it is used. */
function shown(part, name) {
  const pair = Object.hasOwn(part.disclosed, name) ? part.disclosed[name] : null;
  return Array.isArray(pair) && pair.length === 2 ? pair[1] : null;
}

async function isReceipt(line, receipt, keys) {
  const isObject = typeof receipt === "object" && receipt !== null && !Array.isArray(receipt);
  if (!isObject || Object.keys(receipt).sort().join() !== "keyId,receivedAt,signature") return false;
  if (!Object.values(receipt).every((value) => typeof value === "string")) return false;
  const publicKey = keys.get(keyOf(line.receiver, receipt.keyId));
  if (publicKey === undefined) return false;
  const { job, step, attempt, sender, receiver, n, messageKind: kind, digest, size } = line;
  const address = { job, step, attempt, sender, receiver, kind, n };
  const { receivedAt, keyId } = receipt;
  const body = { type: "receipt", address, digest, size, receiver, receivedAt, keyId };
  return isSigned(unhex(publicKey), receipt.signature, canonicalBytes(body));
}

function requireAlike({ line, where }, other) {
  for (const name of ["digest", "size"]) {
    if (line[name] !== other[name]) {
      throw new Failure(`${where}.disclosed.${name}`, line[name], other[name]);
    }
  }
}

function keyOf(...parts) {
  return JSON.stringify(parts);
}

function addressOf({ step, attempt, sender, receiver, messageKind, n }) {
  return [step, attempt, sender, receiver, messageKind, n];
}

function stated({ step, attempt, sender, receiver, messageKind, n, digest, size }) {
  return { step, attempt, sender, receiver, messageKind, n, digest, size };
}

function inOrder(one, other) {
  const [first, second] = [addressOf(one), addressOf(other)];
  const at = first.findIndex((value, number) => value !== second[number]);
  return at < 0 ? 0 : compare(first[at], second[at]);
}

/** Texts by code points, as Python orders them: by UTF-16 units some would stand elsewhere. */
function compare(one, other) {
  if (typeof one === "number") return one - other;
  const [first, second] = [one, other].map((value) => Array.from(value, (c) => c.codePointAt(0)));
  const at = first.findIndex((point, number) => point !== second[number]);
  return at < 0 ? first.length - second.length : first[at] - (second[at] ?? -1);
}
