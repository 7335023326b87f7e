"""What every event of the contracts tells, and what every call of them asks, in both languages.

``{name}`` is the argument of that name, or the field of a struct that is an argument; what each is
(a site, a time, an account) and how it is written says `node.ui.phrases`.  Names of events are
unique among the contracts but for the few that all of them have.
"""

from __future__ import annotations

from collections.abc import Mapping

Texts = Mapping[str, tuple[str, str]]

EVENTS: Texts = {
    # Jobs and models
    "JobProposed": (
        "{proposer} proposed the job {id} for “{purpose}” with the algorithm {algorithm}, to be "
        "done by {deadline}",
        "{proposer} 提议了用途为“{purpose}”、算法为 {algorithm} 的任务 {id}，期限为 {deadline}",
    ),
    "JobPartyAdded": (
        "{site} is a party of the job {id}, as {role}",
        "{site} 以 {role} 角色成为任务 {id} 的参与方",
    ),
    "JobApproval": ("{site} approved the job {id}", "{site} 批准了任务 {id}"),
    "JobApproved": (
        "all parties have approved the job {id}",
        "所有参与方均已批准任务 {id}",
    ),
    "JobRejected": (
        "{site} rejected the job {id}; reason: {reason}",
        "{site} 否决了任务 {id}；原因：{reason}",
    ),
    "JobStarted": (
        "the job {id} started; the grants that it needs were used",
        "任务 {id} 已启动；所需授权已使用",
    ),
    "JobAttested": (
        "{site} attested the result {result} of the job {id}",
        "{site} 证实了任务 {id} 的结果 {result}",
    ),
    "JobSucceeded": (
        "the job {id} succeeded: all parties attested the same result {result}",
        "任务 {id} 成功：所有参与方证实了同一结果 {result}",
    ),
    "JobFailed": (
        "{site} reported that the job {id} failed; reason: {reason}",
        "{site} 报告任务 {id} 失败；原因：{reason}",
    ),
    "JobCancelled": (
        "{site} cancelled the job {id}; reason: {reason}",
        "{site} 取消了任务 {id}；原因：{reason}",
    ),
    "JobExpired": (
        "the job {id} expired: its deadline passed before it was over",
        "任务 {id} 已过期：未在期限内完成",
    ),
    "ModelRegistered": (
        "{registrar} registered the model {id} of the job {job}, with the digest {modelDigest}",
        "{registrar} 登记了任务 {job} 的模型 {id}，摘要为 {modelDigest}",
    ),
    "ModelWithdrawn": ("the model {id} was withdrawn", "模型 {id} 已撤回"),
    # Data and grants
    "DatasetRegistered": (
        "{site} registered the dataset {id}, which {owner} owns",
        "{site} 登记了归 {owner} 所有的数据集 {id}",
    ),
    "DatasetVersionAdded": (
        "the dataset {id} got version {version}: {rows} rows, {columns} columns",
        "数据集 {id} 新增版本 {version}：{rows} 行，{columns} 列",
    ),
    "DatasetVersionEnded": (
        "version {version} of the dataset {id} was withdrawn",
        "数据集 {id} 的版本 {version} 已撤回",
    ),
    "ConsentGranted": (
        "{owner} granted {grantee} the use of the dataset {datasetId}: grant {id}",
        "{owner} 授权 {grantee} 使用数据集 {datasetId}：授权 {id}",
    ),
    "ConsentUsed": (
        "the job {job} used the grant {id}, which has now been used {used} times",
        "任务 {job} 使用了授权 {id}，该授权至今共使用 {used} 次",
    ),
    "ConsentRevocation": ("{owner} revoked the grant {id}", "{owner} 撤销了授权 {id}"),
    "ConsentAmendment": (
        "the grant {id} was amended: the grant {by} takes its place",
        "授权 {id} 已修订：由授权 {by} 取代",
    ),
    # Members and sites
    "MemberAdmitted": (
        "{id} was admitted as a member, with the account {account}",
        "{id} 被接纳为成员，账户为 {account}",
    ),
    "MemberSuspended": ("the member {id} was suspended", "成员 {id} 被暂停"),
    "MemberReinstated": ("the member {id} was reinstated", "成员 {id} 被恢复"),
    "MemberExpelled": ("the member {id} was expelled for ever", "成员 {id} 被永久除名"),
    "MemberLeaving": (
        "the member {id} announced that it leaves, from {from} on",
        "成员 {id} 宣布将退出，最早于 {from}",
    ),
    "MemberLeft": ("the member {id} left the consortium", "成员 {id} 退出了联盟"),
    "MemberRecovered": (
        "the member {id} got the account {to} instead of {from}",
        "成员 {id} 的账户由 {from} 改为 {to}",
    ),
    "SiteRegistered": (
        "{member} registered the site {id} at {endpoint}; its roles: {roles}",
        "{member} 登记了位于 {endpoint} 的站点 {id}；角色：{roles}",
    ),
    "SiteOperatorAgreed": (
        "the account {operator} agreed to operate the site {id}",
        "账户 {operator} 同意运营站点 {id}",
    ),
    "SiteOperatorChanged": (
        "the site {id} is operated by {to} instead of {from}",
        "站点 {id} 的运营账户由 {from} 改为 {to}",
    ),
    "SiteEndpointChanged": (
        "the site {id} is now reached at {endpoint}",
        "站点 {id} 的地址改为 {endpoint}",
    ),
    "SiteRolesChanged": (
        "the site {id} now has the roles: {roles}",
        "站点 {id} 的角色改为：{roles}",
    ),
    "SiteRetirement": ("the site {id} was retired", "站点 {id} 已停用"),
    "SiteKeyAdded": (
        "the site {id} added the key {key} for “{purpose}”",
        "站点 {id} 新增了用于“{purpose}”的密钥 {key}",
    ),
    "SiteKeyEnded": (
        "the key {key} of the site {id} for “{purpose}” ended",
        "站点 {id} 用于“{purpose}”的密钥 {key} 已终止",
    ),
    "Approval": (
        "the seat {tokenId} may be moved by {approved}",
        "席位 {tokenId} 可由 {approved} 转移",
    ),
    "ApprovalForAll": (
        "whether {operator} may move all seats of {owner}: {approved}",
        "{operator} 可否转移 {owner} 的全部席位：{approved}",
    ),
    "DelegateChanged": (
        "{delegator} lets {toDelegate} vote for it, no more {fromDelegate}",
        "{delegator} 的投票代表由 {fromDelegate} 改为 {toDelegate}",
    ),
    "DelegateVotesChanged": (
        "{delegate} now has {newVotes} votes, before {previousVotes}",
        "{delegate} 的票数由 {previousVotes} 变为 {newVotes}",
    ),
    "Locked": ("the seat of {tokenId} cannot be sold or given away", "{tokenId} 的席位不可转让"),
    "Unlocked": ("the seat of {tokenId} can be moved", "{tokenId} 的席位可转移"),
    "Transfer": (
        "the seat of {tokenId} went from {from} to {to}",
        "{tokenId} 的席位由 {from} 转至 {to}",
    ),
    # Logs
    "Anchored": (
        "{site} anchored the head of its log at {size} entries, root {root}, seen by {cosigners} "
        "other members",
        "{site} 锚定了 {size} 条条目处的日志树头，根为 {root}，已由 {cosigners} 个其他成员见证",
    ),
    "Cosigned": (
        "the head of the log of {site} at {size} entries is now seen by {cosigners} other members",
        "{site} 在 {size} 条条目处的日志树头现已由 {cosigners} 个其他成员见证",
    ),
    "SiteMarked": (
        "{site} is marked: its log lied at {size} entries ({kind})",
        "{site} 被标记：其日志在 {size} 条条目处作假（{kind}）",
    ),
    "ForkShown": (
        "it was shown that {site} signed two roots, {root} and {other}, for one log of {size} "
        "entries",
        "已证明 {site} 为同一 {size} 条条目的日志签署了两个根：{root} 与 {other}",
    ),
    "AnchoredForkShown": (
        "it was shown that {site} signed the root {root} and anchored {anchored} for one log of "
        "{size} entries",
        "已证明 {site} 为同一 {size} 条条目的日志签署了根 {root} 却锚定了 {anchored}",
    ),
    "ChallengeOpened": (
        "{challenger} challenged {site} to prove by {until} that its log of {size} entries "
        "continues what it anchored",
        "{challenger} 质询 {site}，要求其在 {until} 前证明 {size} 条条目的日志与已锚定的一致",
    ),
    "ChallengeAnswered": (
        "{site} answered the challenge {id} with a proof to its head at {anchoredSize} entries",
        "{site} 以至 {anchoredSize} 条条目树头的证明答复了质询 {id}",
    ),
    "ChallengeSettled": (
        "the challenge {id} was settled: {site} gave no proof in time",
        "质询 {id} 已了结：{site} 未按时给出证明",
    ),
    "AuditRequested": (
        "{by} asked {site} to account for itself by {until} ({kind}): audit request {id}",
        "{by} 要求 {site} 于 {until} 前接受审计（{kind}）：审计请求 {id}",
    ),
    "AuditAnswered": (
        "{site} answered the audit request {id} with the pack {pack}; too late: {isLate}",
        "{site} 以证据包 {pack} 答复了审计请求 {id}；是否逾期：{isLate}",
    ),
    # Rules of the consortium
    "ContractSet": (
        "“{name}” was entered into the address book, at {at}",
        "“{name}”已登入地址簿，地址为 {at}",
    ),
    "ContractUpgraded": (
        "the contract “{name}” was upgraded to the code at {implementation} with the hash "
        "{codeHash}",
        "合约“{name}”升级为位于 {implementation}、哈希为 {codeHash} 的代码",
    ),
    "ConstitutionChanged": (
        "the constitution is now the text with the digest {digest}",
        "章程现为摘要 {digest} 的文本",
    ),
    "AlgorithmAllowed": (
        "the algorithm “{name}” with the code {codeDigest} was allowed",
        "准许了代码为 {codeDigest} 的算法“{name}”",
    ),
    "AlgorithmForbidden": (
        "the algorithm with the code {codeDigest} was forbidden",
        "禁止了代码为 {codeDigest} 的算法",
    ),
    "SchemeAdmitted": ("the scheme “{scheme}” was admitted", "准许了方案“{scheme}”"),
    "SchemeWithdrawn": ("the scheme “{scheme}” was withdrawn", "取消了方案“{scheme}”"),
    "MinimumSet": (
        "the minimum “{name}” was set to {value}",
        "最低要求“{name}”设为 {value}",
    ),
    "PurposeAllowed": ("the purpose “{purpose}” was allowed", "允许了用途“{purpose}”"),
    "PurposeWithdrawn": ("the purpose “{purpose}” was withdrawn", "取消了用途“{purpose}”"),
    "AuthorityMoved": (
        "all power over the consortium went from {from} to {to}",
        "联盟的全部权力由 {from} 移交给 {to}",
    ),
    # Votes
    "ProposalCreated": (
        "{proposer} put the proposal {proposalId} to the vote: {description}",
        "{proposer} 将提案 {proposalId} 付诸表决：{description}",
    ),
    "ProposalCanceled": ("the proposal {proposalId} was cancelled", "提案 {proposalId} 已取消"),
    "ProposalWithdrawn": (
        "{proposer} withdrew the proposal {proposalId}",
        "{proposer} 撤回了提案 {proposalId}",
    ),
    "ProposalQueued": (
        "the proposal {proposalId} passed and may be carried out from {etaSeconds}",
        "提案 {proposalId} 已通过，可自 {etaSeconds} 起执行",
    ),
    "ProposalExecuted": ("the proposal {proposalId} was carried out", "提案 {proposalId} 已执行"),
    "ProposalExtended": (
        "the vote on the proposal {proposalId} goes on until block {extendedDeadline}: the quorum "
        "came late",
        "提案 {proposalId} 的表决延长至区块 {extendedDeadline}：法定票数较晚达到",
    ),
    "VoteCast": (
        "{voter} voted {support} on the proposal {proposalId}",
        "{voter} 对提案 {proposalId} 投了{support}",
    ),
    "VoteCastWithParams": (
        "{voter} voted {support} on the proposal {proposalId}",
        "{voter} 对提案 {proposalId} 投了{support}",
    ),
    "VotingDelaySet": (
        "votes begin {newVotingDelay} blocks after the proposal, before {oldVotingDelay}",
        "提案后开始投票的区块数由 {oldVotingDelay} 改为 {newVotingDelay}",
    ),
    "VotingPeriodSet": (
        "votes last {newVotingPeriod} blocks, before {oldVotingPeriod}",
        "投票持续的区块数由 {oldVotingPeriod} 改为 {newVotingPeriod}",
    ),
    "LateQuorumVoteExtensionSet": (
        "a late quorum leaves {newVoteExtension} more blocks, before {oldVoteExtension}",
        "法定票数较晚达到时保留的区块数由 {oldVoteExtension} 改为 {newVoteExtension}",
    ),
    "ProposalThresholdSet": (
        "who proposes needs {newProposalThreshold} votes, before {oldProposalThreshold}",
        "提案所需票数由 {oldProposalThreshold} 改为 {newProposalThreshold}",
    ),
    "QuorumMinimumSet": (
        "a quorum needs at least {to} votes, before {from}",
        "法定票数的下限由 {from} 改为 {to}",
    ),
    "TimelockChange": (
        "what passed is now carried out by {newTimelock} instead of {oldTimelock}",
        "执行通过提案的合约由 {oldTimelock} 改为 {newTimelock}",
    ),
    "CallScheduled": (
        "a call of {target} was scheduled by a vote, in {delay} seconds: operation {id}",
        "表决安排了对 {target} 的调用，{delay} 秒后可执行：操作 {id}",
    ),
    "CallExecuted": (
        "the scheduled call of {target} was made: operation {id}",
        "已执行对 {target} 的预定调用：操作 {id}",
    ),
    "CallSalt": ("the operation {id} has the salt {salt}", "操作 {id} 的盐值为 {salt}"),
    "Cancelled": ("the scheduled operation {id} was cancelled", "预定操作 {id} 已取消"),
    "MinDelayChange": (
        "what passed waits {newDuration} seconds, before {oldDuration}",
        "通过后等待的秒数由 {oldDuration} 改为 {newDuration}",
    ),
    "RoleAdminChanged": (
        "the role {role} is given by {newAdminRole} instead of {previousAdminRole}",
        "角色 {role} 的授予者由 {previousAdminRole} 改为 {newAdminRole}",
    ),
    "RoleGranted": (
        "{account} got the role {role} in the timelock, from {sender}",
        "{account} 由 {sender} 授予时间锁角色 {role}",
    ),
    "RoleRevoked": (
        "{account} lost the role {role} in the timelock, by {sender}",
        "{account} 的时间锁角色 {role} 被 {sender} 撤销",
    ),
    # Emergencies, disputes, reviews, attestations
    "BrakeVoiced": (
        "{member} pulls the emergency brake: {voices} of {needed} voices",
        "{member} 要求紧急制动：{voices}／{needed} 票",
    ),
    "BrakePaused": (
        "the emergency brake was pulled: nothing new starts until {until}",
        "紧急制动已启动：{until} 前不再启动新任务",
    ),
    "BrakeReleased": (
        "the emergency brake, which would have held until {until}, was released",
        "原定持续至 {until} 的紧急制动已解除",
    ),
    "BreakGlassOpened": (
        "two people of {owner} opened the emergency access {id} by the grant {grant} until "
        "{until}; to be reviewed by {reviewBy}",
        "{owner} 的两人以授权 {grant} 开启了至 {until} 的紧急访问 {id}；须于 {reviewBy} 前复核",
    ),
    "BreakGlassReviewed": (
        "the emergency access {id} of {owner} was reviewed; justified: {justified}",
        "{owner} 的紧急访问 {id} 已复核；是否正当：{justified}",
    ),
    "BreakGlassLapsed": (
        "the emergency access {id} of {owner} was never reviewed: {owner} is suspended",
        "{owner} 的紧急访问 {id} 逾期未复核：{owner} 被暂停",
    ),
    "DisputeOpened": (
        "{claimant} opened the dispute {id} with {respondent} about “{about}”, {subject}",
        "{claimant} 就“{about}”{subject} 与 {respondent} 发起争议 {id}",
    ),
    "DisputeAnswer": (
        "the dispute {id} was answered; digest of the answer {answer}",
        "争议 {id} 已答复；答复摘要 {answer}",
    ),
    "DisputeWithdrawal": ("the dispute {id} was withdrawn", "争议 {id} 已撤回"),
    "DisputeRuling": (
        "the dispute {id} was ruled: {ruling}",
        "争议 {id} 已裁定：{ruling}",
    ),
    "CodeSubmitted": (
        "{author} submitted the code {codeDigest}, “{name}”, for review",
        "{author} 提交了代码 {codeDigest}“{name}”供评审",
    ),
    "CodeReviewed": (
        "{person}, who speaks for {member}, reviewed the code {codeDigest}; approves: {approves}",
        "代表 {member} 的 {person} 评审了代码 {codeDigest}；是否赞成：{approves}",
    ),
    "PersonAppointed": (
        "{member} lets {person} review code for it",
        "{member} 指派 {person} 代其评审代码",
    ),
    "PersonDismissed": (
        "{person} speaks for {member} no more",
        "{person} 不再代表 {member}",
    ),
    "AttestationIssuerNamed": (
        "{issuer} may attest “{kind}”",
        "准许 {issuer} 签发“{kind}”证明",
    ),
    "AttestationIssuerRemoved": (
        "attestations of “{kind}” by {issuer} are trusted no more",
        "不再信任 {issuer} 签发的“{kind}”证明",
    ),
    "AttestationRequirementSet": (
        "whether parties of jobs need the attestation “{kind}”: {required}",
        "任务参与方是否须有“{kind}”证明：{required}",
    ),
    "AttestationGiven": (
        "{issuer} attested “{kind}” of {subject} until {until}",
        "{issuer} 为 {subject} 签发了有效至 {until} 的“{kind}”证明",
    ),
    "AttestationRevoked": (
        "{issuer} revoked the attestation “{kind}” of {subject}",
        "{issuer} 撤销了 {subject} 的“{kind}”证明",
    ),
    # Of every contract
    "Initialized": (
        "the contract {contract} was set up, version {version}",
        "合约 {contract} 已初始化，版本 {version}",
    ),
    "Upgraded": (
        "the contract {contract} runs the code at {implementation}",
        "合约 {contract} 运行位于 {implementation} 的代码",
    ),
    "EIP712DomainChanged": (
        "the signing domain of {contract} changed",
        "合约 {contract} 的签名域已更改",
    ),
}

CALLS: Texts = {
    # Jobs and models
    "JobRegistry.propose": (
        "propose a job for “{purpose}” with the algorithm {algorithm}, to be done by {deadline}",
        "提议用途为“{purpose}”、算法为 {algorithm}、期限为 {deadline} 的任务",
    ),
    "JobRegistry.approve": ("approve the job {id} for {site}", "代表 {site} 批准任务 {id}"),
    "JobRegistry.reject": (
        "reject the job {id} for {site}; reason: {reason}",
        "代表 {site} 否决任务 {id}；原因：{reason}",
    ),
    "JobRegistry.start": ("start the job {id}", "启动任务 {id}"),
    "JobRegistry.attest": (
        "attest for {site} that the job {id} has the result {result}",
        "代表 {site} 证实任务 {id} 的结果为 {result}",
    ),
    "JobRegistry.fail": (
        "report for {site} that the job {id} failed; reason: {reason}",
        "代表 {site} 报告任务 {id} 失败；原因：{reason}",
    ),
    "JobRegistry.cancel": (
        "cancel the job {id} for {site}; reason: {reason}",
        "代表 {site} 取消任务 {id}；原因：{reason}",
    ),
    "JobRegistry.expire": (
        "end the job {id}, whose deadline passed",
        "终止已逾期的任务 {id}",
    ),
    "ModelRegistry.register": (
        "register the model of the job {job} for {site}, with the digest {modelDigest}",
        "代表 {site} 登记任务 {job} 的模型，摘要为 {modelDigest}",
    ),
    "ModelRegistry.withdraw": (
        "withdraw the model {id} for {site}",
        "代表 {site} 撤回模型 {id}",
    ),
    # Data and grants
    "DatasetRegistry.register": (
        "register the dataset “{name}” of {site}: {rows} rows, {columns} columns",
        "登记 {site} 的数据集“{name}”：{rows} 行，{columns} 列",
    ),
    "DatasetRegistry.addVersion": (
        "add a version to the dataset {id}: {rows} rows, {columns} columns",
        "为数据集 {id} 新增版本：{rows} 行，{columns} 列",
    ),
    "DatasetRegistry.withdrawVersion": (
        "withdraw version {number} of the dataset {id}",
        "撤回数据集 {id} 的版本 {number}",
    ),
    "ConsentRegistry.grant": (
        "grant {grantee} the use of the dataset {datasetId} until {until}, {uses} times",
        "授权 {grantee} 使用数据集 {datasetId}，至 {until}，共 {uses} 次",
    ),
    "ConsentRegistry.grantInEmergency": (
        "grant {grantee} the use of the dataset {datasetId} in an emergency, until {until}",
        "紧急授权 {grantee} 使用数据集 {datasetId}，至 {until}",
    ),
    "ConsentRegistry.revoke": ("revoke the grant {id}", "撤销授权 {id}"),
    "ConsentRegistry.revokeBySignature": (
        "revoke the grant {id}, as its owner signed",
        "依所有者签名撤销授权 {id}",
    ),
    "ConsentRegistry.consume": (
        "use the grant {id} for the job {job}",
        "为任务 {job} 使用授权 {id}",
    ),
    # Members and sites
    "Membership.leave": (
        "leave the consortium, or announce it",
        "退出联盟，或宣布退出",
    ),
    "Membership.suspendUnreviewed": (
        "suspend the member {id}, whose emergency access was never reviewed",
        "暂停紧急访问逾期未复核的成员 {id}",
    ),
    "Membership.safeTransferFrom": (
        "move the seat {tokenId} from {from} to {to}",
        "将席位 {tokenId} 由 {from} 移至 {to}",
    ),
    "SiteRegistry.register": (
        "register the site “{name}” at {endpoint}, operated by {operator}; its roles: {roles}",
        "登记位于 {endpoint}、由 {operator} 运营的站点“{name}”；角色：{roles}",
    ),
    "SiteRegistry.agree": ("agree to operate the site {id}", "同意运营站点 {id}"),
    "SiteRegistry.changeOperator": (
        "let {operator} operate the site {id}",
        "由 {operator} 运营站点 {id}",
    ),
    "SiteRegistry.forgetReplaced": (
        "look up again which sites the replaced account {account} operated",
        "重新查询被替换的账户 {account} 曾运营的站点",
    ),
    "SiteRegistry.setEndpoint": (
        "be reached at {endpoint}, as the site {id}",
        "将站点 {id} 的地址设为 {endpoint}",
    ),
    "SiteRegistry.setRoles": (
        "give the site {id} the roles: {roles}",
        "将站点 {id} 的角色设为：{roles}",
    ),
    "SiteRegistry.retire": ("retire the site {id}", "停用站点 {id}"),
    "SiteRegistry.addKey": (
        "add a key for “{purpose}” to the site {id}",
        "为站点 {id} 新增用于“{purpose}”的密钥",
    ),
    "SiteRegistry.revokeKey": (
        "end the key {keyId} of the site {id}",
        "终止站点 {id} 的密钥 {keyId}",
    ),
    # Logs
    "AuditAnchor.anchor": (
        "anchor the head of the log of {site} at {size} entries, root {root}",
        "锚定 {site} 在 {size} 条条目处的日志树头，根为 {root}",
    ),
    "AuditAnchor.cosign": (
        "add witnesses to the head of the log of {site} at {size} entries",
        "为 {site} 在 {size} 条条目处的日志树头补充见证",
    ),
    "AuditAnchor.forgetOperator": (
        "look up again who operates {site}",
        "重新查询 {site} 的运营账户",
    ),
    "AuditRequests.file": (
        "ask {site} to account for itself ({kind})",
        "要求 {site} 接受审计（{kind}）",
    ),
    "AuditRequests.answer": (
        "answer the audit request {id} with the pack {pack}",
        "以证据包 {pack} 答复审计请求 {id}",
    ),
    "Equivocations.proveFork": (
        "show that {site} signed two roots for one size of its log",
        "证明 {site} 为同一大小的日志签署了两个根",
    ),
    "Equivocations.proveAnchoredFork": (
        "show that {site} signed another root than it anchored",
        "证明 {site} 签署的根与其锚定的不同",
    ),
    "Equivocations.challenge": (
        "challenge {site} to prove that its log of {size} entries continues what it anchored",
        "质询 {site}，要求证明 {size} 条条目的日志与已锚定的一致",
    ),
    "Equivocations.answerChallenge": (
        "answer the challenge {id} with a proof to the head at {anchoredSize} entries",
        "以至 {anchoredSize} 条条目树头的证明答复质询 {id}",
    ),
    "Equivocations.settle": (
        "settle the challenge {id}, which nobody answered in time",
        "了结逾期未答复的质询 {id}",
    ),
    # Votes
    "ConsortiumGovernor.propose": (
        "put to the vote: {description}",
        "付诸表决：{description}",
    ),
    "ConsortiumGovernor.castVote": (
        "vote {support} on the proposal {proposalId}",
        "对提案 {proposalId} 投{support}",
    ),
    "ConsortiumGovernor.castVoteBySig": (
        "bring the vote of {voter} on the proposal {proposalId}: {support}",
        "提交 {voter} 对提案 {proposalId} 的票：{support}",
    ),
    "ConsortiumGovernor.castVoteWithReason": (
        "vote {support} on the proposal {proposalId}",
        "对提案 {proposalId} 投{support}",
    ),
    "ConsortiumGovernor.castVoteWithReasonAndParams": (
        "vote {support} on the proposal {proposalId}",
        "对提案 {proposalId} 投{support}",
    ),
    "ConsortiumGovernor.castVoteWithReasonAndParamsBySig": (
        "bring the vote of {voter} on the proposal {proposalId}: {support}",
        "提交 {voter} 对提案 {proposalId} 的票：{support}",
    ),
    "ConsortiumGovernor.cancel": (
        "cancel a proposal of {targets} before its vote",
        "在表决前取消针对 {targets} 的提案",
    ),
    "ConsortiumGovernor.withdraw": (
        "withdraw the proposal {proposalId}",
        "撤回提案 {proposalId}",
    ),
    "ConsortiumGovernor.queue": (
        "queue a passed proposal that calls {targets}",
        "将调用 {targets} 的已通过提案排队",
    ),
    "ConsortiumGovernor.execute": (
        "carry out a passed proposal that calls {targets}",
        "执行调用 {targets} 的已通过提案",
    ),
    "ConsortiumGovernor.relay": (
        "call {target} in the governor's name",
        "以治理合约之名调用 {target}",
    ),
    "ConsortiumGovernor.setProposalThreshold": (
        "need {newProposalThreshold} votes to propose",
        "提案所需票数设为 {newProposalThreshold}",
    ),
    "ConsortiumGovernor.updateTimelock": (
        "let {newTimelock} carry out what passed",
        "由 {newTimelock} 执行通过的提案",
    ),
    "TimelockController.schedule": (
        "schedule a call of {target} in {delay} seconds",
        "安排 {delay} 秒后调用 {target}",
    ),
    "TimelockController.scheduleBatch": (
        "schedule calls of {targets} in {delay} seconds",
        "安排 {delay} 秒后调用 {targets}",
    ),
    "TimelockController.execute": (
        "make the scheduled call of {target}",
        "执行对 {target} 的预定调用",
    ),
    "TimelockController.executeBatch": (
        "make the scheduled calls of {targets}",
        "执行对 {targets} 的预定调用",
    ),
    "TimelockController.cancel": (
        "cancel the scheduled operation {id}",
        "取消预定操作 {id}",
    ),
    "TimelockController.grantRole": (
        "give {account} the role {role} in the timelock",
        "授予 {account} 时间锁角色 {role}",
    ),
    "TimelockController.revokeRole": (
        "take the role {role} in the timelock from {account}",
        "撤销 {account} 的时间锁角色 {role}",
    ),
    "TimelockController.renounceRole": (
        "give up the role {role} in the timelock",
        "放弃时间锁角色 {role}",
    ),
    # Emergencies, disputes, reviews, attestations
    "Brake.pull": (
        "pull the emergency brake; digest of the reason {reason}",
        "要求紧急制动；理由摘要 {reason}",
    ),
    "BreakGlass.open": (
        "open emergency access for {grantee} to the dataset {datasetId}, as {first} and {second} "
        "signed",
        "依 {first} 与 {second} 的签名，为 {grantee} 开启对数据集 {datasetId} 的紧急访问",
    ),
    "BreakGlass.lapse": (
        "suspend whose emergency access {id} was never reviewed",
        "因紧急访问 {id} 逾期未复核而暂停其成员",
    ),
    "Disputes.open": (
        "open a dispute with {respondent} about “{about}”, {subject}",
        "就“{about}”{subject} 与 {respondent} 发起争议",
    ),
    "Disputes.answer": ("answer the dispute {id}", "答复争议 {id}"),
    "Disputes.withdraw": ("withdraw the dispute {id}", "撤回争议 {id}"),
    "Reviews.submit": (
        "submit the code {codeDigest}, “{name}”, for review",
        "提交代码 {codeDigest}“{name}”供评审",
    ),
    "Reviews.appoint": ("let {person} review code", "指派 {person} 评审代码"),
    "Reviews.dismiss": ("let {person} review code no more", "不再由 {person} 评审代码"),
    "Reviews.review": (
        "bring the review of the code {codeDigest} that a person signed; approves: {approves}",
        "提交由个人签署的对代码 {codeDigest} 的评审；是否赞成：{approves}",
    ),
    "Attestations.attest": (
        "attest “{kind}” of {subject} until {until}",
        "为 {subject} 签发有效至 {until} 的“{kind}”证明",
    ),
    "Attestations.revoke": (
        "revoke the attestation “{kind}” of {subject}",
        "撤销 {subject} 的“{kind}”证明",
    ),
    # Of every contract
    "initialize": ("set up the contract {contract}", "初始化合约 {contract}"),
    "upgradeToAndCall": (
        "let the contract {contract} run the code at {newImplementation}",
        "使合约 {contract} 运行位于 {newImplementation} 的代码",
    ),
}
"""Beside those that proposals make, whose words stand in the catalogue as the chain says them."""

ENUMERATED: Texts = {
    "support.0": ("against", "反对票"),
    "support.1": ("for", "赞成票"),
    "support.2": ("abstain", "弃权票"),
    "ruling.1": ("upheld", "支持"),
    "ruling.2": ("dismissed", "驳回"),
    "mark.1": ("two signed checkpoints of one size", "同一大小签署了两个检查点"),
    "mark.2": ("signed another root than it anchored", "签署的根与锚定的不同"),
    "mark.3": ("a challenge it did not answer", "未答复质询"),
    "role.1": ("data owner", "数据所有者"),
    "role.2": ("model user", "模型使用者"),
    "role.4": ("coordinator", "协调者"),
    "role.8": ("auditor", "审计者"),
}
"""Numbers that the contracts have for words."""

OTHERS: Texts = {
    "event.other": (
        "{contract}.{name}, of which this version has no words",
        "{contract}.{name}（本版本没有相应文字）",
    ),
    "event.argument.lacking": ("(not told)", "（未给出）"),
    "event.nobody": ("nobody", "无"),
}

WORDS: Texts = {
    **{f"event.{name}": texts for name, texts in EVENTS.items()},
    **{f"call.{name}": texts for name, texts in CALLS.items()},
    **{f"enumerated.{name}": texts for name, texts in ENUMERATED.items()},
    **OTHERS,
}
"""As the catalogue has them."""
