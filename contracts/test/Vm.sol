// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title The cheat codes of forge and halmos that our tests use.
interface Vm {
    function addr(uint256 privateKey) external pure returns (address);
    function sign(uint256 privateKey, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function prank(address caller) external;
    function startPrank(address caller) external;
    function stopPrank() external;
    function roll(uint256 blockNumber) external;
    function warp(uint256 timestamp) external;
    function assume(bool condition) external pure;
    function load(address account, bytes32 slot) external view returns (bytes32);
}

Vm constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
