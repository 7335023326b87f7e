// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {MEMBERSHIP, MIN_COSIGNERS, SITES} from "./Names.sol";
import {IAuditAnchor} from "./interfaces/IAuditAnchor.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {MemberId, SiteId} from "./interfaces/Types.sol";
import {MerkleLog} from "./libraries/MerkleLog.sol";
import {SignedHead} from "./libraries/SignedHead.sol";

/// @title Heads of the sites' audit logs.
/// @notice A site anchors whatever its standing: evidence is welcome from a suspended or retired site too.
contract AuditAnchor is IAuditAnchor, Governed {
    uint64 private constant WAIT = 10 minutes; // for cosignatures, until a head is called unwitnessed
    uint64 private constant AHEAD = 5 minutes; // that a cosigner's clock may be
    uint256 private constant MAX_COSIGNATURES = 64; // of one call
    uint256 private constant MAX_LOOKED = 8; // keys of one member that are remembered
    uint256 private constant INLINE = 160; // members whose bits stand in a head's facts
    uint256 private constant A_WORD = 256; // bits
    uint256 private constant A_COSIGNER = 1 << 80; // in a head's facts
    uint256 private constant FIRST_MEMBER = 1 << 96;

    /// @dev `facts` are, from the lowest bit: block (40 bits), its time (40), members counted (16), and a bit for each of
    /// them (160), n - 1 for the member number n. Packed by hand here and in `logs`: the compiler would write each for itself.
    struct Anchor {
        uint256 facts;
        bytes32 root;
    }

    /// @custom:storage-location erc7201:fatechain.storage.AuditAnchor
    struct AuditAnchorStorage {
        // From the lowest bit: the operator (160 bits) that anchored last, the size of that head (64), the number of the
        // site's member (32). The operator is looked up with the first head and after it changed, which the registry of
        // sites tells: that is a quarter of what a head costs.
        mapping(SiteId site => uint256) logs;
        mapping(SiteId site => mapping(uint64 size => Anchor)) heads;
        mapping(SiteId site => mapping(uint64 size => mapping(uint256 word => uint256))) more; // members beyond INLINE
        // `_mark` of the member that the address cosigns for, as the registries said; they tell when that is over. 0: ask.
        mapping(address account => uint256) cosigners;
        mapping(MemberId member => address[]) looked; // those of the member in `cosigners`
        mapping(MemberId member => uint256) numbers; // from 1, in the order in which they were met
        MemberId[] members; // by number - 1
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.AuditAnchor")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant AUDIT_ANCHOR_SLOT = 0x5b6a769019d8c3fb7cb28303b57f38e180e4232ae66eefa5fcad7a7d71b6b500;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    // ------------------------------------------------------------------ moves

    function anchor(
        SiteId site,
        uint64 size,
        bytes32 root,
        bytes32[] calldata proof,
        Cosignature[] calldata cosignatures
    ) external {
        uint256 log = _state().logs[site];
        uint256 owner = log >> 224;
        if (msg.sender != address(uint160(log))) owner = _requireOperator(site);
        mapping(uint64 size => Anchor) storage heads = _state().heads[site];
        uint64 anchored = _size(log);
        _requireConsistent(site, heads[anchored].root, anchored, size, root, proof);

        _state().logs[site] = owner << 224 | uint256(size) << 160 | uint160(msg.sender);
        uint256 facts = uint40(block.number) | uint256(uint40(block.timestamp)) << 40;
        if (cosignatures.length != 0) facts = _count(site, size, root, owner, facts, cosignatures);
        Anchor storage made = heads[size];
        made.facts = facts;
        made.root = root;
        emit Anchored(site, size, root, _cosigners(facts));
    }

    function cosign(SiteId site, uint64 size, Cosignature[] calldata cosignatures) external {
        Anchor storage found = _known(site, size);
        uint256 facts = _count(site, size, found.root, _state().logs[site] >> 224, found.facts, cosignatures);
        if (_cosigners(facts) == _cosigners(found.facts)) revert AnchorNothingCounted(site, size);
        found.facts = facts;
        emit Cosigned(site, size, _cosigners(facts));
    }

    function forgetOperator(SiteId site) external {
        if (msg.sender != _contractOf(SITES)) revert AnchorNotSites(msg.sender);
        _state().logs[site] &= ~uint256(type(uint160).max);
    }

    function forgetCosigners(MemberId member) external {
        bool mayForget = msg.sender == _consortium().findContract(SITES)
            || msg.sender == _consortium().findContract(MEMBERSHIP) || msg.sender == _consortium().authority();
        if (!mayForget) revert AnchorNotARegistry(msg.sender);
        _forget(member);
    }

    // ------------------------------------------------------------------ reading

    function head(SiteId site) external view returns (Head memory) {
        uint64 size = _size(_state().logs[site]);
        return _head(size, _state().heads[site][size]);
    }

    function headAt(SiteId site, uint64 size) external view returns (Head memory) {
        return _head(size, _known(site, size));
    }

    function stateOf(SiteId site, uint64 size) external view returns (State) {
        Head memory found = _head(size, _state().heads[site][size]);
        if (found.atBlock == 0) return State.None;
        if (found.cosigners >= cosignersNeeded()) return State.Witnessed;
        return block.timestamp < found.atTime + WAIT ? State.Pending : State.Unwitnessed;
    }

    function witnessOf(SiteId site, uint64 size) external view returns (uint256 count, MemberId[] memory members) {
        AuditAnchorStorage storage $ = _state();
        uint256 facts = $.heads[site][size].facts;
        members = new MemberId[](_cosigners(facts));
        for (uint256 bit = 0; count < members.length; ++bit) {
            if (_isCounted(site, size, facts, bit)) members[count++] = $.members[bit];
        }
    }

    function judge(SiteId site, uint64 size, Cosignature calldata cosignature)
        external
        view
        returns (Verdict verdict, address signer)
    {
        Anchor storage found = _known(site, size);
        bytes32 digest = checkpointDigest(site, size, found.root, cosignature.time);
        signer = SignedHead.signer(digest, cosignature.r, cosignature.vs);
        if (cosignature.time > block.timestamp + AHEAD) return (Verdict.FromTheFuture, signer);
        if (signer == address(0)) return (Verdict.BadSignature, signer);
        MemberId member = _sites().cosignerOf(signer);
        if (MemberId.unwrap(member) == 0) return (Verdict.NotACosigner, signer);
        uint256 number = _state().numbers[member]; // 0: never met, so not counted
        if (number == 0) return (Verdict.Counts, signer);
        if (number == _state().logs[site] >> 224) return (Verdict.OwnMember, signer);
        bool isCounted = _isCounted(site, size, found.facts, number - 1);
        return (isCounted ? Verdict.CountedAlready : Verdict.Counts, signer);
    }

    function cosignersNeeded() public view returns (uint256) {
        uint256 minimum = _consortium().minimum(MIN_COSIGNERS);
        return minimum == 0 ? 1 : minimum;
    }

    function checkpointDigest(SiteId site, uint64 size, bytes32 root, uint64 time) public view returns (bytes32) {
        return SignedHead.digest(SignedHead.domain(address(this)), SignedHead.message(site, size, root, time));
    }

    function verifyInclusion(SiteId site, uint64 size, uint64 index, bytes32 leafHash, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        if (proof.length > MerkleLog.MAX_PROOF) revert AnchorProofTooLong(proof.length, MerkleLog.MAX_PROOF);
        return MerkleLog.verifyInclusion(_known(site, size).root, size, index, leafHash, proof);
    }

    // ------------------------------------------------------------------ inside

    function _requireConsistent(
        SiteId site,
        bytes32 anchoredRoot,
        uint64 anchored,
        uint64 size,
        bytes32 root,
        bytes32[] calldata proof
    ) private view {
        if (size <= anchored || size > MerkleLog.MAX_SIZE) revert AnchorNotGrowing(site, size, anchored);
        uint256 allowed = anchored == 0 ? 0 : MerkleLog.MAX_PROOF;
        if (proof.length > allowed) revert AnchorProofTooLong(proof.length, allowed);
        bool isConsistent = anchored == 0 || MerkleLog.verifyConsistency(anchoredRoot, anchored, root, size, proof);
        if (!isConsistent) revert AnchorInconsistent(site, anchored, size);
    }

    /// @dev Returns the number of the site's member.
    function _requireOperator(SiteId site) private returns (uint256) {
        ISiteRegistry sites = _sites();
        if (sites.siteOf(msg.sender) != site || SiteId.unwrap(site) == 0) {
            revert ISiteRegistry.SiteNotOperator(site, msg.sender, sites.site(site).operator);
        }
        return _numberOf(sites.memberOf(site));
    }

    /// @dev `facts` with those that count now too; the caller stores them.
    function _count(
        SiteId site,
        uint64 size,
        bytes32 root,
        uint256 owner,
        uint256 facts,
        Cosignature[] calldata cosignatures
    ) private returns (uint256) {
        uint256 given = cosignatures.length;
        if (given > MAX_COSIGNATURES) revert AnchorTooManyCosignatures(given, MAX_COSIGNATURES);
        bytes32 domain = SignedHead.domain(address(this));
        SignedHead.Message memory said = SignedHead.message(site, size, root, 0);
        uint256 own = _mark(owner);
        for (uint256 i = 0; i < given; ++i) {
            uint256 mark = _cosigner(domain, said, cosignatures[i]);
            if (mark == own) continue;
            unchecked {
                // No member is counted twice, and of members there are fewer than the 16 bits hold.
                if (mark >= FIRST_MEMBER) {
                    if (facts & mark == 0) facts = (facts | mark) + A_COSIGNER;
                } else if (mark != 0 && _noteBeyond(site, size, mark - 1)) {
                    facts += A_COSIGNER;
                }
            }
        }
        return facts;
    }

    /// @dev `_mark` of the member for which this was signed; 0: for nobody now.
    function _cosigner(bytes32 domain, SignedHead.Message memory said, Cosignature calldata given)
        private
        returns (uint256 mark)
    {
        uint64 time = given.time;
        unchecked {
            if (time > block.timestamp + AHEAD) return 0;
        }
        said.time = time;
        address account = SignedHead.signer(SignedHead.digest(domain, said), given.r, given.vs);
        mark = _state().cosigners[account];
        if (mark == 0 && account != address(0)) mark = _lookUp(account);
    }

    function _lookUp(address account) private returns (uint256 mark) {
        MemberId member = _sites().cosignerOf(account);
        if (MemberId.unwrap(member) == 0) return 0;
        mark = _mark(_numberOf(member));
        if (_state().looked[member].length == MAX_LOOKED) _forget(member);
        _state().looked[member].push(account);
        _state().cosigners[account] = mark;
    }

    /// @dev The member's bit in a head's facts; its number where it has none there.
    function _mark(uint256 number) private pure returns (uint256) {
        unchecked {
            return number > INLINE ? number : FIRST_MEMBER << (number - 1); // numbers begin with 1
        }
    }

    function _forget(MemberId member) private {
        AuditAnchorStorage storage $ = _state();
        address[] storage accounts = $.looked[member];
        for (uint256 i = 0; i < accounts.length; ++i) {
            delete $.cosigners[accounts[i]];
        }
        delete $.looked[member];
    }

    function _numberOf(MemberId member) private returns (uint256 number) {
        AuditAnchorStorage storage $ = _state();
        number = $.numbers[member];
        if (number != 0) return number;
        $.members.push(member);
        number = $.members.length;
        $.numbers[member] = number;
    }

    /// @dev False where the member was counted already.
    function _noteBeyond(SiteId site, uint64 size, uint256 bit) private returns (bool) {
        (uint256 word, uint256 place) = _place(bit);
        uint256 before = _state().more[site][size][word];
        _state().more[site][size][word] = before | (1 << place);
        return before & (1 << place) == 0;
    }

    function _isCounted(SiteId site, uint64 size, uint256 facts, uint256 bit) private view returns (bool) {
        if (bit < INLINE) return facts & (FIRST_MEMBER << bit) != 0;
        (uint256 word, uint256 place) = _place(bit);
        return _state().more[site][size][word] & (1 << place) != 0;
    }

    function _place(uint256 bit) private pure returns (uint256 word, uint256 place) {
        return ((bit - INLINE) / A_WORD, (bit - INLINE) % A_WORD);
    }

    function _size(uint256 log) private pure returns (uint64) {
        return uint64(log >> 160);
    }

    function _cosigners(uint256 facts) private pure returns (uint16) {
        return uint16(facts >> 80);
    }

    function _head(uint64 size, Anchor storage found) private view returns (Head memory) {
        uint256 facts = found.facts;
        return Head(size, uint40(facts), found.root, uint40(facts >> 40), _cosigners(facts));
    }

    function _known(SiteId site, uint64 size) private view returns (Anchor storage found) {
        found = _state().heads[site][size];
        if (found.facts == 0) revert AnchorUnknown(site, size);
    }

    function _sites() private view returns (ISiteRegistry) {
        return ISiteRegistry(_contractOf(SITES));
    }

    function _state() private pure returns (AuditAnchorStorage storage $) {
        assembly {
            $.slot := AUDIT_ANCHOR_SLOT
        }
    }
}
