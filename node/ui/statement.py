"""The data-use statement as a page that stands alone and can be printed, in both languages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

LANGUAGES = ("en", "zh")
WORDS: Mapping[str, Mapping[str, Any]] = {
    "en": {
        "title": "Data-use statement",
        "provisional": "Provisional: the month is not over, and this statement may still change.",
        "owner": "Owner of the data",
        "month": "Month (UTC)",
        "blocks": "blocks",
        "issued": "Signed",
        "totals": "In short",
        "summary": "{uses} uses in {jobs} jobs, by {grantees} other members; "
        "{revoked} grants revoked",
        "uses": "Uses",
        "unused": "Not used in this month.",
        "when": "When",
        "by": "Who asked",
        "purpose": "Purpose",
        "algorithm": "Algorithm",
        "version": "Version",
        "grant": "Grant",
        "own": "the owner's own",
        "state": "State",
        "attested": "Attested by",
        "job": "Job",
        "grants": "Grants",
        "grantee": "Given to",
        "all": "all members",
        "until": "Until",
        "used": "Used",
        "left": "Left",
        "stops": "Work that was stopped",
        "stops_note": "As each site signed it; seconds count from the time of the block.",
        "site": "Site",
        "reason": "Reason",
        "block": "Block",
        "stopped": "Stopped",
        "seconds": "Seconds",
        "check": "How to check this",
        "how": "The signed statement is inside this page. Save it as JSON with "
        "`fatechain statement`, and hold it against the chain with `fatechain verify`: a use that "
        "was left out is found as surely as one that was made up.",
        "key": "Key",
        "signature": "Signature",
        "states": {},
    },
    "zh": {
        "title": "数据使用月报",
        "provisional": "临时版本：本月尚未结束，内容仍可能变化。",
        "owner": "数据所有者",
        "month": "月份（UTC）",
        "blocks": "区块",
        "issued": "签署",
        "totals": "概要",
        "summary": "{jobs} 个任务中共使用 {uses} 次，涉及 {grantees} 个其他成员；"
        "撤销授权 {revoked} 项",
        "uses": "使用记录",
        "unused": "本月未被使用。",
        "when": "时间",
        "by": "发起方",
        "purpose": "用途",
        "algorithm": "算法",
        "version": "版本",
        "grant": "授权",
        "own": "所有者自用",
        "state": "状态",
        "attested": "确认方数",
        "job": "任务",
        "grants": "授权",
        "grantee": "被授权方",
        "all": "全体成员",
        "until": "有效期至",
        "used": "已用次数",
        "left": "剩余次数",
        "stops": "被终止的任务",
        "stops_note": "由各站点签名确认；秒数自区块时间起算。",
        "site": "站点",
        "reason": "原因",
        "block": "区块",
        "stopped": "停止时间",
        "seconds": "秒",
        "check": "如何核验",
        "how": "签名原文已嵌入本页。用 `fatechain statement` 另存为 JSON，再用 `fatechain verify` "
        "与链上记录核对：遗漏或捏造的使用都会被发现。",
        "key": "公钥",
        "signature": "签名",
        "states": {
            "ACTIVE": "有效",
            "EXPIRED": "已过期",
            "USED_UP": "已用完",
            "REVOKED": "已撤销",
            "AMENDED": "已更替",
            "RUNNING": "运行中",
            "SUCCEEDED": "成功",
            "FAILED": "失败",
            "CANCELLED": "已取消",
        },
    },
}

ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
)


def render(statement: Mapping[str, Any], language: str) -> str:
    """One HTML document, with the signed JSON inside."""
    return ENVIRONMENT.get_template("statement.html").render(
        s=statement,
        stops=[{**receipt, "seconds": _seconds(receipt)} for receipt in statement["stops"]],
        w=WORDS[language],
        lang=language,
        time=time_text,
        embedded=embedded(statement),
    )


def embedded(value: Any) -> Markup:
    """JSON for a script element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    escaped = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Markup(escaped)  # noqa: S704 - escaped above, for a script element


def time_text(seconds: int) -> str:
    """UTC; a grant may last until a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "–"


def _seconds(receipt: Mapping[str, Any]) -> float | None:
    if receipt["blockTime"] is None:
        return None
    ended = datetime.fromisoformat(receipt["endedAt"]).timestamp()
    return round(max(0.0, ended - int(receipt["blockTime"])), 1)
