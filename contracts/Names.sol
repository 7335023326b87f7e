// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Word} from "./interfaces/Types.sol";

// The names of the contracts in the consortium's address book.
Word constant MEMBERSHIP = Word.wrap("membership");
Word constant SITES = Word.wrap("sites");
Word constant DATASETS = Word.wrap("datasets");
Word constant CONSENTS = Word.wrap("consents");
Word constant JOBS = Word.wrap("jobs");
Word constant MODELS = Word.wrap("models");
Word constant ANCHORS = Word.wrap("anchors");

// Purposes of a site's keys that the contracts look at.
Word constant REQUEST_KEY = Word.wrap("request");

// Roles of a party.
Word constant GUEST = Word.wrap("guest");
Word constant HOST = Word.wrap("host");
Word constant ARBITER = Word.wrap("arbiter");
