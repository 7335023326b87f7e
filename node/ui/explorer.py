"""The routes of the explorer: what each page reads, and how it is answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from node.api.auth import require_actor
from node.api.evidence import enter_reading
from node.api.headers import WITH_CHARTS, WITH_WALLET
from node.api.problems import problem_response
from node.api.views import waiting
from node.api.views.badge import Badge
from node.api.views.known import Known
from node.api.views.people import in_order
from node.api.views.proposals import ActionShown
from node.api.views.search import Results
from node.errors import NodeError, NotFound
from node.index.words import WHOLE_ID
from node.pause import paused_until
from node.staleness import Behind, behind, silent_seconds
from node.ui import affairs, audits, pages, phrases, session
from node.ui.asked import LANGUAGE_COOKIE, language_of
from node.ui.charts import bar_chart, figure, line_chart, tally_bar
from node.ui.export import FORMATS, export
from node.ui.graph import graph, size_of
from node.ui.messages import LANGUAGES, MESSAGES, Language, translate, translate_state
from node.ui.proofs import drawing
from node.ui.timeline import height_of, timeline
from node.ui.verifier import page as verifier_page
from node.ui.verifier import policy as verifier_policy
from node.ui.written import duration, short, when

FOLDER = Path(__file__).parent
THEME_COOKIE = "fatechain_theme"
THEMES = ("auto", "light", "dark")
LOOKS = ("lang", "theme")  # parts of an address that say how, not what
YEAR_SECONDS = 365 * 24 * 3600
TOLD = "told."  # begins the keys of what scripts say

router = APIRouter(include_in_schema=False)

SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "overview": ("live.js",),
    "log": ("live.js",),
    "anchors": ("live.js",),
    "alerts": ("wallet.js",),
    "login": ("wallet.js",),
    "grants": ("wallet.js",),
    "people": ("wallet.js",),
    "keys": ("wallet.js",),
    "views": ("wallet.js",),
    "disputes": ("wallet.js",),
    "audits": ("wallet.js",),
    "emergencies": ("wallet.js", "countdown.js"),
    "proposals": ("wallet.js", "countdown.js"),
    "waiting": ("wallet.js", "countdown.js"),
}
"""Section → the modules of static/ that its pages load; the others have no script."""

CHARTED = frozenset({"overview.html", "job.html", "lineage.html"})
CHARTING = ("echarts.js", "charts.js")
"""Pages that have charts, and the modules that they load first, in this order."""

EVIDENCE = frozenset(
    {"overview", "jobs", "models", "log", "anchors", "heads", "alerts", "audits", "lineage"}
    | {"statements", "transactions", "/sites/{id}", "/members/{id}"}
)
"""Sections, and single pages of others, that show what this node alone holds of work done and of
logs, its own or others', or what was made of it: reading is entered."""

CHECKS = (
    *("canonical.js", "cosignatures.js", "digest.js", "entries.js", "failure.js", "keccak.js"),
    *("merkle.js", "secp256k1.js", "signature.js"),
)
"""Modules that static/live.js imports; most of them are the verifier's, too."""

NAVIGATION = (
    ("overview", "/"),
    ("waiting", "/waiting"),
    ("proposals", "/proposals"),
    ("jobs", "/jobs"),
    ("log", "/log"),
    ("anchors", "/anchors"),
    ("alerts", "/alerts"),
    ("statements", "/statements"),
    ("datasets", "/datasets"),
    ("models", "/models"),
    ("grants", "/grants"),
    ("sites", "/sites"),
    ("members", "/members"),
    ("history", "/history"),
    ("disputes", "/disputes"),
    ("audits", "/audits"),
    ("emergencies", "/emergencies"),
    ("people", "/people"),
    ("events", "/events"),
    ("transactions", "/transactions"),
)


def install(app: FastAPI) -> None:
    """Add the pages to a node's application, and let problems be pages for people."""
    app.state.known = Known()
    app.state.badge = Badge(app.state.site, app.state.names)
    app.include_router(router)
    app.state.problem_page = problem_page


ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "/waiting": (),
    "/people": ("operator", "auditor"),
    "/proposals/new": ("delegate",),
    "/grants/new": ("data-owner",),
    "/keys": (),
    "/views": (),
    "/alerts": (),
    "/statements": ("data-owner", "auditor", "operator"),
    "/disputes/new": ("delegate",),
    "/audits/new": ("auditor", "delegate"),
    "/emergencies/new": ("data-owner", "delegate"),
}
"""Pages that an open explorer shows to nobody else: these roles, () being all who may act here."""


def _page(path: str, template: str, section: str) -> Callable[[pages.Read], pages.Read]:
    """Register a reading as a page at `path` and as JSON at ``path.json``."""
    roles = ONLY_FOR.get(path)
    is_evidence = section in EVIDENCE or path in EVIDENCE

    def register(read: pages.Read) -> pages.Read:
        def twin(request: Request) -> Response:
            session.require_reader(request)
            if roles is not None:
                require_actor(request, *roles)
            if is_evidence:
                enter_reading(request)
            return JSONResponse(jsonable_encoder(read(request)))

        def page(request: Request) -> Response:
            if not session.may_read(request):
                return session.to_login(request)
            if roles is not None:
                require_actor(request, *roles)
            if is_evidence:
                enter_reading(request)
            return render(request, template, section, read(request))

        router.add_api_route("/index.json" if path == "/" else f"{path}.json", twin)
        router.add_api_route(path, page, response_class=HTMLResponse)
        return read

    return register


PAGES: tuple[tuple[str, str, str, pages.Read], ...] = (
    ("/", "overview.html", "overview", pages.overview),
    ("/waiting", "waiting.html", "waiting", pages.waiting_page),
    ("/proposals", "proposals.html", "proposals", pages.proposals_page),
    ("/proposals/new", "propose.html", "proposals", pages.new_proposal_page),
    ("/proposals/{id}", "proposal.html", "proposals", pages.proposal_page),
    ("/jobs", "jobs.html", "jobs", pages.jobs_page),
    ("/jobs/{id}", "job.html", "jobs", pages.job_page),
    ("/log", "log.html", "log", pages.log_page),
    ("/log/{index}", "entry.html", "log", pages.entry_page),
    ("/badge", "badge.html", "badge", pages.badge_of),
    ("/models", "models.html", "models", pages.models_page),
    ("/models/{id}", "model.html", "models", pages.model_page),
    ("/anchors", "anchors.html", "anchors", pages.anchors_page),
    ("/heads", "heads.html", "heads", pages.heads_page),
    ("/alerts", "alerts.html", "alerts", pages.alerts_page),
    ("/statements", "statements.html", "statements", pages.statements_page),
    ("/lineage/{id}", "lineage.html", "lineage", pages.lineage_page),
    ("/datasets", "datasets.html", "datasets", pages.datasets_page),
    ("/datasets/{id}", "dataset.html", "datasets", pages.dataset_page),
    ("/grants", "grants.html", "grants", pages.grants_page),
    ("/grants/new", "give_grant.html", "grants", pages.new_grant_page),
    ("/grants/{id}", "grant.html", "grants", pages.grant_page),
    ("/sites", "sites.html", "sites", pages.sites_page),
    ("/sites/{id}", "site.html", "sites", pages.site_page),
    ("/members", "members.html", "members", pages.members_page),
    ("/members/{id}", "member.html", "members", pages.member_page),
    ("/disputes", "disputes.html", "disputes", affairs.disputes_page),
    ("/disputes/new", "open_dispute.html", "disputes", affairs.new_dispute_page),
    ("/disputes/{id}", "dispute.html", "disputes", affairs.dispute_page),
    ("/audits", "audits.html", "audits", audits.audits_page),
    ("/audits/new", "ask_audit.html", "audits", audits.new_audit_page),
    ("/audits/{id}", "audit.html", "audits", audits.audit_page),
    ("/emergencies", "emergencies.html", "emergencies", affairs.emergencies_page),
    ("/emergencies/new", "open_emergency.html", "emergencies", affairs.new_emergency_page),
    ("/emergencies/{id}", "emergency.html", "emergencies", affairs.emergency_page),
    ("/keys", "keys.html", "keys", affairs.keys_page),
    ("/history", "history.html", "history", pages.history_page),
    ("/messages", "messages.html", "jobs", pages.messages_page),
    ("/views", "views.html", "views", pages.views_page),
    ("/people", "people.html", "people", pages.people_page),
    ("/events", "events.html", "events", pages.events_page),
    ("/transactions", "transactions.html", "transactions", pages.transactions_page),
    ("/transactions/{key:path}", "transaction.html", "transactions", pages.transaction_page),
)
"""Path, template, section and reading of each page; its JSON twin is at the path with ``.json``."""

for _path, _template, _section, _read in PAGES:
    _page(_path, _template, _section)(_read)


@router.get("/search.json")
def search_twin(request: Request) -> Response:
    session.require_reader(request)
    enter_reading(request)
    return JSONResponse(jsonable_encoder(pages.search_page(request)))


@router.get("/search")
def search(request: Request) -> Response:
    """One hit leads straight to it, as does the id of a thing; ``all=1`` shows what names it."""
    if not session.may_read(request):
        return session.to_login(request)
    enter_reading(request)
    found = pages.search_page(request)
    results: Results = found["results"]
    one = results.hits
    if len(results.query) == WHOLE_ID and len(one) > 1:
        one = [hit for hit in one if hit.link.endswith(f"/{results.query.lower()}")]
    if len(one) == 1 and not {"all", "kind"} & request.query_params.keys():
        return RedirectResponse(one[0].link, 303)
    return render(request, "search.html", "search", found)


@router.get("/jobs/{id}/certificate.json")
def download_certificate(request: Request, id: str) -> Response:
    session.require_reader(request)
    enter_reading(request)
    name = f"certificate-{id[2:14]}.json" if id.isalnum() else "certificate.json"
    return Response(
        pages.certificate(request, id),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/export/{name}.{format}")
def export_list(request: Request, name: str, format: str) -> Response:
    """A list as its filter shows it, as a file, for whoever may read the list."""
    session.require_reader(request)
    # A file costs the node more than a page: also of open pages only who signed in fetches it.
    require_actor(request, *ONLY_FOR.get(f"/{name}", ()))
    return export(request, name, format)


@router.get("/verify")
def verifier() -> Response:
    """Open to anybody: it shows nothing of this site and reads what it is given, in the browser."""
    headers = {"Content-Security-Policy": verifier_policy() + "; frame-ancestors 'none'"}
    return HTMLResponse(verifier_page(), headers=headers)


@router.get("/login", name="login")
def login_form(request: Request) -> Response:
    target = session.own_path(request.query_params.get("next", "/"))
    return render(request, "login.html", "login", {"next": target, "wrong": False})


@router.post("/login")
async def login(request: Request) -> Response:
    answer = await session.sign_in(request)
    if answer is not None:
        return answer
    return render(request, "login.html", "login", {"next": "/", "wrong": True}, status=401)


@router.get("/logout")
def logout(request: Request) -> Response:
    return session.sign_out(request)


@router.get("/static/explorer.css")
def style() -> Response:
    return _static("explorer.css", "text/css")


@router.get("/static/icon.svg")
def icon() -> Response:
    return _static("icon.svg", "image/svg+xml")


@router.get("/static/wallet.js")
def wallet() -> Response:
    return _static("wallet.js", "text/javascript")


@router.get("/static/charts.js")
def charts() -> Response:
    return _static("charts.js", "text/javascript")


@router.get("/static/echarts.js")
def echarts() -> Response:
    return _static("echarts.js", "text/javascript")


@router.get("/static/echarts.LICENSE.txt")
def echarts_licence() -> Response:
    return _static("echarts.LICENSE.txt", "text/plain")


@router.get("/static/countdown.js")
def countdown() -> Response:
    return _static("countdown.js", "text/javascript")


@router.get("/static/live.js")
def live() -> Response:
    return _static("live.js", "text/javascript")


@router.get("/static/check/{name}")
def check_module(name: str) -> Response:
    """Imported without a version in its address, so that it is asked for anew each time."""
    if name not in CHECKS:
        raise NotFound("NotFound", "there is no such module", found=name[:40])
    content = (FOLDER / "verifier" / "source" / name).read_bytes()
    return Response(content, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def problem_page(request: Request, error: NodeError) -> Response:
    """A refusal for a person; to the form where only the token is missing."""
    if error.status == 401:
        return session.to_login(request)
    if not session.may_read(request):
        return problem_response(error, request.url.path)
    return render(request, "problem.html", "problem", {"error": error}, status=error.status)


def render(
    request: Request, template: str, section: str, values: Mapping[str, Any], *, status: int = 200
) -> Response:
    """A page in the reader's language."""
    asked = request.query_params.get("lang")
    language = language_of(request)
    wanted = (request.query_params.get("theme"), request.cookies.get(THEME_COOKIE))
    theme = next((one for one in wanted if one in THEMES), THEMES[0])
    settings = request.app.state.site.settings
    actor = session.reader(request)
    acting = SCRIPTS.get(section, ())
    scripts = (*CHARTING, *acting) if template in CHARTED else acting
    text = (
        _environment()
        .get_template(template)
        .render(
            values,
            chart=figure,
            line_chart=line_chart,
            bar_chart=bar_chart,
            timeline=timeline,
            height_of=height_of,
            graph=graph,
            size_of=size_of,
            tally_bar=tally_bar,
            effect_rows=pages.effect_rows,
            catalogue=MESSAGES,
            drawing=drawing,
            language=language,
            languages=LANGUAGES,
            theme=theme,
            t=lambda key, **filled: translate(language, key, **filled),
            state_name=lambda state: translate_state(language, state),
            say_call=lambda action: phrases.call(language, action, _names(request, action)),
            say_event=lambda event: phrases.event(
                language, event.contract, event.name, event.args, request.app.state.known
            ),
            say_transaction=lambda call: phrases.transaction(
                language, call.contract, call.function, call.args, request.app.state.known
            ),
            say_entry=lambda type: phrases.entry(language, type),
            raw_of=phrases.raw,
            say_why=lambda told: phrases.why(language, told),
            title_of=lambda code: phrases.title(language, code),
            hint_of=lambda code, said: phrases.hint(language, code, said),
            code_of=phrases.code_of,
            section=section,
            navigation=[
                (name, address)
                for name, address in NAVIGATION
                if address not in ONLY_FOR or (actor and actor.may(*ONLY_FOR[address]))
            ],
            waiting_count=_waiting(request) if actor else 0,
            site_name=settings.name,
            reader=actor,
            roles=lambda actor: ", ".join(
                translate(language, f"role.{role}") for role in in_order(actor)
            ),
            open_reading=settings.explorer_open,
            here=lambda **changes: here(request, **changes),
            twin=_twin(request),
            formats=tuple(FORMATS),
            view_query=request.url.remove_query_params([*LOOKS, "cursor"]).query,
            exported=lambda name, format, filter=None: _exported(request, name, format, filter),
            query=request.query_params,
            stale=_stale(request, language),
            behind=_behind(request),
            paused=_paused(request),
            style=_address("explorer.css"),
            icon=_address("icon.svg"),
            scripts=[_address(name) for name in scripts],
            words=words(language) if acting else {},
        )
    )
    answer = HTMLResponse(text, status)
    if scripts:
        answer.headers["Content-Security-Policy"] = WITH_WALLET if acting else WITH_CHARTS
    answer.headers["Content-Language"] = language
    answer.headers["Vary"] = "Accept-Language, Cookie"
    if asked in LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR_SECONDS, samesite="strict")
    if wanted[0] in THEMES:
        answer.set_cookie(THEME_COOKIE, theme, max_age=YEAR_SECONDS, samesite="strict")
    return answer


def _stale(request: Request, language: Language) -> str | None:
    """The line that every page shows while this node does not know what the chain says."""
    site = request.app.state.site
    try:
        silent = silent_seconds(site)
    except NodeError:
        return None  # the page itself tells that the database is away
    if silent is None:
        return None
    if silent == float("inf"):
        return translate(language, "stale.unread")
    allowed = site.settings.staleness_seconds
    return translate(language, "stale", seconds=f"{silent:.0f}", allowed=f"{allowed:g}")


def _behind(request: Request) -> Behind | None:
    """How far what is shown is behind the chain; every page says it."""
    try:
        return behind(request.app.state.site)
    except NodeError:
        return None


def _paused(request: Request) -> int | None:
    """Until when the emergency brake holds; every page says so."""
    try:
        return paused_until(request.app.state.site)
    except NodeError:
        return None


def _waiting(request: Request) -> int:
    try:
        return waiting.count(request.app.state.site)
    except NodeError:
        return 0


def words(language: Language) -> dict[str, str]:
    """What the scripts may have to say; those named as a problem's code say that problem.

    In English the node's own words need no title before them.
    """
    told = {
        key.removeprefix(TOLD): translate(language, key) for key in MESSAGES if key.startswith(TOLD)
    }
    if language == "en":
        return told
    codes = [key for key in MESSAGES if key.startswith("code.") and key[5:] not in told]
    return told | {key: translate(language, key) for key in codes}


def _names(request: Request, action: ActionShown) -> dict[str, str]:
    """Names of the members that a call is about."""
    id = action.args.get("id")
    if action.contract != "Membership" or not isinstance(id, str):
        return {}
    name = request.app.state.names.member(id).name
    return {} if name is None else {id: name}


def here(request: Request, **changes: str | None) -> str:
    """This page's address with some of its query changed; None takes a part away."""
    url = request.url.include_query_params(
        **{name: value for name, value in changes.items() if value is not None}
    ).remove_query_params([name for name, value in changes.items() if value is None])
    return url.path + (f"?{url.query}" if url.query else "")


def _twin(request: Request) -> str:
    path = "/index" if request.url.path == "/" else request.url.path
    query = request.url.remove_query_params(LOOKS).query
    return f"{path}.json" + (f"?{query}" if query else "")


def _exported(request: Request, name: str, format: str, filter: str | None) -> str:
    """Where this list is a file: all that its filter shows, whatever page it is.

    ``filter`` is that of a list on a page of something else; without it the page's own.
    """
    query = request.url.remove_query_params([*LOOKS, "cursor"]).query if filter is None else filter
    return f"/export/{name}.{format}" + (f"?{query}" if query else "")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "short": short,
        "when": when,
        "number": lambda value: f"{value:,}",
        "duration": duration,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True),
        "tone": tone,
    }
    return environment


@cache
def _file(name: str) -> bytes:
    return (FOLDER / "static" / name).read_bytes()


def _address(name: str) -> str:
    """Of a file that may be kept for ever: other content has another address."""
    return f"/static/{name}?v={hashlib.sha256(_file(name)).hexdigest()[:12]}"


def _static(name: str, media_type: str) -> Response:
    headers = {"Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable"}
    return Response(_file(name), media_type=media_type, headers=headers)


def tone(state: str) -> str:
    """Which colour a state has: a class of the style sheet."""
    for name, states in _TONES.items():
        if state in states:
            return name
    return "plain"


_TONES: Mapping[str, frozenset[str]] = {
    "good": frozenset(
        {"SUCCEEDED", "CONFIRMED", "ACTIVE", "STANDING", "APPROVED", "EXECUTED", "DISMISSED"}
    ),
    "busy": frozenset({"RUNNING", "READY", "SIGNED", "SENT", "MINED", "STOPPING", "QUEUED"}),
    "wait": frozenset(
        {"SUBMITTED", "PROPOSED", "WAITING", "PENDING", "OPEN", "ANSWERED", "ANSWERED_LATE"}
    ),
    "bad": frozenset(
        {
            "FAILED",
            "REFUSED",
            "REJECTED",
            "REVOKED",
            "EXPELLED",
            "SUSPENDED",
            "WITHDRAWN",
            "DEFEATED",
            "CANCELED",
            "DISABLED",
            "UPHELD",
            "SILENT",
        }
    ),
}
