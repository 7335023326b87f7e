// Both ends of all messages against each other, as messages_section in chain/certificate.py.

import { digestOf } from "./digest.js";
import { openEntry } from "./entries.js";
import { Failure, say } from "./failure.js";
import { HASH, NUMBER, TEXT } from "./format.js";
import { atLeast } from "./shapes.js";

export const SENT = "fatechain.message.sent.v1";
const RECEIVED = "fatechain.message.received.v1";

const MESSAGE = atLeast({
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

/** The section `messages`; throws Failure where one end tells something else than the other. */
export async function messagesSection(job, logs) {
  const ends = { [SENT]: new Map(), [RECEIVED]: new Map() };
  for (const [number, log] of logs.entries()) {
    for (const [position, part] of log.entries.entries()) {
      const kind = part.entry.type ?? null;
      if (typeof kind === "object" && kind !== null) throw new TypeError("a type that is none");
      if (kind !== SENT && kind !== RECEIVED) continue;
      const where = `$.logs[${number}].entries[${position}]`;
      enter(ends[kind], await messageOf(part, kind, log.site, job, where), where);
    }
  }
  const [sent, received] = [ends[SENT], ends[RECEIVED]];
  holdAgainst(sent, received, "message.not.received");
  holdAgainst(received, sent, "message.not.sent");
  const told = [...sent.values()].map(({ message }) => message).sort(inOrder);
  return {
    count: sent.size,
    bytes: told.reduce((sum, message) => sum + message.size, 0),
    reconciled: true,
    digest: await digestOf(told.map(stated)),
  };
}

async function messageOf(part, kind, site, job, where) {
  const message = await openEntry(part, where);
  const at = `${where}.disclosed`;
  try {
    MESSAGE(message, at);
  } catch {
    throw new Failure(at, say("message.no.data"), say("message.fields"));
  }
  if (message.job !== job) throw new Failure(`${at}.job`, message.job, job);
  const name = kind === SENT ? "sender" : "receiver";
  if (message[name] !== site) throw new Failure(`${at}.${name}`, message[name], site);
  return message;
}

/** One that repeats another, as a message sent again does, counts once. */
function enter(known, message, where) {
  const address = JSON.stringify(addressOf(message));
  if (!known.has(address)) known.set(address, { message, where });
  requireAlike(message, known.get(address).message, where);
}

function holdAgainst(known, others, missing) {
  for (const [address, { message, where }] of known) {
    if (!others.has(address)) throw new Failure(where, say(missing), say("message.both"));
    requireAlike(message, others.get(address).message, where);
  }
}

function requireAlike(message, other, where) {
  for (const name of ["digest", "size"]) {
    if (message[name] !== other[name]) {
      throw new Failure(`${where}.disclosed.${name}`, message[name], other[name]);
    }
  }
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
