// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MerkleLog} from "libraries/MerkleLog.sol";

/// @dev The library's functions, one call each.
contract MerkleLogHarness {
    function leafHash(bytes calldata data) external pure returns (bytes32) {
        return MerkleLog.leafHash(data);
    }

    function nodeHash(bytes32 left, bytes32 right) external view returns (bytes32) {
        return MerkleLog.nodeHash(left, right);
    }

    function verifyInclusion(bytes32 root, uint256 size, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        return MerkleLog.verifyInclusion(root, size, index, leaf, proof);
    }

    function verifyConsistency(
        bytes32 oldRoot,
        uint256 oldSize,
        bytes32 newRoot,
        uint256 newSize,
        bytes32[] calldata proof
    ) external view returns (bool) {
        return MerkleLog.verifyConsistency(oldRoot, oldSize, newRoot, newSize, proof);
    }

    struct Case {
        bytes32 oldRoot;
        uint256 oldSize;
        bytes32 newRoot;
        uint256 newSize;
        bytes32[] proof;
    }

    /// @dev Many at a time: one call of an in-process chain costs more than one proof.
    function verifyConsistencies(Case[] calldata cases) external view returns (bool[] memory held) {
        held = new bool[](cases.length);
        for (uint256 i = 0; i < cases.length; ++i) {
            Case calldata c = cases[i];
            held[i] = MerkleLog.verifyConsistency(c.oldRoot, c.oldSize, c.newRoot, c.newSize, c.proof);
        }
    }

    struct Place {
        bytes32 root;
        uint256 size;
        uint256 index;
        bytes32 leaf;
        bytes32[] proof;
    }

    function verifyInclusions(Place[] calldata places) external view returns (bool[] memory held) {
        held = new bool[](places.length);
        for (uint256 i = 0; i < places.length; ++i) {
            Place calldata p = places[i];
            held[i] = MerkleLog.verifyInclusion(p.root, p.size, p.index, p.leaf, p.proof);
        }
    }
}
