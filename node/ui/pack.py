"""The report in an evidence pack: what it holds, for people, in both languages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node.ui.statement import ENVIRONMENT, LANGUAGES, time_text

__all__ = ["LANGUAGES", "render"]

MOST = 500  # rows of a table; the rest is in the file
MOST_TEXT = 200  # characters of a value

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Evidence pack",
        "words": "This report is the issuer's words. What proves is the file around it: "
        "hold it against the chain with `fatechain verify`.",
        "issuer": "Site that issued it",
        "issued": "Signed",
        "period": "Period (UTC)",
        "blocks": "blocks",
        "site": "Site",
        "dataset": "Dataset",
        "redacted": "Hidden",
        "nothing": "nothing",
        "log": "Audit log",
        "range": "entries {first} to {end} of {size}, none left out: {shown} shown, {hidden} as "
        "bare hashes; anchored in block {block}",
        "state": "Storage proof",
        "proved": "against the header of block {block}",
        "unproved": "not included: the chain has to be asked for the anchored head",
        "jobs": "Jobs",
        "job": "Job",
        "purpose": "Purpose",
        "status": "State",
        "parties": "Parties",
        "when": "Time",
        "certificate": "Certificate",
        "within": "in the pack",
        "grants": "Grants",
        "grant": "Grant",
        "grantee": "Given to",
        "all": "all members",
        "used": "Used",
        "left": "Left",
        "governance": "Decisions and memberships",
        "block": "Block",
        "what": "What",
        "transaction": "Transaction",
        "entries": "Entries",
        "more": "The first {most} are listed; all are in the file.",
        "index": "No.",
        "subject": "About",
        "told": "Fields",
        "erased": "erased",
        "keys": "Keys",
        "key": "Public key",
        "valid": "Blocks",
    },
    "zh": {
        "title": "监管证据包",
        "words": "本报告为签发方的说明；真正的证据是包含它的文件，"
        "请用 `fatechain verify` 与链上记录核对。",
        "issuer": "签发站点",
        "issued": "签署",
        "period": "期间（UTC）",
        "blocks": "区块",
        "site": "站点",
        "dataset": "数据集",
        "redacted": "已隐去",
        "nothing": "无",
        "log": "审计日志",
        "range": "第 {first} 至 {end} 条（共 {size} 条），无遗漏：展示 {shown} 条，"
        "{hidden} 条仅给出哈希；锚定于区块 {block}",
        "state": "存储证明",
        "proved": "依据区块 {block} 的区块头",
        "unproved": "未包含：锚定的日志头须向链查询",
        "jobs": "任务",
        "job": "任务",
        "purpose": "用途",
        "status": "状态",
        "parties": "参与方",
        "when": "时间",
        "certificate": "证书",
        "within": "已包含",
        "grants": "授权",
        "grant": "授权",
        "grantee": "被授权方",
        "all": "全体成员",
        "used": "已用",
        "left": "剩余",
        "governance": "治理与成员变动",
        "block": "区块",
        "what": "事件",
        "transaction": "交易",
        "entries": "日志条目",
        "more": "仅列出前 {most} 条，其余见文件。",
        "index": "序号",
        "subject": "对象",
        "told": "内容",
        "erased": "已删除",
        "keys": "密钥",
        "key": "公钥",
        "valid": "有效区块",
    },
}


def render(pack: Mapping[str, Any], language: str) -> str:
    """One HTML document that stands alone."""
    return ENVIRONMENT.get_template("pack.html").render(
        p=pack,
        shown=[part for part in pack["log"]["entries"] if not isinstance(part, str)],
        certified={part["job"] for part in pack["certificates"]},
        w=WORDS[language],
        lang=language,
        time=time_text,
        told=_told,
        most=MOST,
    )


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"
