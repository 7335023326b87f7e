// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title Trees and proofs of RFC 6962, made as its definitions say: recursively, from the leaves.
/// @notice The contract checks by walking index bits; that both agree says something about each.
library Log {
    /// @notice MTH(leaves[from:to]), RFC 6962 § 2.1; the leaves are hashes already.
    function root(bytes32[] memory leaves, uint256 from, uint256 to) internal pure returns (bytes32) {
        if (to - from == 1) return leaves[from];
        uint256 middle = from + split(to - from);
        return sha256(abi.encodePacked(bytes1(0x01), root(leaves, from, middle), root(leaves, middle, to)));
    }

    /// @notice PATH(index, leaves), § 2.1.1.
    function inclusion(bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory) {
        return _inclusion(leaves, index, 0, leaves.length);
    }

    /// @notice PROOF(size, leaves), § 2.1.2.
    function consistency(bytes32[] memory leaves, uint256 size) internal pure returns (bytes32[] memory) {
        return _subproof(leaves, size, 0, leaves.length, true);
    }

    /// @notice The largest power of two below n; n > 1.
    function split(uint256 n) internal pure returns (uint256 k) {
        k = 1;
        while (2 * k < n) k *= 2;
    }

    function _inclusion(bytes32[] memory leaves, uint256 index, uint256 from, uint256 to)
        private
        pure
        returns (bytes32[] memory)
    {
        if (to - from == 1) return new bytes32[](0);
        uint256 middle = from + split(to - from);
        if (from + index < middle) return _add(_inclusion(leaves, index, from, middle), root(leaves, middle, to));
        return _add(_inclusion(leaves, from + index - middle, middle, to), root(leaves, from, middle));
    }

    /// @dev SUBPROOF(size, leaves[from:to], complete).
    function _subproof(bytes32[] memory leaves, uint256 size, uint256 from, uint256 to, bool complete)
        private
        pure
        returns (bytes32[] memory)
    {
        if (size == to - from) {
            bytes32[] memory none = new bytes32[](0);
            return complete ? none : _add(none, root(leaves, from, to));
        }
        uint256 k = split(to - from);
        if (size <= k) {
            return _add(_subproof(leaves, size, from, from + k, complete), root(leaves, from + k, to));
        }
        return _add(_subproof(leaves, size - k, from + k, to, false), root(leaves, from, from + k));
    }

    function _add(bytes32[] memory proof, bytes32 last) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](proof.length + 1);
        for (uint256 i = 0; i < proof.length; ++i) {
            longer[i] = proof[i];
        }
        longer[proof.length] = last;
    }
}
