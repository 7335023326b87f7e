// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title Append-only logs as in RFC 6962, with SHA-256.
/// @notice Proofs are checked as in RFC 9162 §§ 2.1.3.2 and 2.1.4.2; chain/merkle.py says the same in Python.
library MerkleLog {
    /// @notice Sizes are below 2^64: an inclusion proof has at most 64 hashes, a consistency proof at most 65.
    uint256 internal constant MAX_PROOF = 65;
    /// @notice Entries of a log that the consortium takes: what every reader of JSON and every database counts exactly.
    uint64 internal constant MAX_SIZE = 2 ** 53 - 1;

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

        unchecked {
            // Neither size is 0.
            (uint256 node, uint256 last) = (oldSize - 1, newSize - 1);
            while (node & 1 != 0) {
                node >>= 1;
                last >>= 1;
            }
            // A complete old tree is itself the first node; else the proof names the largest complete subtree that ends it.
            if (oldSize & (oldSize - 1) == 0) return _climb(node, last, oldRoot, oldRoot, newRoot, proof);
            return proof.length != 0 && _climb(node, last, proof[0], oldRoot, newRoot, proof[1:]);
        }
    }

    /// @dev From the node that both trees have up to both roots. In assembly, for it is most of what a head costs. Above
    /// the free pointer, which stays where it is, lie seven words: a one, a left hash, the hash in the old tree; a one, a left
    /// hash or a one, the hash in the new tree, a right hash. So a node is hashed from the last byte of a one, and the result
    /// stands where the next node needs it. The precompile fails only without gas; then nothing holds.
    function _climb(
        uint256 node,
        uint256 last,
        bytes32 hash,
        bytes32 oldRoot,
        bytes32 newRoot,
        bytes32[] calldata proof
    ) private view returns (bool holds) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, 0x01)
            mstore(add(at, 0x40), hash)
            mstore(add(at, 0x60), 0x01)
            mstore(add(at, 0xa0), hash)
            holds := 1
            let next := proof.offset
            for { let end := add(next, shl(5, proof.length)) } lt(next, end) { next := add(next, 0x20) } {
                switch and(node, 1)
                case 1 {
                    calldatacopy(add(at, 0x20), next, 0x20)
                    calldatacopy(add(at, 0x80), next, 0x20)
                    holds := and(holds, staticcall(gas(), 0x02, add(at, 0x1f), 0x41, add(at, 0x40), 0x20))
                    holds := and(holds, staticcall(gas(), 0x02, add(at, 0x7f), 0x41, add(at, 0xa0), 0x20))
                }
                default {
                    switch eq(node, last)
                    case 0 {
                        mstore(add(at, 0x80), 0x01)
                        mstore(add(at, 0xc0), calldataload(next))
                        holds := and(holds, staticcall(gas(), 0x02, add(at, 0x9f), 0x41, add(at, 0xa0), 0x20))
                    }
                    default {
                        holds := and(holds, gt(last, 0)) // else there are more hashes than nodes to hash
                        calldatacopy(add(at, 0x20), next, 0x20)
                        calldatacopy(add(at, 0x80), next, 0x20)
                        holds := and(holds, staticcall(gas(), 0x02, add(at, 0x1f), 0x41, add(at, 0x40), 0x20))
                        holds := and(holds, staticcall(gas(), 0x02, add(at, 0x7f), 0x41, add(at, 0xa0), 0x20))
                        // A node that ends an incomplete level has no sibling there: up to where it has one.
                        for {} and(iszero(and(node, 1)), gt(node, 0)) {} {
                            node := shr(1, node)
                            last := shr(1, last)
                        }
                    }
                }
                node := shr(1, node)
                last := shr(1, last)
            }
            let isOld := eq(mload(add(at, 0x40)), oldRoot)
            let isNew := eq(mload(add(at, 0xa0)), newRoot)
            holds := and(and(holds, iszero(last)), and(isOld, isNew))
        }
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
