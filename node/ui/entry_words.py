"""What every kind of entry of the log tells, in both languages.

In English it is what the schema says of the kind, but where that speaks of its subject as "it".
"""

from __future__ import annotations

from collections.abc import Mapping

from node.audit.schemas import EVENTS

ENGLISH: Mapping[str, str] = {
    "proposal.withdrawn": "its proposer withdrew the proposal",
    "proposal.queued": "the proposal passed and waits for its time",
    "proposal.executing": "the execution of the proposal was asked for",
    "proposal.executed": "what the proposal did was held against what was declared",
    "dispute.answered": "this member answered the dispute",
    "dispute.withdrawn": "its claimant withdrew the dispute",
    "api_key.revoked": "a program may not act for somebody any more",
}

CHINESE: Mapping[str, str] = {
    "site.registered": "本站点请求登记，或请求变更访问地址",
    "site.agreed": "一个账户同意运营本站点",
    "site.taken_over": "成员账户将站点交给另一运营账户",
    "site.retired": "一个弃用的站点已注销",
    "admission.requested": "一个机构申请加入",
    "admission.dismissed": "本站点不为该申请作保",
    "key.rotating": "已生成将接替旧密钥的新密钥",
    "key.switched": "本站点自此用新密钥签名",
    "key.ended": "旧密钥已失效",
    "key.abandoned": "新密钥已放弃",
    "key.revoked": "已请求终止一个密钥",
    "dataset.registered": "登记或撤回了一个数据集或其版本",
    "grant.signed": "数据所有者允许了一项使用",
    "grant.revoked": "数据所有者收回了授权",
    "job.proposed": "本站点提议了任务",
    "specification.received": "提议方送达了规范",
    "specification.refused": "送达的内容被拒绝",
    "job.waiting": "任务等待人工处理",
    "job.reminded": "提醒相关人员查看任务",
    "job.approved": "本站点批准了任务",
    "job.rejected": "本站点否决或退出了任务",
    "admission.decided": "依据授权、预算与策略判定当前是否允许运行",
    "request.refused": "链上拒绝了本站点的请求",
    "job.started": "任务开始运行",
    "job.ended": "任务已结束",
    "job.stopped": "任务在本站点的全部工作已停止，并有给各方的回执",
    "stop.received": "一个参与方告知其已停止",
    "task.started": "任务的一个步骤在此开始",
    "task.restarted": "任务的一个步骤在此重新开始",
    "task.finished": "任务的一个步骤在此顺利完成",
    "task.failed": "任务的一个步骤在此失败",
    "task.stopped": "任务的一个步骤在此被停止",
    "message.sent": "一个参与方确认收到了我方的消息",
    "message.received": "发给我方的消息已落盘",
    "message.refused": "一条消息被拒收",
    "result.attested": "本站点证实了结果",
    "model.registered": "任务的模型已登记上链",
    "prediction.made": "已用模型为样本评分",
    "reconciliation.made": "已核对任务各方的日志",
    "job.certified": "已签发证书",
    "rule.added": "一条常设规则自此批准任务",
    "rule.removed": "一条常设规则已终止",
    "person.added": "某人获准在本站点操作",
    "person.changed": "某人的角色已变更",
    "person.disabled": "某人不再获准在此操作",
    "person.signed_in": "一次会话开始",
    "person.signed_out": "一次会话结束",
    "person.refused": "一项请求因请求者身份被拒绝",
    "person.acted": "一个人或程序作出或尝试了变更",
    "api_key.created": "一个程序获准代某人操作",
    "api_key.revoked": "一个程序不再获准代某人操作",
    "evidence.read": "审计者查阅了证据",
    "audit.filed": "本站点请求另一站点出示证据",
    "audit.requested": "链上请求本站点出示证据",
    "audit.question.received": "请求的问题已送达本站点",
    "audit.question.refused": "请求的问题已送达本站点，但没有证据包可以答复",
    "audit.question.missing": "截止期前没有请求的问题送达本站点",
    "audit.answered": "本站点以证据包答复",
    "audit.pack.fetched": "提问站点首次取得了答复",
    "audit.answer.checked": "本站点将答复与问题、请求及链上内容核对",
    "audit.silence": "本站点提出或收到的请求逾期未获答复",
    "statement.made": "已生成并保存上一个月的数据使用声明",
    "anchor.made": "本日志的一个头已上链",
    "log.conflict": "另一站点的日志出示了两种历史",
    "log.challenged": "本站点须在链上证明其签署过的一个头",
    "site.marked": "链上已证明某站点的密钥为其日志签署了两种说法",
    "alert.raised": "监控发出告警",
    "alert.acknowledged": "有人表示已查看告警",
    "payload.erased": "一个范围的内容及其密钥已被擦除",
    "chain.unavailable": "区块链无响应或停滞",
    "chain.available": "区块链恢复响应",
    "proposal.made": "已提请投票",
    "proposal.withdrawn": "提案人撤回了提案",
    "proposal.queued": "提案已通过，等待生效时间",
    "proposal.executing": "已请求执行提案",
    "proposal.executed": "已将提案的实际效果与声明核对",
    "vote.cast": "本成员已投票",
    "ballot.relayed": "已代为提交他人签署的投票",
    "review.submitted": "代码已提交审查",
    "review.relayed": "已代为提交他人签署的审查意见",
    "person.appointed": "某人获准代表本成员",
    "person.dismissed": "某人不再代表本成员",
    "brake.pulled": "本成员请求全部停止",
    "emergency.opened": "两人在紧急情况下开放了访问",
    "emergency.lapsed": "一项紧急情况逾期未复核",
    "dispute.opened": "本成员提出争议",
    "dispute.answered": "本成员已答辩",
    "dispute.withdrawn": "提出方撤回了争议",
}

WORDS: Mapping[str, tuple[str, str]] = {
    **{
        f"entered.{kind}": (ENGLISH.get(kind, EVENTS[kind].meaning), words)
        for kind, words in CHINESE.items()
    },
    "entered.other": (
        "something of which this version has no words",
        "本版本没有相应文字的事项",
    ),
}
"""As the catalogue has them."""
