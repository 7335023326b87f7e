// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title Append-only logs as in RFC 6962, with SHA-256.
/// @notice Proofs are checked as in RFC 9162 §§ 2.1.3.2 and 2.1.4.2; chain/merkle.py says the same in Python.
library MerkleLog {
    /// @notice Sizes are below 2^64: an inclusion proof has at most 64 hashes, a consistency proof at most 65.
    uint256 internal constant MAX_PROOF = 65;

    /// @notice SHA-256(0x00 || data).
    function leafHash(bytes memory data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), data));
    }

    /// @notice SHA-256(0x01 || left || right).
    function nodeHash(bytes32 left, bytes32 right) internal view returns (bytes32 hash) {
        assembly ("memory-safe") {
            // 65 bytes above the free pointer, which stays where it is: nothing here outlives the call.
            let at := mload(0x40)
            mstore8(at, 0x01)
            mstore(add(at, 1), left)
            mstore(add(at, 33), right)
            // The precompile fails only without gas; then nothing may be taken for a hash.
            if iszero(staticcall(gas(), 0x02, at, 65, 0x00, 32)) { revert(0, 0) }
            hash := mload(0x00)
        }
    }

    /// @notice Whether `leaf` is the leaf number `index` of the tree of `size` leaves with this root.
    function verifyInclusion(bytes32 root, uint256 size, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        internal
        view
        returns (bool)
    {
        if (index >= size) return false;
        uint256 node = index;
        uint256 last = size - 1;
        bytes32 hash = leaf;
        for (uint256 i = 0; i < proof.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                hash = nodeHash(proof[i], hash);
                (node, last) = _skip(node, last);
            } else {
                hash = nodeHash(hash, proof[i]);
            }
            node >>= 1;
            last >>= 1;
        }
        return last == 0 && hash == root;
    }

    /// @notice Whether the tree of `newSize` leaves begins with the `oldSize` leaves of the old one.
    function verifyConsistency(
        bytes32 oldRoot,
        uint256 oldSize,
        bytes32 newRoot,
        uint256 newSize,
        bytes32[] calldata proof
    ) internal view returns (bool) {
        if (oldSize == 0 || oldSize > newSize) return false;
        if (oldSize == newSize) return proof.length == 0 && oldRoot == newRoot;

        // A complete old tree is itself the first node; else the proof names the largest complete subtree that ends it.
        bool complete = oldSize & (oldSize - 1) == 0;
        if (!complete && proof.length == 0) return false;
        bytes32 oldHash = complete ? oldRoot : proof[0];
        bytes32 newHash = oldHash;

        uint256 node = oldSize - 1;
        uint256 last = newSize - 1;
        while (node & 1 == 1) {
            node >>= 1;
            last >>= 1;
        }
        for (uint256 i = complete ? 0 : 1; i < proof.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                oldHash = nodeHash(proof[i], oldHash);
                newHash = nodeHash(proof[i], newHash);
                (node, last) = _skip(node, last);
            } else {
                newHash = nodeHash(newHash, proof[i]);
            }
            node >>= 1;
            last >>= 1;
        }
        return last == 0 && oldHash == oldRoot && newHash == newRoot;
    }

    /// @dev A node that ends an incomplete level has no sibling there: up to where it has one.
    function _skip(uint256 node, uint256 last) private pure returns (uint256, uint256) {
        while (node & 1 == 0 && node != 0) {
            node >>= 1;
            last >>= 1;
        }
        return (node, last);
    }
}
