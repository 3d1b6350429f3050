"""What a person chooses from lists: the same lists in a window and in a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from annotator3d.annotation.query_states import STATES
from annotator3d.annotation.queue import ORDERS
from annotator3d.annotation.review import REVIEWED, ReviewSession
from annotator3d.viz.colours import BACKGROUNDS
from annotator3d.viz.controller import Controller
from annotator3d.viz.picture import POINT_SIZES
from annotator3d.viz.views import VIEWS

NEIGHBOURS = ("0", "1", "2", "5", "10")  # scans before and after
_ANY_CLASS, _ALL_CLASSES = "any class", "all classes"
_SHOWN = ("shown", "hidden")
_WHERE = ("all scans", "this scan")


@dataclass(frozen=True)
class Choice:
    """One list.

    `chosen` says what is chosen now, whoever chose it; `choose` takes one of `options` and draws.
    """

    text: str
    options: tuple[str, ...]
    chosen: Callable[[], str]
    choose: Callable[[str], None]


def choices(controller: Controller) -> tuple[Choice, ...]:
    """All lists, in the order in which they are shown."""
    return (*_of_the_picture(controller), *_of_the_queue(controller))


def _of_the_picture(controller: Controller) -> tuple[Choice, ...]:
    look, names = controller.picture.look, controller.session.class_names

    def neighbours() -> str:
        return str(look.neighbours) if look.accumulated else "0"

    def only() -> str:
        return _ALL_CLASSES if look.only is None else names[look.only]

    def isolate(name: str) -> None:
        controller.show_only(None if name == _ALL_CLASSES else names.index(name))

    def near_answers(choice: str) -> None:
        look.nearby = choice == _SHOWN[0]
        controller.redraw()

    return (
        Choice("colour", look.modes, lambda: look.mode, controller.set_mode),
        Choice("camera", VIEWS, lambda: look.view, controller.set_view),
        Choice(
            "point size",
            tuple(map(str, POINT_SIZES)),
            lambda: str(look.point_size),
            lambda size: controller.set_point_size(int(size)),
        ),
        Choice("background", tuple(BACKGROUNDS), lambda: look.background, controller.set_backdrop),
        Choice("neighbours", NEIGHBOURS, neighbours, lambda n: controller.set_neighbours(int(n))),
        Choice("near answers", _SHOWN, lambda: _SHOWN[not look.nearby], near_answers),
        Choice("show only", (_ALL_CLASSES, *names), only, isolate),
    )


def _of_the_queue(controller: Controller) -> tuple[Choice, ...]:
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
        Choice("order", tuple(ORDERS), lambda: session.order, set_order),
        Choice("go through", tuple(groups), state, set_state),
        Choice("answered as", (_ANY_CLASS, *names), label, set_class),
        Choice("in", _WHERE, where, set_where),
    )
