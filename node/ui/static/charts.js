// Draws the charts of a page: <figure data-chart="an option of Apache ECharts">, made by the node
// (node/ui/charts.py). An option is data alone; "$name" in it is a colour of the style sheet, so a
// chart is drawn anew when the reader's scheme changes. What it shows stands in a table, too.

const COLOURED = /colou?r$/i;
const drawn = [];

/** The value of a colour of the style sheet now: light or dark. */
function colourOf(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** The option with its colours filled in. */
function coloured(value, key, known = new Map()) {
  if (typeof value === "string") {
    if (!COLOURED.test(key) || !value.startsWith("$")) return value;
    if (!known.has(value)) known.set(value, colourOf(value.slice(1)));
    return known.get(value);
  }
  if (Array.isArray(value)) return value.map((each) => coloured(each, key, known));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([name, each]) => [name, coloured(each, name, known)]);
  return Object.fromEntries(entries);
}

function draw({ chart, option }) {
  chart.setOption(coloured(option, ""), true);
}

function open(figure) {
  const option = JSON.parse(figure.dataset.chart);
  figure.hidden = false;
  const place = document.createElement("div");
  place.style.height = `${Number(figure.dataset.height)}px`;
  if (figure.dataset.width) place.style.width = `${Number(figure.dataset.width)}px`;
  figure.append(place);
  const chart = globalThis.echarts.init(place, null, { renderer: "canvas" });
  const one = { chart, option };
  drawn.push(one);
  draw(one);
  chart.on("click", ({ data }) => {
    const link = data?.link;
    if (typeof link === "string" && /^\/[^/\\]/.test(link)) location.assign(link); // our own pages
  });
  new ResizeObserver(() => chart.resize()).observe(place);
  figure.dataset.drawn = chart.getZr().painter.getType();
}

for (const figure of document.querySelectorAll("figure[data-chart]")) open(figure);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
