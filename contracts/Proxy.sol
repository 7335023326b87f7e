// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

// Compiled for its artifact: every contract of a consortium stands behind one.
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
