"""``python -m node.ui.echarts``."""

from node.ui.echarts import MODULE, STATIC, build

build()
print(f"{MODULE}: {(STATIC / MODULE).stat().st_size} bytes")
