// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title Lists of identifiers, read a page at a time.
library Pages {
    /// @notice At most `limit` of `all`, from `offset` on; empty beyond the end.
    function slice(bytes32[] storage all, uint256 offset, uint256 limit) internal view returns (bytes32[] memory page) {
        uint256 total = all.length;
        if (offset >= total) return page;
        uint256 rest = total - offset;
        uint256 length = limit < rest ? limit : rest;
        page = new bytes32[](length);
        for (uint256 i = 0; i < length; ++i) {
            page[i] = all[offset + i];
        }
    }
}
