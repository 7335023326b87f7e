// What an evidence pack says of the chain, held against the contracts' storage at one block: the
// checks of chain/pack_state.py, in the same order and with the same `where`.

import { unhex } from "./digest.js";
import { Failure, say } from "./failure.js";
import { HASH, NUMBER, PUBLIC_KEY, TEXT } from "./format.js";
import { list, record } from "./shapes.js";
import { BLOCK, headerOf, NODES, proved } from "./slots.js";
import { anchoredBy, ANCHORS, equal, equalContent, JOBS, KEY, SITE_KEYS, SITES, Storage } from "./storage.js";

export const PACK_STATE = record({ block: BLOCK, nodes: NODES, bounds: list(BLOCK, 0, 4) });
const NEWEST = [0, 160, 64]; // the size of the newest head, in what the contract keeps of a log
const TOLD = record({
  site: HASH,
  id: HASH,
  purpose: TEXT,
  publicKey: PUBLIC_KEY,
  fromBlock: NUMBER,
  untilBlock: NUMBER,
});

/** [where, what holds] of a pack by its part `chain`; throws Failure. */
export function* packState(pack) {
  if (pack.chain === null) {
    yield ["$.chain", say("pack.no.proof")];
    return;
  }
  const { header, slots } = proved(pack.chain, "$.chain");
  yield ["$.chain.block", say("state.block", header)];
  period(pack.scope, header, pack.chain.bounds);
  yield ["$.scope", say("pack.state.scope")];
  yield* asStored(slots, pack, header.number);
  slots.requireAllUsed();
  yield ["$.chain", say("state.holds", header)];
}

function* asStored(slots, { network, log, scope, jobs, keys, issued }, block) {
  const storage = new Storage(slots, network.consortium);
  if (network.jobRegistry.toLowerCase() !== storage.address("jobs")) {
    throw new Failure("$.network.jobRegistry", network.jobRegistry, storage.address("jobs"));
  }
  yield ["$.network", say("state.network")];
  const anchors = storage.contract("anchors");
  anchoredBy(anchors, log.site, log.anchored, "$.log.anchored");
  yield ["$.log.anchored", say("pack.state.anchored")];
  if (scope.until === null) {
    const newest = anchors.at(ANCHORS.logs).of(BigInt(log.site), NEWEST);
    equal("$.log.anchored.size", log.anchored.size, newest);
    yield ["$.log.anchored.size", say("pack.state.newest", { block })];
  }
  if (["from", "until", "site", "dataset", "job"].every((name) => (scope[name] ?? null) === null)) {
    equal("$.jobs", jobs.length, storage.contract("jobs").at(JOBS.list));
    yield ["$.jobs", say("pack.state.jobs")];
  }
  const sites = storage.contract("sites");
  keysOf(sites, log.site, keys, block);
  yield ["$.keys", say("pack.state.keys")];
  issuer(sites, issued, BigInt(log.anchored.block));
  yield ["$.issued", say("pack.state.issued")];
}

/** None is of a later block, which storage at this one says nothing of. */
function keysOf(sites, own, keys, block) {
  const told = new Map([[own, 0]]);
  for (const [number, key] of keys.entries()) {
    const where = `$.keys[${number}]`;
    if (!isKey(key)) throw new Failure(where, say("state.form"), say("pack.state.key"));
    if (!told.has(key.site)) told.set(key.site, 0);
    for (const name of ["fromBlock", "untilBlock"]) {
      if (key[name] > block) throw new Failure(`${where}.${name}`, key[name], block);
    }
    told.set(key.site, told.get(key.site) + 1);
    const place = sites.at(SITES.keys).of(BigInt(key.id));
    equal(`${where}.site`, key.site, place.at(KEY.site));
    equal(`${where}.purpose`, key.purpose, place.at(KEY.purpose), true);
    const raw = unhex(key.publicKey);
    equalContent(`${where}.publicKey`, key.publicKey, raw, place.at(KEY.publicKey));
    equal(`${where}.fromBlock`, key.fromBlock, place.at(KEY.fromBlock));
    equal(`${where}.untilBlock`, key.untilBlock, place.at(KEY.untilBlock));
  }
  if (new Set(keys.map(({ id }) => id)).size !== keys.length) {
    throw new Failure("$.keys", say("pack.state.twice"), say("pack.state.once"));
  }
  for (const [site, count] of told) {
    equal("$.keys", count, sites.at(SITES.sites).of(BigInt(site)).at(SITE_KEYS));
  }
}

function isKey(key) {
  try {
    TOLD(key, "$");
    return true;
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}

/** As `require_audit_key` in chain/statement.py, but that the key proved itself when it came. */
function issuer(sites, { by, keyId, publicKey }, block) {
  const key = sites.at(SITES.keys).of(BigInt(keyId));
  equal("$.issued.keyId", by, key.at(KEY.site));
  equal("$.issued.keyId", "audit", key.at(KEY.purpose), true);
  equalContent("$.issued.publicKey", publicKey, unhex(publicKey), key.at(KEY.publicKey));
  const until = key.at(KEY.untilBlock).value;
  if (until > 0n && until <= block) {
    throw new Failure("$.issued.keyId", keyId, say("pack.audit.key"));
  }
}

/** The blocks whose headers show that a pack's blocks are those of its period. */
function boundsOf({ from, until, firstBlock: first, lastBlock: last }, block) {
  const beside = new Set();
  if (from !== null) (first <= last ? [first - 1, first] : [first - 1]).forEach((n) => beside.add(n));
  if (until !== null) [last, last + 1].forEach((n) => beside.add(n));
  return [...beside].filter((n) => n >= 0 && n < block).sort((one, other) => one - other);
}

function period(scope, at, bounds) {
  const needed = boundsOf(scope, at.number);
  const numbers = bounds.map(({ number }) => number);
  if (String(numbers) !== String(needed)) throw new Failure("$.chain.bounds", numbers, needed);
  const headers = new Map([[at.number, at]]);
  for (const [position, part] of bounds.entries()) {
    headers.set(part.number, headerOf(part, `$.chain.bounds[${position}]`));
  }
  for (const [number, header] of headers) {
    const before = headers.get(number - 1);
    if (before !== undefined && header.parent !== before.hash) {
      throw new Failure("$.chain.bounds", header.parent, before.hash);
    }
  }
  const { from, until, firstBlock: first, lastBlock: last } = scope;
  const [firstAt, lastAt] = ["$.scope.firstBlock", "$.scope.lastBlock"];
  const wrong = (where, found, block) => new Failure(where, found, block);
  if (last > at.number || (until === null && last !== at.number)) {
    throw wrong(lastAt, last, at.number);
  }
  if (first > last + 1) throw wrong(firstAt, first, last + 1);
  if (from === null) {
    if (first !== 0) throw wrong(firstAt, first, 0);
  } else {
    const start = wholeSeconds(from);
    if (first > 0 && headers.get(first - 1).timestamp >= start) throw wrong(firstAt, first, from);
    if (first <= last && headers.get(first).timestamp < start) throw wrong(firstAt, first, from);
  }
  if (until !== null) {
    const end = wholeSeconds(until);
    if (last >= 0 && headers.get(last).timestamp >= end) throw wrong(lastAt, last, until);
    if (last < at.number && headers.get(last + 1).timestamp < end) throw wrong(lastAt, last, until);
  }
}

/** Blocks have whole seconds: the first that is not before the moment. */
function wholeSeconds(moment) {
  const whole = moment.slice(0, 19);
  const time = new Date(`${whole}Z`);
  // A day that no month has would become one of the next.
  if (time.toISOString().slice(0, 19) !== whole || whole.startsWith("0000")) {
    throw new RangeError("no time");
  }
  return time.getTime() / 1000 + (moment.slice(20, 26) === "000000" ? 0 : 1);
}
