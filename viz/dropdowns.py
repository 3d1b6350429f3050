"""The drop-down lists: the same in a window and in a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from annotator3d.annotation.query_states import STATES
from annotator3d.annotation.queue import ORDERS
from annotator3d.annotation.review import REVIEWED
from annotator3d.annotation.review_session import ReviewSession
from annotator3d.viz.camera import VIEWS
from annotator3d.viz.colours import BACKGROUNDS
from annotator3d.viz.controller import Controller
from annotator3d.viz.view_settings import POINT_SIZES

NEIGHBOURS = ("0", "1", "2", "5", "10")  # scans before and after
_ANY_CLASS, _ALL_CLASSES = "any class", "all classes"
_SHOWN = ("shown", "hidden")
_WHERE = ("all scans", "this scan")


@dataclass(frozen=True)
class Dropdown:
    """One list; `chosen` gives the present option, `choose` takes another one and draws."""

    text: str
    options: tuple[str, ...]
    chosen: Callable[[], str]
    choose: Callable[[str], None]


def dropdowns(controller: Controller) -> tuple[Dropdown, ...]:
    """All lists, in the order of the panel."""
    return (*_of_the_view(controller), *_of_the_queue(controller))


def _of_the_view(controller: Controller) -> tuple[Dropdown, ...]:
    settings, names = controller.scene_model.settings, controller.session.class_names
    view = controller.view

    def neighbours() -> str:
        return str(settings.neighbours) if settings.accumulated else "0"

    def only() -> str:
        return _ALL_CLASSES if settings.only is None else names[settings.only]

    def isolate(name: str) -> None:
        view.show_only(None if name == _ALL_CLASSES else names.index(name))

    return (
        Dropdown("colour", settings.modes, lambda: settings.mode, view.set_mode),
        Dropdown("camera", VIEWS, lambda: settings.view, view.set_view),
        Dropdown(
            "point size",
            tuple(map(str, POINT_SIZES)),
            lambda: str(settings.point_size),
            lambda size: view.set_point_size(int(size)),
        ),
        Dropdown(
            "background", tuple(BACKGROUNDS), lambda: settings.background, view.set_background
        ),
        Dropdown("neighbours", NEIGHBOURS, neighbours, lambda n: view.set_neighbours(int(n))),
        Dropdown(
            "nearby answers",
            _SHOWN,
            lambda: _SHOWN[not settings.nearby],
            lambda shown: view.show_nearby(shown == _SHOWN[0]),
        ),
        Dropdown("show only", (_ALL_CLASSES, *names), only, isolate),
    )


def _of_the_queue(controller: Controller) -> tuple[Dropdown, ...]:
    session = controller.session
    names = session.class_names

    def set_order(order: str) -> None:
        session.set_order(order)
        controller.redraw()

    groups = {**{state: (state,) for state in STATES}, "all": None}
    if isinstance(session, ReviewSession):
        groups = {"to review": REVIEWED, **groups}

    def state() -> str:
        states = session.filter.states
        return next(
            (name for name, group in groups.items() if group == states),
            states[0] if states else "all",
        )

    def set_state(name: str) -> None:
        controller.set_filter(replace(session.filter, states=groups[name], classes=None))

    def label() -> str:
        classes = session.filter.classes
        return names[next(iter(classes))] if classes else _ANY_CLASS

    def set_class(name: str) -> None:
        if name == _ANY_CLASS:
            controller.set_filter(replace(session.filter, classes=None))
        else:  # only answers have classes
            found = (names.index(name),)
            controller.set_filter(replace(session.filter, states=("answered",), classes=found))

    def where() -> str:
        return _WHERE[session.filter.scans is not None]

    def set_where(name: str) -> None:
        query = session.current
        if name == _WHERE[1] and query is None:
            raise ValueError("there is no scan on the screen")
        scans = None if name == _WHERE[0] or query is None else (query.scan,)
        controller.set_filter(replace(session.filter, scans=scans))

    return (
        Dropdown("order", tuple(ORDERS), lambda: session.order, set_order),
        Dropdown("queries", tuple(groups), state, set_state),
        Dropdown("with class", (_ANY_CLASS, *names), label, set_class),
        Dropdown("from", _WHERE, where, set_where),
    )
