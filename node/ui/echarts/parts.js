// The parts of Apache ECharts that the explorer draws with; `python -m node.ui.echarts` makes
// static/echarts.js of them.

import { BarChart, LineChart, LinesChart, ScatterChart } from "echarts/charts";
import {
  AriaComponent,
  GridComponent,
  LegendComponent,
  TooltipComponent,
} from "echarts/components";
import * as echarts from "echarts/core";
import { LabelLayout } from "echarts/features";
import { CanvasRenderer } from "echarts/renderers";

echarts.use([
  AriaComponent,
  BarChart,
  CanvasRenderer,
  GridComponent,
  LabelLayout,
  LegendComponent,
  LineChart,
  LinesChart,
  ScatterChart,
  TooltipComponent,
]);

// A page names this file with the digest of its content; a module that imported it could not.
globalThis.echarts = { init: echarts.init, version: echarts.version };
