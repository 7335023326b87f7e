// Shapes of values. A shape is a function (value, where) that throws Failure at the first place
// that does not fit, in the order in which pydantic looks at it: the fields as they are declared,
// then what is too much.

import { isObject } from "./canonical.js";
import { Failure, say } from "./failure.js";

function refuse(where, why) {
  throw new Failure(where, say(why), say("shape.certificate"));
}

export function text(most, pattern = null) {
  return (value, where) => {
    // By code points, as Python counts: each has one or two units here.
    const fits =
      typeof value === "string" && value.length <= 2 * most && [...value].length <= most;
    if (!fits || (pattern !== null && !pattern.test(value))) refuse(where, "shape.text");
  };
}

export function whole(least) {
  return (value, where) => {
    if (!Number.isSafeInteger(value) || value < least) refuse(where, "shape.number");
  };
}

export function exactly(wanted) {
  return (value, where) => {
    if (value !== wanted) refuse(where, "shape.constant");
  };
}

export function any() {}

export function object(value, where) {
  if (!isObject(value)) refuse(where, "shape.object");
}

export function orNull(shape) {
  return (value, where) => {
    if (value !== null) shape(value, where);
  };
}

export function list(shape, least = 0, most = Infinity) {
  return (value, where) => {
    if (!Array.isArray(value)) refuse(where, "shape.list");
    if (value.length > most) refuse(where, "shape.long");
    value.forEach((item, number) => shape(item, `${where}[${number}]`));
    if (value.length < least) refuse(where, "shape.short");
  };
}

/** Any number of names and values, each of its shape. */
export function map(keyShape, shape) {
  return (value, where) => {
    object(value, where);
    for (const key of Object.keys(value).sort()) {
      keyShape(key, `${where}.${key}.[key]`);
      shape(value[key], `${where}.${key}`);
    }
  };
}

/** Exactly these fields. */
export function record(fields) {
  const known = atLeast(fields);
  return (value, where) => {
    known(value, where);
    for (const name of Object.keys(value).sort()) {
      if (!Object.hasOwn(fields, name)) refuse(`${where}.${name}`, "shape.extra");
    }
  };
}

/** These fields, and others that nobody looks at. */
export function atLeast(fields) {
  return (value, where) => {
    object(value, where);
    for (const [name, shape] of Object.entries(fields)) {
      if (!Object.hasOwn(value, name)) refuse(`${where}.${name}`, "shape.missing");
      shape(value[name], `${where}.${name}`);
    }
  };
}
