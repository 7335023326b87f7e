// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @dev Identifiers are keccak256(abi.encode(chain id, registry, owner, nonce)) where the owner chooses the nonce once:
/// an id is known before its transaction is mined, and a repeated transaction is refused by name.
type MemberId is bytes32;
type SiteId is bytes32;
type KeyId is bytes32;
type DatasetId is bytes32;
type GrantId is bytes32;
type JobId is bytes32;
type ModelId is bytes32;

/// @dev Short ASCII words (purposes, key purposes, contract names) left-aligned in 32 bytes, so that an explorer can read them.
type Word is bytes32;
