"""Charts as people see them: drawn under a strict policy, in both schemes, on a telephone, or not
drawn at all."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from node.ui.graph import COLUMN, EDGE, ROW
from tests.browser.conftest import Visit
from tests.browser.world import Stage

PICTURE = "chart => chart.querySelector('canvas').toDataURL()"
INK = """chart => {
  const canvas = chart.querySelector("canvas");
  const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(bytes.buffer)).size;
}"""
"""How many colours a drawing has."""


@pytest.fixture(scope="module")
def job(stage: Stage) -> str:
    """Of which this site's log and the chain tell."""
    id = stage.ask_for_data()
    stage.step()
    stage.shop.log.sequence()
    return id


def test_a_job_s_life_is_drawn_and_stands_in_a_table(job: str, visit: Visit) -> None:
    page = visit(None, f"/jobs/{job}")
    chart = page.get_by_role("img", name="Timeline of the job")
    expect(chart).to_be_visible()
    assert chart.evaluate(INK) > 4
    life = page.get_by_role("region", name="What happened")
    life.get_by_text("As a table").click()
    expect(life.get_by_role("row", name="waits for a person")).to_be_visible()
    expect(life.get_by_role("row", name="proposed the job")).to_be_visible()
    expect(life.get_by_text("have not shown their logs yet")).to_be_visible()


def test_a_chart_takes_the_colours_of_the_scheme(job: str, visit: Visit) -> None:
    page = visit(None, f"/jobs/{job}", color_scheme="light")
    chart = page.get_by_role("img", name="Timeline of the job")
    expect(chart).to_be_visible()
    day = chart.evaluate(PICTURE)
    page.emulate_media(color_scheme="dark")
    other = f"([chart, day]) => ({PICTURE})(chart) !== day"
    page.wait_for_function(other, arg=[chart.element_handle(), day])
    page.emulate_media(color_scheme="light")
    # It is drawn again when the page is told, which may be after it is so.
    again = f"([chart, day]) => ({PICTURE})(chart) === day"
    page.wait_for_function(again, arg=[chart.element_handle(), day])


def test_charts_fit_a_telephone(job: str, visit: Visit) -> None:
    for path in ("/", f"/jobs/{job}"):
        page = visit(None, path, viewport={"width": 360, "height": 740})
        figure = page.locator("figure[data-drawn]").first
        expect(figure).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert figure.evaluate("figure => figure.scrollWidth <= figure.clientWidth")


def test_a_box_of_the_lineage_leads_to_its_page(stage: Stage, visit: Visit) -> None:
    dataset = stage.world.datasets["shop"]
    page = visit(None, f"/lineage/{dataset}")
    canvas = page.locator("figure[data-drawn] > div")
    canvas.click(position={"x": EDGE + COLUMN // 2, "y": EDGE + ROW // 2})
    page.wait_for_url(f"**/datasets/{dataset}")


def test_without_scripts_the_tables_say_the_same(job: str, visit: Visit) -> None:
    page = visit(None, f"/jobs/{job}", java_script_enabled=False)
    expect(page.locator("figure[data-chart]").first).to_be_hidden()
    life = page.get_by_role("region", name="What happened")
    life.get_by_text("As a table").click()
    expect(life.get_by_role("row", name="waits for a person")).to_be_visible()
