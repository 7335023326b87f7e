// Every word of the page, in English and Chinese. Identifiers are written the same in both.

import { isObject } from "./canonical.js";

export const LANGUAGES = { en: "English", zh: "中文" };
const MOST = 200; // characters of a value that are shown

export const WORDS = {
  title: ["Verify a certificate or an evidence pack", "验证证书或证据包"],
  intro: [
    "Choose the certificate of a job, or an evidence pack. This page checks it here, in your browser. It sends nothing: it cannot reach any network.",
    "请选择任务的证书或证据包。本页仅在您的浏览器中核对，不发送任何内容：它无法访问任何网络。",
  ],
  choose: ["Choose a certificate or a pack, or drop it here", "选择证书或证据包，或将其拖放到此处"],
  language: ["Language", "语言"],
  working: ["Checking {file} …", "正在核对 {file}……"],
  holds: [
    "{file} holds together: {count} checks. Only the chain can tell the rest.",
    "{file} 自身一致：通过 {count} 项核对。其余只有区块链能证实。",
  ],
  fails: ["{file} does NOT hold: {where}", "{file} 无效：{where}"],
  unable: [
    "This browser cannot check signatures here. Save this page, open it from your disk, and use a recent browser (Chromium 137, Firefox 130, Safari 17 or later).",
    "此浏览器在这里无法核对签名。请保存本页，从磁盘打开，并使用较新的浏览器（Chromium 137、Firefox 130、Safari 17 或更高版本）。",
  ],
  unreadable: ["{file} cannot be read.", "无法读取 {file}。"],
  checks: ["What was checked", "核对内容"],
  "column.check": ["Check", "核对"],
  "column.where": ["Where in the file", "文件中的位置"],
  "column.says": ["What it says", "结果"],
  good: ["holds", "有效"],
  bad: ["does not hold", "无效"],
  about: ["What the certificate states", "证书的内容"],
  "about.job": ["Job", "任务"],
  "about.consortium": ["Consortium", "联盟"],
  "about.chain": ["Chain", "区块链"],
  "about.purpose": ["Purpose", "用途"],
  "about.parties": ["Parties", "参与方"],
  "about.result": ["Result", "结果"],
  "about.issued": ["Issued", "签发"],
  "about.key": ["Signed with the key", "签名密钥"],
  open: ["Only the chain can tell", "只有区块链能证实"],
  "open.why": [
    "Anybody can make keys and a file that agrees with itself. Hold the certificate against a chain that you trust:",
    "任何人都可以制作密钥和自身一致的文件。请将证书与您信任的区块链核对：",
  ],
  "open.network": [
    "that this consortium and its registry of jobs stand on this chain",
    "该联盟及其任务登记合约确实在此链上",
  ],
  "open.job": ["that the job is the one on chain, and succeeded", "该任务与链上一致，并且已成功"],
  "open.parties": [
    "members in standing, their request keys, approvals, data, and grants in force",
    "成员资格、请求密钥、批准、数据以及有效的授权",
  ],
  "open.algorithm": [
    "that the consortium allowed the code when the job started",
    "任务开始时联盟允许该代码",
  ],
  "open.result": ["that each party attested this result", "每个参与方都确认了该结果"],
  "open.model": [
    "that the model is registered as made by this job",
    "该模型登记为由此任务产生",
  ],
  "open.logs": [
    "that each site anchored the head of its log, and these members cosigned it",
    "每个站点都锚定了其日志的头部，且所列成员联署了它",
  ],
  "open.reconciliation": [
    "that the keys of the receipts were the sites' while the job ran",
    "任务运行期间回执密钥确属各站点",
  ],

  "about.site": ["Site of the log", "日志所属站点"],
  "about.period": ["Period", "期间"],
  "about.scope": ["Only what concerns", "仅涉及"],
  "about.redacted": ["Hidden", "已隐去"],
  "about.jobs": ["Jobs", "任务数"],
  "open.pack.network": ["that this consortium stands on this chain", "该联盟确实在此链上"],
  "open.pack.issued": [
    "that the key is an audit key of the site of the log",
    "该密钥是日志所属站点的审计密钥",
  ],
  "open.pack.log": ["that the site anchored this head of its log", "该站点锚定了日志的这一头部"],
  "open.pack.chain": [
    "a storage proof against a block's header, which this page does not check",
    "针对区块头的存储证明；本页不核对",
  ],
  "open.pack.jobs": [
    "that these are all jobs, grants, models, decisions and keys of the scope",
    "范围内的任务、授权、模型、决定和密钥均已列出",
  ],
  "open.pack.certificates": [
    "that each job, its parties and its result are on chain as certified",
    "各任务、参与方和结果与链上一致",
  ],

  "name.signature": ["Signature", "签名"],
  "name.scope": ["Scope", "范围"],
  "name.log": ["Audit log", "审计日志"],
  "name.chain": ["Storage proof", "存储证明"],
  "name.certificate": ["Certificate", "证书"],
  "name.certificates": ["Certificates", "证书"],
  "name.issued": ["Issuer", "签发者"],
  "name.jobs": ["Jobs and grants", "任务与授权"],
  "name.format": ["Form of the file", "文件格式"],
  "name.sections": ["Sections", "各部分"],
  "name.signatures": ["Signatures", "签名"],
  "name.specification": ["Specification", "任务规格"],
  "name.result": ["Result", "结果"],
  "name.model": ["Model", "模型"],
  "name.logs": ["Audit logs", "审计日志"],
  "name.steps": ["Steps", "步骤"],
  "name.reconciliation": ["Reconciliation of the logs", "日志对账"],
  "name.network": ["Network", "网络"],
  "name.job": ["Job", "任务"],
  "name.parties": ["Parties", "参与方"],
  "name.algorithm": ["Code", "代码"],

  differs: ["found {found}, expected {expected}", "实为 {found}，应为 {expected}"],
  cannot: ["cannot be checked: {error}", "无法核对：{error}"],
  nothing: ["nothing", "空"],

  "format.holds": ["canonical JSON with every field of a certificate", "规范 JSON，证书字段齐全"],
  "form.canonical": ["canonical JSON and a newline", "规范 JSON 加一个换行符"],
  "form.bytes": ["{n} bytes", "{n} 字节"],
  "form.at.most": ["at most {n}", "至多 {n}"],
  "form.no.newline": ["no newline at the end", "末尾没有换行符"],
  "form.not.utf8": ["bytes that are not UTF-8", "非 UTF-8 字节"],
  "form.deep": ["deeper nesting", "更深的嵌套"],
  "form.levels": ["at most {n} levels", "至多 {n} 层"],
  "form.not.json": ["what is not JSON, or has no canonical form", "不是 JSON，或没有规范形式"],
  "form.other": ["other bytes than the canonical form", "与规范形式不同的字节"],
  "shape.certificate": ["a certificate", "证书"],
  "shape.missing": ["no such field", "缺少该字段"],
  "shape.extra": ["a field that no certificate has", "证书没有的字段"],
  "shape.text": ["a value that is no text of this form", "不符合格式的文本"],
  "shape.number": ["a value that is no whole number in range", "不在范围内的整数"],
  "shape.constant": ["another value", "其他值"],
  "shape.object": ["a value that is no object", "不是对象的值"],
  "shape.list": ["a value that is no list", "不是列表的值"],
  "shape.long": ["a longer list", "过长的列表"],
  "shape.short": ["a shorter list", "过短的列表"],
  "sections.holds": ["has the digest that was signed", "摘要与所签名的一致"],
  "signatures.holds": ["site {site} signed the sections", "站点 {site} 已对各部分签名"],
  "signatures.none": ["none by the issuer", "没有签发者的签名"],
  "signatures.issuer": ["one by {by}", "{by} 的签名"],
  "signatures.twice": ["a signature twice", "重复的签名"],
  "signatures.once": ["each key once", "每个密钥一次"],
  "signatures.party": ["a party of the job", "任务的参与方"],
  "signatures.key": [
    "the site's request key in the file; whether it held another, the chain tells",
    "文件中该站点的请求密钥；是否另有密钥，由区块链证实",
  ],
  "signatures.other": ["another signature", "另一个签名"],
  "signatures.sections": ["one of the sections", "对各部分的签名"],
  "specification.digest": ["has the digest that the parties approved", "摘要与各方批准的一致"],
  "specification.names": [
    "names the parties, data, grants and code of the job",
    "与任务的参与方、数据、授权和代码一致",
  ],
  "result.digest": ["is the digest of the parts and the metrics", "是各部分与指标的摘要"],
  "result.attested": ["site {site} attested it in its log", "站点 {site} 在其日志中确认了它"],
  "model.none": ["a prediction makes no model", "预测不产生模型"],
  "model.holds": ["has the digest of the parts of the result", "摘要与结果的各部分一致"],
  "logs.holds": [
    "{count} entries of site {site} stand under the head that the file names; {k} of {of} cosigned it",
    "站点 {site} 的 {count} 条记录在文件所列的日志头部之下；{of} 个见证中有 {k} 个联署",
  ],
  "entry.no.object": ["no object", "不是对象"],
  "entry.object": ["an object", "对象"],
  "entry.commitment": ["a commitment of 64 hex digits", "64 位十六进制承诺值"],
  "entry.no.field": ["a field that the entry does not have", "该记录没有的字段"],
  "entry.field": ["one of its fields", "该记录的字段"],
  "entry.no.disclosure": ["no disclosure", "不是披露内容"],
  "entry.disclosure": ["a salt of 64 hex digits, and a value", "64 位十六进制盐值和一个值"],
  "entry.other": ["another value", "另一个值"],
  "entry.committed": ["the one that was committed to", "所承诺的值"],
  "pack.format.holds": ["canonical JSON with every field of a pack", "规范 JSON，证据包字段齐全"],
  "pack.signed": ["the key in the file signed it", "由文件中的密钥签名"],
  "pack.signature": ["one of the file", "对该文件的签名"],
  "pack.kept": ["none of {names}", "不得为 {names}"],
  "pack.redacted.shown": ["fields that are redacted", "已隐去的字段"],
  "pack.digests": ["digests alone", "仅摘要"],
  "pack.not.digest": ["the certificate: no field is redacted", "证书本身：未隐去任何字段"],
  "pack.bare": ["a bare hash", "仅有哈希"],
  "pack.an.entry": ["an entry: nothing is redacted", "一条记录：未隐去任何内容"],
  "pack.audit.key": ["an audit key of the site", "该站点的审计密钥"],
  "pack.receipt": ["a receipt that covers the entry", "涵盖该记录的删除回执"],
  "pack.twice": ["an entry twice", "同一记录出现两次"],
  "pack.one.receipt": ["each in one receipt", "每条记录仅在一份回执中"],
  "pack.ranges": ["ranges in the log's order", "按日志顺序的区间"],
  "pack.scope.holds": ["hides no field that evidence needs", "未隐去证据所需的字段"],
  "pack.not.redacted": ["a kind that is not redacted", "未隐去的类型"],
  "pack.value": ["a value", "值"],
  "pack.log.holds": [
    "entries {first} to {end} of {size}, none left out: {shown} shown ({erased} of them erased), {hidden} hidden",
    "第 {first} 至 {end} 条（共 {size} 条），无遗漏：展示 {shown} 条（其中 {erased} 条已删除），隐去 {hidden} 条",
  ],
  "pack.no.proof": [
    "no storage proof is included: ask the chain for the anchored head",
    "未包含存储证明：锚定的头部须向链查询",
  ],
  "pack.certificate.out": [
    "left out, as it shows fields that are redacted",
    "因含已隐去的字段而未包含",
  ],
  "pack.certificate.holds": ["holds, in {count} checks", "有效，共 {count} 项核对"],
  "pack.other.digest": ["is not that of the certificate", "与证书不符"],
  "pack.other.job": ["the certificate is of another job", "证书属于其他任务"],
  "logs.no.proof": ["a proof that leads to another root", "通向其他根的证明"],
  "logs.elsewhere": ["of something else", "属于其他事项"],
  "logs.of.job": ["of job {job}", "属于任务 {job}"],
  "logs.disorder": ["out of order", "顺序错误"],
  "logs.order": ["the log's order", "日志的顺序"],
  "steps.holds": [
    "all parties' logs tell of the outputs of {step}",
    "各方日志都记录了 {step} 的输出",
  ],
  "reconciliation.holds": [
    "{messages} messages, {approvals} approvals, {grantUses} uses of grants and {results} results stand alike in both logs, with the receiver's receipt",
    "{messages} 条消息、{approvals} 次批准、{grantUses} 次授权使用和 {results} 个结果在双方日志中一致，并有接收方回执",
  ],
  "line.not.received": [
    "no entry in the log of site {site} that it was received",
    "站点 {site} 的日志没有接收记录",
  ],
  "line.not.sent": [
    "no entry in the log of site {site} that it was sent",
    "站点 {site} 的日志没有发送记录",
  ],
  "line.both": ["one at each end", "两端各一条"],
  "line.no.data": ["not a message's data", "不是消息的数据"],
  "line.fields": ["its fields", "消息的字段"],
  "line.no.receipt": [
    "no receipt that holds in the log of site {site}",
    "站点 {site} 的日志没有有效回执",
  ],
  "line.receipt": ["one by who received it", "接收方签署的回执"],
  "line.not.declared": [
    "no {kind} in the log of site {site} for site {receiver}",
    "站点 {site} 的日志没有给站点 {receiver} 的 {kind}",
  ],
  "line.undeclared": [
    "a declaration of site {site} of what did not happen",
    "站点 {site} 声明了未发生的事项",
  ],
  "line.happened": ["what the file says of the chain", "文件所载的链上事实"],
  "no.entry": ["no {kind} entry that tells it", "没有说明它的 {kind} 记录"],
  "an.entry": ["one of site {site}", "站点 {site} 的记录"],
};

/** A text in a language ("en" or "zh"), its {names} filled with values, or with what `say` made. */
export function translate(language, key, filled = {}) {
  const text = WORDS[key][language === "zh" ? 1 : 0];
  return text.replace(/\{(\w+)\}/g, (_, name) => shown(language, filled[name]));
}

function shown(language, value) {
  if (isObject(value) && Object.hasOwn(WORDS, value.key)) {
    return translate(language, value.key, value.filled);
  }
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= MOST ? text : `${text.slice(0, MOST)}…`;
}
