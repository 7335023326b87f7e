// SPDX-License-Identifier: CC0-1.0
pragma solidity ^0.8.27;

/// @title ERC-5192: tokens that do not move.
interface IERC5192 {
    event Locked(uint256 tokenId);
    event Unlocked(uint256 tokenId);

    function locked(uint256 tokenId) external view returns (bool);
}
