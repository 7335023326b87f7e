// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MemberId, SiteId} from "./Types.sol";

/// @title Heads of the sites' audit logs (RFC 6962, SHA-256), each proved consistent with the one before, and who of the
/// other members signed that it saw them.
/// @notice Nobody waits for a witness: a cosignature that does not count hinders no head, and late ones are added.
interface IAuditAnchor {
    enum State {
        None,
        Pending,
        Witnessed,
        Unwitnessed
    }

    /// @dev Why a cosignature counts or not, in the order of asking.
    enum Verdict {
        Counts,
        FromTheFuture, // more than five minutes ahead of the block
        BadSignature, // recovers to nobody, or has the higher s
        NotACosigner, // no "anchor" key that stands, of a site that stands, of an active member
        OwnMember, // of the member whose log it is
        CountedAlready // its member is
    }

    struct Head {
        uint64 size;
        uint64 atBlock;
        bytes32 root;
        uint64 atTime; // of that block
        uint16 cosigners; // members counted
    }

    /// @dev Over the EIP-712 message Checkpoint(bytes32 logId,uint64 size,bytes32 root,uint64 time), domain: name
    /// "FATE-Chain Checkpoint", version "1", chain id, this contract; logId is the site's id. The signature is EIP-2098's.
    struct Cosignature {
        uint64 time; // Unix seconds, the cosigner's word
        bytes32 r;
        bytes32 vs; // the lower s; the highest bit is 1 where v is 28
    }

    error AnchorNotGrowing(SiteId site, uint64 found, uint64 anchored);
    error AnchorInconsistent(SiteId site, uint64 fromSize, uint64 toSize);
    error AnchorUnknown(SiteId site, uint64 size);
    error AnchorNotSites(address caller);
    error AnchorNotARegistry(address caller);
    error AnchorProofTooLong(uint256 found, uint256 allowed);
    error AnchorTooManyCosignatures(uint256 found, uint256 allowed);
    error AnchorNothingCounted(SiteId site, uint64 size);

    /// @dev `cosigners`: how many members are counted for this head now; `witnessOf` names them.
    event Anchored(SiteId indexed site, uint64 indexed size, bytes32 root, uint16 cosigners);
    event Cosigned(SiteId indexed site, uint64 indexed size, uint16 cosigners);

    /// @notice By the operator of the site, whatever its standing. `proof`: RFC 6962 consistency from the anchored head; empty for the first head.
    /// Refused with AnchorNotGrowing where the size is not above that of the anchored head, or is above 2^53 - 1.
    /// @param cosignatures At most 64. One that does not count is passed over.
    function anchor(
        SiteId site,
        uint64 size,
        bytes32 root,
        bytes32[] calldata proof,
        Cosignature[] calldata cosignatures
    ) external;
    /// @notice By anyone: cosignatures of a head that is anchored, at most 64. Refused with AnchorNothingCounted where none
    /// of them counts.
    function cosign(SiteId site, uint64 size, Cosignature[] calldata cosignatures) external;
    /// @notice Only SiteRegistry: the site has another operator, or its operator is a lost account that was replaced; the one
    /// that anchored last does not go on.
    function forgetOperator(SiteId site) external;
    /// @notice By SiteRegistry, Membership and the authority: a key, a site or the member itself stands no more, so the keys
    /// by which the member cosigned are looked up again before one counts. Where another registry of sites or members is put
    /// into the address book, the vote does this for every member.
    function forgetCosigners(MemberId member) external;
    /// @notice The last head; all zero before the first.
    function head(SiteId site) external view returns (Head memory);
    /// @notice The root anchored at exactly this size, and its block; reverts when none was.
    function headAt(SiteId site, uint64 size) external view returns (Head memory);
    /// @notice Witnessed with `cosignersNeeded` or more; else Pending for ten minutes of block time, then Unwitnessed.
    function stateOf(SiteId site, uint64 size) external view returns (State);
    /// @notice The members that were in standing when their cosignature was counted. All zero where nothing is anchored.
    function witnessOf(SiteId site, uint64 size) external view returns (uint256 count, MemberId[] memory members);
    /// @notice Whether this cosignature of an anchored head counts now.
    function judge(SiteId site, uint64 size, Cosignature calldata cosignature)
        external
        view
        returns (Verdict verdict, address signer);
    /// @notice The consortium's minimum "min-cosigners", and at least one.
    function cosignersNeeded() external view returns (uint256);
    /// @notice What a site signs of its own head, and a witness of it.
    function checkpointDigest(SiteId site, uint64 size, bytes32 root, uint64 time) external view returns (bytes32);
    /// @notice Whether the leaf stands at `index` of the log of `size` anchored by the site.
    function verifyInclusion(SiteId site, uint64 size, uint64 index, bytes32 leafHash, bytes32[] calldata proof)
        external
        view
        returns (bool);
}
