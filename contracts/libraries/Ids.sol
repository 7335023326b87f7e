// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title Identifiers that their owner knows before the transaction is mined.
library Ids {
    /// @notice The id of what `owner` makes in this registry under `nonce`; no other chain or registry has the same.
    function derive(address owner, uint256 nonce) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), owner, nonce));
    }
}
