// Runs node/ui/static/wallet.js as the login page does, against a wallet and a node that a test
// plays: argv[2] is the module, argv[3] JSON {terms, accounts, signature | refusal, chain?,
// switched?}. Prints JSON
// {asked, signed, said, went}.
const plan = JSON.parse(process.argv[3]);
const asked = [];
const signed = [];
const said = { textContent: "", hidden: true };
const words = {
  none: "no wallet",
  refused: "refused",
  wallet: "busy",
  chain: "on {found}, not on {wanted}",
  PersonUnknown: "nobody known",
};
const button = {
  dataset: { deed: "sign-in", next: "/jobs", busy: "wallet" },
  parentElement: { querySelector: () => said },
  disabled: true,
  addEventListener: (_, handle) => { button.click = handle; },
};
let went = null;
globalThis.document = {
  body: { dataset: { words: JSON.stringify(words) } },
  querySelectorAll: () => [button],
};
globalThis.window = {
  location: { assign: (path) => { went = path; } },
  ethereum: plan.accounts && {
    request: async ({ method, params }) => {
      if (method === "eth_requestAccounts") return plan.accounts;
      if (method === "eth_chainId") return plan.chain ?? "0x7a69";
      if (method === "wallet_switchEthereumChain") {
        if (plan.switched) return null;
        throw { code: 4902, message: "unknown chain" };
      }
      signed.push({ method, params });
      if (plan.refusal) throw plan.refusal;
      return plan.signature;
    },
  },
};
globalThis.fetch = async (path, request) => {
  asked.push({ path, ...request, body: request.body && JSON.parse(request.body) });
  const answer = path.startsWith("/v1/sign-in/nonce") ? plan.terms : plan.answer ?? {};
  return { ok: !answer.status, json: async () => answer };
};
await import(process.argv[2]);
await button.click();
console.log(JSON.stringify({ asked, signed, said: said.textContent, went }));
