// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

// Compiled for their artifacts: the registries of a consortium stand behind a proxy each, and what a vote decided waits
// in the timelock.
// solhint-disable no-unused-import
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
